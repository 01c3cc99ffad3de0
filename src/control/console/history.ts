import { z } from 'zod'
import type { ListFilter } from '../../approvals/read.ts'
import type { Approval } from '../../domain/approval.ts'
import { writeCursor } from '../cursor.ts'
import { choice, PARTY_LABELS, textField, timeField } from './audit.ts'
import { auditQuery, toSearch, writeQuery } from './audit-query.ts'
import { type Html, html, shown } from './html.ts'
import type { Listed } from './inbox.ts'
import { moment, requesterLine, STATES, stateSince } from './words.ts'

const OVER = ['denied', 'spent', 'withdrawn', 'expired'] as const

const { from, until, agent, upstream, reviewer } = auditQuery.shape
/** What somebody wrote into the form of the history. */
export const historyQuery = z.object({
  from,
  until,
  agent,
  upstream,
  reviewer,
  state: z.enum(['', ...OVER]).default(''),
})
export type HistoryQuery = z.output<typeof historyQuery>

const VOTER_LABEL = html`Decided by <small>how their name begins, subject, or issuer|subject</small>`

const NOTHING = auditQuery.parse({})

/** Which approvals are asked for; a text says what cannot be understood. */
export function toFilter({ state, ...query }: HistoryQuery): ListFilter | string {
  const search = toSearch({ ...NOTHING, ...query })
  if (typeof search === 'string') return search
  const { reviewer: voter, ...rest } = search
  return { ...rest, ...(voter !== undefined && { voter }), states: state === '' ? OVER : [state] }
}

interface HistoryView extends Listed {
  readonly query: HistoryQuery
  readonly fault: string | null
}

/** What is over, newest first, and who decided. */
export function historyBody({ approvals, next, query, fault }: HistoryView): Html {
  return html`<h1>History</h1>
<form method="get" action="/history" class="filter" role="search" aria-label="The history">
${timeField('from', 'Asked from', query.from)}${timeField('until', 'Asked until', query.until)}
${textField('agent', PARTY_LABELS.agent, query.agent)}${textField('upstream', 'Upstream', query.upstream)}
${textField('reviewer', VOTER_LABEL, query.reviewer)}${choice('state', 'State', { value: query.state, options: OVER, words: STATES })}
<div class="buttons"><button>Find</button> <a class="button" href="/history">Clear</a></div>
</form>
${fault !== null && html`<p class="fault" role="alert">Not looked for: ${shown(fault)}.</p>`}
${approvals.length > 0 ? html`<ul class="rows history">${approvals.map(row)}</ul>` : html`<p class="empty">Nothing that you may see.</p>`}
${next && html`<p class="pages"><a href="/history?${writeQuery(query, { after: writeCursor(next) })}">Older ones</a></p>`}`
}

function row(approval: Approval): Html {
  const { id, verb, resource, upstream, createdAt, requester } = approval
  return html`<li id="row-${id}"><a href="/approvals/${id}">
<span class="what"><b>${shown(verb)}</b> <code>${shown(resource)}</code> on ${shown(upstream)}</span>
<span class="whose">${requesterLine(requester)}</span>
<span class="why">${whoDecided(approval)}</span>
<span class="when">${stateSince(approval)} <small>asked ${moment(createdAt)}</small></span>
</a></li>`
}

/** By their names when they voted, or why nobody did. */
function whoDecided({ state, reason, votes }: Approval): string {
  const wanted = state === 'denied' ? 'deny' : 'approve'
  const names = votes
    .filter(({ decision }) => decision === wanted)
    .map(({ reviewer: who }) => shown(who.name ?? who.subject))
  if (state === 'expired') return 'nobody decided, or used it, in time'
  if (state === 'withdrawn') return reason === null ? 'withdrawn' : `withdrawn: ${shown(reason.replaceAll('_', ' '))}`
  return `by ${names.length === 0 ? 'nobody that can be shown' : names.join(', ')}`
}
