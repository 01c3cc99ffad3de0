import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { firstCallId } from '../../src/approvals/replicas.ts'
import { createSweeper, type Sweeper } from '../../src/approvals/sweeper.ts'
import type { Entry } from '../../src/domain/entry.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { newCallId } from '../../src/platform/id.ts'
import { createMetrics } from '../../src/platform/metrics.ts'
import { agent, ballot, granted, makeCall, person, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const HOUR_MS = 3_600_000

describe('the sweeper', () => {
  let world: World
  beforeEach(async () => {
    world = await openWorld()
  })
  afterEach(() => world.close())

  function open(id: string, { keepMs = HOUR_MS, oldest = null as string | null } = {}): Sweeper {
    return createSweeper(world.makeGround(), {
      replicaId: id,
      clock: systemClock,
      oldestCallId: () => oldest,
      keepMs,
      everyMs: HOUR_MS,
    })
  }

  async function outcomesOf(callId: string): Promise<readonly (string | null)[]> {
    const { rows } = await world.store.database.query<{ outcome: string | null }>(
      `SELECT outcome FROM audit_entry WHERE call_id = $1 AND kind = 'outcome'`,
      [callId],
    )
    return rows.map((row) => row.outcome)
  }

  async function intend(effect: Entry['effect'] & string, callId = newCallId()): Promise<string> {
    await world.audit.intent({ kind: 'intent', callId, principal: agent(), upstream: 'billing', effect })
    return callId
  }

  async function addReplica(id: string, { agoMs = 0, lowWater = firstCallId(0), stopped = false } = {}): Promise<void> {
    await world.store.database.query(
      `INSERT INTO replica (id, beat_at, low_water, stopped_at)
       VALUES ($1, clock_timestamp() - $2 * interval '1 millisecond', $3, CASE WHEN $4 THEN clock_timestamp() END)`,
      [id, agoMs, lowWater, stopped],
    )
  }

  it('expires what is overdue, once, with several replicas at it', async () => {
    const { queue } = world.openReplica({ options: { expires: 1, use_within: 1 } })
    const held = await Promise.all(
      Array.from({ length: 5 }, (_, index) => hold(queue, makeCall({ principal: agent(`e${index}`) }))),
    )
    const used = await hold(
      world.openReplica({ options: { use_within: 1 } }).queue,
      makeCall({ principal: agent('used') }),
    )
    await queue.vote(ballot(used, person('rita')))
    const open3 = ['one', 'two', 'three'].map((id) => open(id))
    await Promise.all(open3.map((sweeper) => sweeper.sweep()))
    for (const approval of [...held, used]) {
      expect(await world.stateOf(approval.id)).toBe('expired')
      const decided = (await world.entriesOf(approval.id)).filter(
        (entry) => entry.kind === 'decided' && Object(entry.body['detail'])['state'] === 'expired',
      )
      expect(decided).toHaveLength(1)
    }
  })

  it('calls the outcome of a spent approval unknown when its process died, once', async () => {
    const replica = world.openReplica({ id: 'dead' })
    const call = makeCall({ principal: agent('u1') })
    const approval = await hold(replica.queue, call)
    await replica.queue.vote(ballot(approval, person('rita')))
    granted(await replica.queue.spend(approval, call, { verdict: verdict(), digest: call.sealed.digest }))
    await open('one').sweep()
    // A forward begins within two seconds of the spend; nobody may say that its end is unknown before.
    expect(await outcomesOf(call.id)).toEqual([])
    await world.alter(
      `UPDATE countersign.approval SET spent_at = spent_at - interval '1 minute' WHERE id = '${approval.id}'`,
    )
    await addReplica('dead')
    await open('one').sweep()
    expect(await outcomesOf(call.id), 'its process lives').toEqual([])
    await world.store.database.query(`UPDATE replica SET beat_at = beat_at - interval '1 minute' WHERE id = 'dead'`)
    await Promise.all(['one', 'two', 'three'].map((id) => open(id).sweep()))
    expect(await outcomesOf(call.id)).toEqual(['unknown'])
    const again = await hold(replica.queue, makeCall({ principal: agent('u1') }))
    const card = (await replica.queue.find(again.id))?.card
    expect(card?.derived.notes[0]).toContain('how it ended is not known')
  })

  it('takes an outcome that the log has, instead of calling it unknown', async () => {
    const replica = world.openReplica({ id: 'dead' })
    const call = makeCall({ principal: agent('u2') })
    const approval = await hold(replica.queue, call)
    await replica.queue.vote(ballot(approval, person('rita')))
    granted(await replica.queue.spend(approval, call, { verdict: verdict(), digest: call.sealed.digest }))
    await world.audit.append({ kind: 'outcome', callId: call.id, outcome: 'forwarded' })
    await world.alter(
      `UPDATE countersign.approval SET spent_at = spent_at - interval '1 minute' WHERE id = '${approval.id}'`,
    )
    await open('one').sweep()
    expect(await outcomesOf(call.id)).toEqual(['forwarded'])
    const own = await replica.queue.ownCall(agent('u2'), call.id, null)
    expect(own?.outcome).toBe('forwarded')
    expect(await replica.queue.findFor(person('rita'), approval.id)).toMatchObject({ outcome: 'forwarded' })
  })

  it('writes what a dead process owed: unknown for what was let through, refused for what was not', async () => {
    const longAgo = Date.now() - HOUR_MS
    const allowed = await intend('allow', newCallId(longAgo + 1))
    const denied = await intend('deny', newCallId(longAgo + 2))
    const waiting = await intend('hold', newCallId(longAgo + 3))
    const ended = await intend('allow', newCallId(longAgo + 4))
    await world.audit.append({ kind: 'outcome', callId: ended, outcome: 'forwarded' })
    await addReplica('dead', { agoMs: HOUR_MS / 2, lowWater: firstCallId(longAgo) })
    await Promise.all(['one', 'two', 'three'].map((id) => open(id).sweep()))
    await open('one').sweep()
    expect(await outcomesOf(allowed)).toEqual(['unknown'])
    expect(await outcomesOf(denied)).toEqual(['refused'])
    expect(await outcomesOf(waiting)).toEqual(['refused'])
    expect(await outcomesOf(ended)).toEqual(['forwarded'])
    const { rows } = await world.store.database.query('SELECT FROM replica WHERE settled_at IS NULL AND id = $1', [
      'dead',
    ])
    expect(rows).toHaveLength(0)
  })

  it('settles hundreds of them, each once', async () => {
    const longAgo = Date.now() - HOUR_MS
    const calls = await Promise.all(
      Array.from({ length: 450 }, (_, index) => intend('allow', newCallId(longAgo + index))),
    )
    await addReplica('dead', { agoMs: HOUR_MS / 2, lowWater: firstCallId(longAgo) })
    await Promise.all(['one', 'two'].map((id) => open(id).sweep()))
    const { rows } = await world.store.database.query<{ count: number; calls: number }>(
      `SELECT count(*) AS count, count(DISTINCT call_id) AS calls FROM audit_entry WHERE outcome = 'unknown'`,
    )
    expect(rows).toEqual([{ count: calls.length, calls: calls.length }])
  })

  it('settles many dead processes in one round', async () => {
    const calls = await Promise.all(
      Array.from({ length: 5 }, async (_, index) => {
        const startedAt = Date.now() - HOUR_MS + index * 600_000
        await addReplica(`dead-${index}`, { agoMs: HOUR_MS - index * 600_000, lowWater: firstCallId(startedAt) })
        return intend('allow', newCallId(startedAt + 100))
      }),
    )
    await open('one').sweep()
    for (const call of calls) expect(await outcomesOf(call)).toEqual(['unknown'])
  })

  it('leaves alone what a living process may still have under way', async () => {
    const longAgo = Date.now() - HOUR_MS
    const running = await intend('allow', newCallId(longAgo + 5))
    await addReplica('dead', { agoMs: HOUR_MS / 2, lowWater: firstCallId(longAgo) })
    const busy = open('busy', { oldest: running })
    await busy.sweep()
    await open('one').sweep()
    expect(await outcomesOf(running)).toEqual([])
  })

  it('settles a process that ended in order, too', async () => {
    const longAgo = Date.now() - HOUR_MS
    const lost = await intend('allow', newCallId(longAgo))
    const leaving = open('leaving', { oldest: firstCallId(longAgo - 1) })
    await leaving.start()
    await leaving.stop()
    await open('one').sweep()
    expect(await outcomesOf(lost)).toEqual(['unknown'])
  })

  it('erases keys some time after the end, and what they opened is gone', async () => {
    const { queue } = world.openReplica()
    const over = await hold(queue, makeCall({ principal: agent('k1') }))
    const kept = await hold(queue, makeCall({ principal: agent('k2') }))
    await queue.vote(ballot(over, person('rita'), { decision: 'deny' }))
    await open('patient').sweep()
    expect((await queue.findFor(person('rita'), over.id))?.card).not.toBeNull()
    await world.alter(
      `UPDATE countersign.approval SET decided_at = decided_at - interval '2 hours' WHERE id = '${over.id}'`,
    )
    await open('thorough').sweep()
    expect(await queue.findFor(person('rita'), over.id)).toMatchObject({ approval: { state: 'denied' }, card: null })
    expect(await queue.find(over.id)).toBeNull()
    expect((await queue.find(kept.id))?.card).toBeDefined()
    const { rows } = await world.store.database.query(
      `SELECT FROM approval WHERE id = $1 AND wrapped_key IS NULL AND sealed_call IS NULL AND sealed_card IS NULL
         AND stored_bytes = 0`,
      [over.id],
    )
    expect(rows).toHaveLength(1)
  })

  it('counts what is open', async () => {
    const { queue } = world.openReplica()
    await hold(queue, makeCall({ principal: agent('c1') }))
    const metrics = createMetrics()
    const sweeper = createSweeper(world.makeGround({ metrics }), {
      replicaId: 'r',
      clock: systemClock,
      oldestCallId: () => null,
      keepMs: HOUR_MS,
    })
    await sweeper.sweep()
    expect((await metrics.pendingApprovals.get()).values[0]?.value).toBe(1)
    expect((await metrics.heldBytes.get()).values[0]?.value).toBeGreaterThan(0)
  })
})
