import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { firstCallId } from '../../src/approvals/replicas.ts'
import { createSweeper } from '../../src/approvals/sweeper.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { newCallId } from '../../src/platform/id.ts'
import { agent } from '../approvals/parts.ts'
import { openWorld, type World } from '../approvals/world.ts'

const MINUTE_MS = 60_000

describe('a process that ended, whose clock was not the store’s', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())

  it.each([0, 5 * MINUTE_MS, -5 * MINUTE_MS])('leaves no call without an outcome (%i ms ahead)', async (aheadMs) => {
    const now = Date.now() + aheadMs
    const callId = newCallId(now - 30 * MINUTE_MS)
    await world.audit.intent({ kind: 'intent', callId, principal: agent(), upstream: 'billing', effect: 'allow' })
    await world.store.database.query(
      `INSERT INTO replica (id, beat_at, low_water) VALUES ($1, clock_timestamp() - interval '30 minutes', $2)`,
      [`ended ${aheadMs}`, firstCallId(now - 32 * MINUTE_MS)],
    )
    const sweeper = createSweeper(world.makeGround(), {
      replicaId: 'living',
      clock: systemClock,
      oldestCallId: () => null,
      keepMs: MINUTE_MS,
    })
    await sweeper.sweep()
    const { rows } = await world.store.database.query(
      `SELECT outcome FROM audit_entry WHERE call_id = $1 AND kind = 'outcome'`,
      [callId],
    )
    expect(rows).toEqual([{ outcome: 'unknown' }])
  })
})
