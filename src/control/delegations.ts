import type { z } from 'zod'
import type { Delegation, DelegationDesk, Known } from '../domain/delegation.ts'
import type { delegatedSchema, delegationSchema, delegationsSchema, endedSchema } from './delegation-wire.ts'
import type { Asked } from './endpoints.ts'
import { type ControlRefusal, DELEGATION_FAULTS, refuseAs } from './problem.ts'
import type { NoticeWire, Sealed } from './wire.ts'

type Wire<Schema extends z.ZodType> = Sealed<z.output<Schema>>

/** Who stands in for whom, for programs. */
export function createDelegationHandlers(desk: DelegationDesk, notices: () => readonly NoticeWire[]) {
  return {
    async list({ person }: Asked<'GET /v1/delegations'>): Promise<Wire<typeof delegationsSchema>> {
      const all = await desk.list(person.roles.includes('admin') ? null : person)
      return { delegations: all.map(writeDelegation), notices: notices() }
    },

    async make({
      person,
      body,
    }: Asked<'POST /v1/delegations'>): Promise<Wire<typeof delegatedSchema> | ControlRefusal> {
      const { delegate, from, until } = body
      const period = { from: from === undefined ? 0 : Date.parse(from), until: Date.parse(until) }
      const made = await desk.make({ by: person, delegate, ...period, via: 'api' })
      if ('fault' in made) return refuseAs(...DELEGATION_FAULTS[made.fault])
      return { delegation: writeDelegation(made.delegation), notices: notices() }
    },

    async end({
      person,
      params: { id },
    }: Asked<'POST /v1/delegations/:id/end'>): Promise<Wire<typeof endedSchema> | ControlRefusal> {
      const isDone = await desk.end({ id, by: person, via: 'api' })
      return isDone ? { id, notices: notices() } : refuseAs(...DELEGATION_FAULTS.gone)
    },
  }
}

function writeDelegation({ id, person, delegate, from, until, madeAt }: Delegation): Wire<typeof delegationSchema> {
  return {
    id,
    person: writeNamed(person),
    delegate: writeNamed(delegate),
    from: new Date(from).toISOString(),
    until: new Date(until).toISOString(),
    made_at: new Date(madeAt).toISOString(),
  }
}

function writeNamed({ issuer, subject, name }: Known): Known {
  return { issuer, subject, name }
}
