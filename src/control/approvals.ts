import type { BallotResult, Decision } from '../domain/approval.ts'
import { findAssuranceNeed } from '../domain/entitlement.ts'
import type { Person } from '../domain/principal.ts'
import { isRefusal } from '../domain/refusal.ts'
import type { Clock } from '../platform/clock.ts'
import { writeCursor } from './cursor.ts'
import type { ApprovalDesk } from './desk.ts'
import type { Asked } from './endpoints.ts'
import { type ControlRefusal, FAULT_DETAILS, refuseAs } from './problem.ts'
import { writeQuestion } from './questions.ts'
import type { ListedWire, NoticeWire, ShownWire, VotedWire } from './wire.ts'
import { writeApproval, writeCall, writeGrant } from './write.ts'
import { writePrecedents } from './write-help.ts'

/** What every vote is given. */
type Voting = Pick<Asked<'POST /v1/approvals/:id/approve'>, 'person' | 'params' | 'body'>

/** The same endpoint for each way to vote. */
type Way = Decision | 'override'

/** The approver API's answers. What a person may not see is answered as if it did not exist. */
export function createApprovalHandlers(
  queue: ApprovalDesk,
  notices: () => readonly NoticeWire[],
  clock: Pick<Clock, 'now'>,
) {
  return {
    async list({ person, query }: Asked<'GET /v1/approvals'>): Promise<ListedWire> {
      const { state, upstream, limit, after } = query
      const approvals = await queue.list(person, {
        ...(state && { states: state }),
        ...(upstream !== undefined && { upstream }),
        ...(after && { before: after }),
        limit: limit + 1,
      })
      const page = approvals.slice(0, limit)
      const last = page.at(-1)
      const next = approvals.length > limit && last ? writeCursor(last) : null
      return { approvals: page.map(writeApproval), next, notices: notices() }
    },

    async show({ person, params }: Asked<'GET /v1/approvals/:id'>): Promise<ShownWire | ControlRefusal> {
      const shown = await queue.findFor(person, params.id)
      if (!shown) return NOT_FOUND
      const { approval, card, outcome, questions } = shown
      const [call, precedents] = await Promise.all([queue.recall(approval), queue.precedents(params.id, { person })])
      return {
        approval: writeApproval(approval),
        card,
        outcome,
        call: isRefusal(call) ? null : writeCall(call),
        precedents: precedents && writePrecedents(precedents),
        questions: questions.map(writeQuestion),
        notices: notices(),
      }
    },

    vote(way: Way) {
      return async ({ person, params, body }: Voting): Promise<VotedWire | ControlRefusal> => {
        if (!(await queue.findFor(person, params.id))) return NOT_FOUND
        const result = await queue.vote({
          approval: params.id,
          reviewer: person,
          decision: way === 'deny' ? 'deny' : 'approve',
          reason: body.reason ?? null,
          via: 'api',
          cardHash: body.card_hash,
          ...(body.grant && { grant: body.grant }),
          ...(body.replies !== undefined && { replies: body.replies }),
          ...(way === 'override' && { isOverride: true }),
        })
        if (!result.counted)
          return refuseAs(result.fault, FAULT_DETAILS[result.fault], headersOf(result, { person, nowMs: clock.now() }))
        const { approval, grant } = result
        return { approval: writeApproval(approval), grant: grant ? writeGrant(grant) : null, notices: notices() }
      }
    },
  }
}

/** How a client learns what sign-in to ask for (RFC 9470, section 3). */
function headersOf(
  { fault, approval }: Extract<BallotResult, { counted: false }>,
  { person, nowMs }: { person: Person; nowMs: number },
): Readonly<Record<string, string>> {
  if (fault === 'sign_in_too_old') return { 'www-authenticate': `${INSUFFICIENT}, max_age="300"` }
  if (fault !== 'assurance_required' || !approval) return {}
  const moment = { openedAt: approval.createdAt, at: nowMs }
  const need = findAssuranceNeed(approval.requirements, person, moment)
  if (need?.kind === 'fresh') return { 'www-authenticate': `${INSUFFICIENT}, max_age="${need.maxAgeMs / 1000}"` }
  const said = 'error_description="a passkey is used in the console"'
  return { 'www-authenticate': `${INSUFFICIENT}, ${said}` }
}

const INSUFFICIENT = 'Bearer error="insufficient_user_authentication"'

const NOT_FOUND = refuseAs('not_found', FAULT_DETAILS.not_found)
