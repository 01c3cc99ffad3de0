import type { Approval, State } from '../../domain/approval.ts'
import type { Person, Principal } from '../../domain/principal.ts'
import { isInClosure, isSameParty } from '../../domain/principal.ts'
import { type Html, html, shown } from './html.ts'

/** What people are told of a state, wherever it is shown or chosen. */
export const STATES: Readonly<Record<State, string>> = {
  pending: 'Waiting',
  approved: 'Approved, not yet carried out',
  denied: 'Denied',
  expired: 'Expired',
  withdrawn: 'Withdrawn',
  spent: 'Approved and forwarded',
}

export function stateBadge(state: State): Html {
  return html`<span class="state ${state}">${STATES[state]}</span>`
}

/** Since when it is what it is. */
export function stateSince({ state, decidedAt, createdAt }: Approval): Html {
  return html`${stateBadge(state)} ${moment(decidedAt ?? createdAt)}`
}

/**
 * A moment, as the reader's browser will write it: in its own time, with the zone. In UTC where no script runs, and to the
 * second where one points at it.
 */
export function moment(ms: number): Html {
  const iso = new Date(ms).toISOString()
  return html`<time datetime="${iso}" title="${iso.slice(0, 19).replace('T', ' ')} UTC" data-moment>${iso.slice(0, 16).replace('T', ' ')} UTC</time>`
}

/** How long is left, counted down where a script runs. */
export function deadline(ms: number, nowMs: number): Html {
  const iso = new Date(ms).toISOString()
  return html`<time datetime="${iso}" data-deadline>${left(ms - nowMs)}</time>`
}

function left(ms: number): string {
  if (ms <= 0) return 'over'
  const s = Math.ceil(ms / 1000)
  if (s < 60) return `${s} s left`
  return s < 3600 ? `${Math.ceil(s / 60)} min left` : `${Math.ceil(s / 3600)} h left`
}

/** How a vote came about, after "approved". */
export function throughWords(via: string): string {
  if (via.startsWith('grant:')) return `by grant ${via.slice('grant:'.length)}`
  if (via.startsWith('override:')) return `in place of the reviewers, through ${via.slice('override:'.length)}`
  // For whom is said beside it.
  if (via.startsWith('delegate:')) return `through ${via.split(':').at(-1)}`
  return `through ${via}`
}

/** Who asks, in one line: the agent, and whom it acts for. */
export function requesterLine({ subject, onBehalfOf }: Principal): Html {
  return html`<b>${shown(subject)}</b>${onBehalfOf && html` for <b>${shown(onBehalfOf.subject)}</b>`}`
}

/** Why this person cannot approve it, if they cannot; null if they can. */
export function barOf(
  approval: Approval,
  person: Person,
  { isNamed, isOpen }: { readonly isNamed: boolean; readonly isOpen: boolean },
): string | null {
  if (approval.state !== 'pending') return null
  if (isInClosure(approval.requester, person)) {
    return 'You are on the requesting side of this call: somebody else has to approve it. You may deny it.'
  }
  if (!isNamed) return 'No rule of this call names you as a reviewer.'
  if (approval.votes.some(({ reviewer, decision }) => decision === 'deny' && isSameParty(reviewer, person))) {
    return 'You have denied it. A denial is not taken back.'
  }
  return isOpen ? null : 'Its rule takes your approval at other hours only. You may deny it at any time.'
}
