import { z } from 'zod'
import type { ListFilter } from '../../approvals/read.ts'
import type { Approval } from '../../domain/approval.ts'
import type { Person } from '../../domain/principal.ts'
import type { Clock } from '../../platform/clock.ts'
import { readCursor } from '../cursor.ts'
import type { ApprovalDesk } from '../desk.ts'
import { historyBody, historyQuery, toFilter } from './history.ts'
import { inboxBody, type Listed, waitsFor } from './inbox.ts'
import { type Answer, page, type Visit } from './respond.ts'

const PER_PAGE = 100

const cursor = z
  .string()
  .optional()
  .transform((text) => (text === undefined ? null : readCursor(text)))
const inboxSchema = z.object({ after: cursor, others: cursor })
const historySchema = historyQuery.extend({ after: cursor })

/** What waits, and what is over. */
export function createListPages({ queue, clock }: { readonly queue: ApprovalDesk; readonly clock: Clock }) {
  async function list(person: Person, filter: ListFilter, before: ListFilter['before'] | null): Promise<Listed> {
    const found = await queue.list(person, { ...filter, ...(before && { before }), limit: PER_PAGE + 1 })
    const approvals = found.slice(0, PER_PAGE)
    return { approvals, next: found.length > PER_PAGE ? (approvals.at(-1) ?? null) : null }
  }

  return {
    'GET /': async ({ request, caller: { person } }: Visit): Promise<Answer> => {
      const { after, others } = inboxSchema.parse(request.query)
      const [asked, rest, absentees] = await Promise.all([
        list(person, { ballot: 'open' }, after),
        list(person, { ballot: 'closed' }, others),
        queue.delegations.absentees(person),
      ])
      const nowMs = clock.now()
      // Auditors and owners see more than they may vote on.
      const isMine = (approval: Approval) => waitsFor(approval, person, { nowMs, absentees })
      const mine = { ...asked, approvals: asked.approvals.filter(isMine) }
      const theirs = [...asked.approvals.filter((approval) => !isMine(approval)), ...rest.approvals]
      return page('Inbox', inboxBody({ mine, others: { ...rest, approvals: theirs }, nowMs }))
    },

    'GET /history': async ({ request, caller: { person } }: Visit): Promise<Answer> => {
      const { after, ...query } = historySchema.parse(request.query)
      const filter = toFilter(query)
      if (typeof filter === 'string') {
        return page('History', historyBody({ approvals: [], next: null, query, fault: filter }), 422)
      }
      return page('History', historyBody({ ...(await list(person, filter, after)), query, fault: null }))
    },
  }
}
