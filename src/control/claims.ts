import type { ApprovalDesk } from './desk.ts'
import type { Asked } from './endpoints.ts'
import { CLAIM_FAULTS, type ControlRefusal, refuseAs } from './problem.ts'
import type { ClaimedWire, NoticeWire } from './wire.ts'
import { writeApproval } from './write.ts'

type Claiming = Pick<Asked<'POST /v1/approvals/:id/claim'>, 'person' | 'params'>

/** "I am looking at this", for programs. */
export function createClaimHandlers(desk: ApprovalDesk, notices: () => readonly NoticeWire[]) {
  return (way: 'claim' | 'release') =>
    async ({ person, params }: Claiming): Promise<ClaimedWire | ControlRefusal> => {
      const result = await desk[way]({ approval: params.id, by: person, via: 'api' })
      if (!result.done) return refuseAs(...CLAIM_FAULTS[result.fault])
      return { approval: writeApproval(result.approval), changed: result.isChanged, notices: notices() }
    }
}
