import type { Approval } from '../../domain/approval.ts'
import { isEntitled } from '../../domain/entitlement.ts'
import { isSameParty, type Person } from '../../domain/principal.ts'
import { formatRule } from '../../domain/verdict.ts'
import { writeCursor } from '../cursor.ts'
import { type Html, html, shown } from './html.ts'
import { deadline, moment, requesterLine, stateBadge } from './words.ts'

/** Whether a person may vote on it, and has not. */
export function waitsFor(approval: Approval, person: Person, nowMs: number): boolean {
  const moment = { openedAt: approval.createdAt, at: nowMs }
  return (
    approval.state === 'pending' &&
    approval.requirements.some((requirement) => isEntitled(requirement, person, moment)) &&
    !approval.votes.some(({ reviewer }) => isSameParty(reviewer, person))
  )
}

/** What waits for this person, and below it what waits for others. */
export function inboxBody(how: {
  readonly approvals: readonly Approval[]
  readonly person: Person
  readonly nowMs: number
  readonly next: Approval | null
}): Html {
  const { approvals, person, nowMs, next } = how
  const [mine, others] = [true, false].map((isMine) =>
    approvals.filter((one) => waitsFor(one, person, nowMs) === isMine),
  )
  return html`<h1>Inbox</h1>
<section data-live="inbox" id="inbox" aria-live="polite" aria-relevant="additions">
<h2>Waiting for you <span class="count">${mine?.length ?? 0}</span></h2>
${mine && mine.length > 0 ? rows(mine, nowMs) : html`<p class="empty">Nothing waits for you.</p>`}
${
  others &&
  others.length > 0 &&
  html`<h2>Waiting for others, or to be carried out <span class="count">${others.length}</span></h2>${rows(others, nowMs)}`
}
${next && html`<p><a href="/?after=${encodeURIComponent(writeCursor(next))}">Older ones</a></p>`}
</section>`
}

export function historyBody(approvals: readonly Approval[], next: Approval | null): Html {
  return html`<h1>History</h1>
${approvals.length > 0 ? rows(approvals, null) : html`<p class="empty">Nothing was decided yet that you may see.</p>`}
${next && html`<p><a href="/history?after=${encodeURIComponent(writeCursor(next))}">Older ones</a></p>`}`
}

function rows(approvals: readonly Approval[], nowMs: number | null): Html {
  return html`<ul class="rows">${approvals.map((approval) => row(approval, nowMs))}</ul>`
}

function row(approval: Approval, nowMs: number | null): Html {
  const { id, verb, resource, upstream, rules, expiresAt, createdAt, state, requester } = approval
  return html`<li id="row-${id}"><a href="/approvals/${id}">
<span class="what"><b>${shown(verb)}</b> <code>${shown(resource)}</code> on ${shown(upstream)}</span>
<span class="whose">${requesterLine(requester)}</span>
<span class="why">${rules.map((rule) => shown(formatRule(rule))).join(', ')}</span>
<span class="when">${state === 'pending' && nowMs !== null ? deadline(expiresAt, nowMs) : html`${stateBadge(state)} ${moment(createdAt)}`}</span>
</a></li>`
}
