import type { Approval } from '../../domain/approval.ts'
import type { Absentee } from '../../domain/delegation.ts'
import { isEntitled } from '../../domain/entitlement.ts'
import { closureOf, isSameParty, type Person } from '../../domain/principal.ts'
import { formatRule } from '../../domain/verdict.ts'
import { writeCursor } from '../cursor.ts'
import { looking } from './claims.ts'
import { type Html, html, shown } from './html.ts'
import { deadline, requesterLine, stateSince } from './words.ts'

/** Some of a list, and where it goes on. */
export interface Listed {
  readonly approvals: readonly Approval[]
  /** The last one, if there are more after it. */
  readonly next: Approval | null
}

interface InboxView {
  readonly mine: Listed
  readonly others: Listed
  readonly nowMs: number
}

/** Whether a person may vote on it, for themselves or for one of those who are away, and has not. */
export function waitsFor(
  approval: Approval,
  person: Person,
  { nowMs, absentees }: { readonly nowMs: number; readonly absentees: readonly Absentee[] },
): boolean {
  const spoken = [...closureOf(approval.requester), ...approval.votes.map(({ reviewer }) => reviewer)]
  const isStoodInFor = (one: Absentee) => !spoken.some((party) => isSameParty(party, one))
  const voters = [person, ...absentees.filter(isStoodInFor).map((standsFor) => ({ ...person, standsFor }))]
  const moment = { openedAt: approval.createdAt, at: nowMs }
  return (
    approval.state === 'pending' &&
    approval.requirements.some((requirement) => voters.some((voter) => isEntitled(requirement, voter, moment))) &&
    !approval.votes.some(({ reviewer }) => isSameParty(reviewer, person))
  )
}

/** What waits for this person, and below it what waits for others: however much that is, it hides nothing of theirs. */
export function inboxBody({ mine, others, nowMs }: InboxView): Html {
  return html`<h1>Inbox</h1>
<section data-live="inbox" id="inbox" aria-live="polite" aria-relevant="additions">
<h2>Waiting for you ${count(mine)}</h2>
${mine.approvals.length > 0 ? rows(mine.approvals, nowMs) : html`<p class="empty">Nothing waits for you.</p>`}
${older('after', mine)}
${
  others.approvals.length > 0 &&
  html`<h2>Waiting for others, or to be carried out ${count(others)}</h2>${rows(others.approvals, nowMs)}${older('others', others)}`
}
</section>`
}

function count({ approvals, next }: Listed): Html {
  return html`<span class="count">${approvals.length}${next && ' and more'}</span>`
}

function older(name: 'after' | 'others', { next }: Listed): Html | null {
  return next && html`<p><a href="/?${name}=${encodeURIComponent(writeCursor(next))}">Older ones</a></p>`
}

function rows(approvals: readonly Approval[], nowMs: number): Html {
  return html`<ul class="rows">${approvals.map((approval) => row(approval, nowMs))}</ul>`
}

function row(approval: Approval, nowMs: number): Html {
  const { id, verb, resource, upstream, rules, expiresAt, state, requester } = approval
  return html`<li id="row-${id}"><a href="/approvals/${id}">
<span class="what"><b>${shown(verb)}</b> <code>${shown(resource)}</code> on ${shown(upstream)}</span>
<span class="whose">${requesterLine(requester)}</span>
<span class="why">${rules.map((rule) => shown(formatRule(rule))).join(', ')}</span>
<span class="when">${state === 'pending' ? deadline(expiresAt, nowMs) : stateSince(approval)}${approval.claim && html` <small>${looking(approval, null)}</small>`}</span>
</a></li>`
}
