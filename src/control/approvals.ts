import type { Decision } from '../domain/approval.ts'
import type { Person } from '../domain/principal.ts'
import type { ApprovalDesk } from './desk.ts'
import type { Asked } from './endpoints.ts'
import { ControlProblem, FAULT_DETAILS } from './problem.ts'
import type { ListedWire, NoticeWire, ShownWire, VotedWire } from './wire.ts'
import { writeApproval, writeShown } from './write.ts'

/** What both votes are given. */
type Voting = Pick<Asked<'POST /v1/approvals/:id/approve'>, 'person' | 'params' | 'body'>

/** The approver API's answers. What a person may not see is answered as if it did not exist. */
export function createApprovalHandlers(queue: ApprovalDesk, notices: () => readonly NoticeWire[]) {
  return {
    async list({ person, query }: Asked<'GET /v1/approvals'>): Promise<ListedWire> {
      const { state, upstream, limit, after } = query
      const page = await queue.list(person, {
        states: state ?? null,
        upstream: upstream ?? null,
        limit,
        after: after ?? null,
      })
      return { approvals: page.approvals.map(writeApproval), next: page.next, notices: notices() }
    },

    async show({ person, params }: Asked<'GET /v1/approvals/:id'>): Promise<ShownWire> {
      return writeShown(await findShown(person, params.id), notices())
    },

    vote(decision: Decision) {
      return async ({ person, params, body }: Voting): Promise<VotedWire> => {
        await findShown(person, params.id)
        const result = await queue.vote({
          approval: params.id,
          reviewer: person,
          decision,
          reason: body.reason ?? null,
          via: 'api',
          cardHash: body.card_hash,
        })
        if (!result.counted) throw new ControlProblem(result.fault, FAULT_DETAILS[result.fault])
        return { approval: writeApproval(result.approval), notices: notices() }
      }
    },
  }

  async function findShown(person: Person, id: string) {
    const shown = await queue.find(id, person)
    if (!shown) throw new ControlProblem('not_found', FAULT_DETAILS.not_found)
    return shown
  }
}
