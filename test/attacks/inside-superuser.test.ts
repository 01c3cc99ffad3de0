import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { agent, ballot, codeOf, granted, makeCall, person, type TestCall, verdict } from '../approvals/parts.ts'
import { hold, openWorld, type World } from '../approvals/world.ts'

describe('a superuser of the store, who has none of the keys', () => {
  let world: World
  let queue: Queue
  beforeAll(async () => {
    world = await openWorld()
    queue = world.openReplica().queue
  })
  afterAll(() => world.close())

  async function approved(principal: Principal) {
    const call = makeCall({ principal })
    const approval = await hold(queue, call)
    await queue.vote(ballot(approval, person('rita')))
    return { approval, call }
  }

  const spend = (approval: Approval, call: TestCall, on = queue) =>
    on.spend(approval, call, { verdict: verdict(), digest: call.sealed.digest })

  /** Everything of an approval as it was at a moment, to be put back later. */
  async function snapshot(approval: Approval): Promise<() => Promise<void>> {
    const suffix = approval.id.toLowerCase()
    await world.asSuperuser(
      `CREATE TABLE public.approval_${suffix} AS SELECT * FROM countersign.approval WHERE id = '${approval.id}'`,
      `CREATE TABLE public.vote_${suffix} AS SELECT * FROM countersign.vote WHERE approval = '${approval.id}'`,
    )
    return () =>
      world.asSuperuser(
        'SET session_replication_role = replica',
        ...['approval', 'vote', 'outbox'].map((table) => `ALTER TABLE countersign.${table} DISABLE TRIGGER ALL`),
        ...['audit_entry', 'audit_entry_000000'].map((table) => `ALTER TABLE countersign.${table} DISABLE TRIGGER ALL`),
        `DELETE FROM countersign.vote WHERE approval = '${approval.id}'`,
        `DELETE FROM countersign.approval WHERE id = '${approval.id}'`,
        `INSERT INTO countersign.approval SELECT * FROM public.approval_${suffix}`,
        `INSERT INTO countersign.vote SELECT * FROM public.vote_${suffix}`,
        `UPDATE countersign.audit_entry SET approval_id = NULL WHERE approval_id = '${approval.id}' AND kind <> 'held' AND seq >
          (SELECT coalesce(max(seq), 0) FROM countersign.audit_entry WHERE approval_id = '${approval.id}' AND kind = 'decided'
             AND convert_from(body, 'UTF8') LIKE '%"state":"approved"%')`,
      )
  }

  it('keeps no approval alive by turning the clock of the store back', async () => {
    const short = world.openReplica({ options: { use_within: 60_000 } }).queue
    await world.asSuperuser(
      'ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO real_clock',
      `CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql
         AS $$ SELECT pg_catalog.real_clock() - interval '10 minutes' $$`,
    )
    try {
      const call = makeCall({ principal: agent('su3') })
      const approval = await hold(short, call)
      await short.vote(ballot(approval, person('rita')))
      expect(await world.stateOf(approval.id)).toBe('approved')
      expect(codeOf(await spend(approval, call, short))).toBe('expired')
    } finally {
      await world.asSuperuser(
        'DROP FUNCTION pg_catalog.clock_timestamp()',
        'ALTER FUNCTION pg_catalog.real_clock() RENAME TO clock_timestamp',
      )
    }
  })

  it('brings no approval back that was used, with its traces taken out of the log', async () => {
    const { approval, call } = await approved(agent('su1'))
    const putBack = await snapshot(approval)
    granted(await spend(approval, call))
    await putBack()
    expect(await world.stateOf(approval.id)).toBe('approved')
    expect(codeOf(await spend(approval, call))).toBe('withdrawn')
  })

  it('brings none back that another gateway used, once this one has seen the entry', async () => {
    const { approval, call } = await approved(agent('su5'))
    const putBack = await snapshot(approval)
    const other = world.openReplica().queue
    world.hearEnded(other.noteEnded)
    granted(await spend(approval, call))
    await world.guard.check()
    await putBack()
    expect(codeOf(await spend(approval, call, other))).toBe('withdrawn')
  })

  it('undoes no denial', async () => {
    const { approval, call } = await approved(agent('su2'))
    const putBack = await snapshot(approval)
    await queue.vote(ballot(approval, person('rudi'), { decision: 'deny' }))
    await putBack()
    expect(await world.stateOf(approval.id)).toBe('approved')
    expect(codeOf(await spend(approval, call))).toBe('withdrawn')
  })

  it("undoes no denial of the agent's owner that it leaves where it is", async () => {
    const { approval, call } = await approved(agent('su6'))
    expect(await queue.vote(ballot(approval, person('olga', []), { decision: 'deny' }))).toMatchObject({
      counted: true,
    })
    await world.asSuperuser(
      'ALTER TABLE countersign.approval DISABLE TRIGGER ALL',
      `UPDATE countersign.approval SET state = 'approved', reason = NULL WHERE id = '${approval.id}'`,
    )
    // One that has not seen it end.
    expect(codeOf(await spend(approval, call, world.openReplica().queue))).toBe('withdrawn')
  })

  it('adds no approval to one that was denied', async () => {
    const call = makeCall({ principal: agent('su4') })
    const approval = await hold(queue, call)
    const putBack = await snapshot(approval)
    await queue.vote(ballot(approval, person('rudi'), { decision: 'deny' }))
    await putBack()
    expect(await world.stateOf(approval.id)).toBe('pending')
    expect(await queue.vote(ballot(approval, person('rita')))).toMatchObject({ counted: false })
    expect(await world.stateOf(approval.id)).toBe('withdrawn')
  })
})
