import type { GrantDesk } from './desk.ts'
import type { Asked } from './endpoints.ts'
import { type ControlRefusal, GRANT_FAULTS, refuseAs } from './problem.ts'
import type { GrantsWire, NoticeWire, RevokedWire } from './wire.ts'
import { writeGrant } from './write.ts'

/** Grants, for programs: what is in force, and the way to end it. */
export function createGrantHandlers(desk: GrantDesk, notices: () => readonly NoticeWire[]) {
  return {
    async list({ person }: Asked<'GET /v1/grants'>): Promise<GrantsWire> {
      return { grants: (await desk.list(person)).map(writeGrant), notices: notices() }
    },

    async revoke({ person, params, body }: Asked<'POST /v1/grants/:id/revoke'>): Promise<RevokedWire | ControlRefusal> {
      const result = await desk.revoke({ grant: params.id, by: person, reason: body.reason ?? null, via: 'api' })
      if (!result.done) return refuseAs(...GRANT_FAULTS[result.fault])
      return { grant: writeGrant(result.grant), changed: result.isChanged, notices: notices() }
    },
  }
}
