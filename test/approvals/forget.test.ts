import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createForgetting } from '../../src/approvals/forget.ts'
import { createSweeper } from '../../src/approvals/sweeper.ts'
import type { Approval } from '../../src/domain/approval.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { migrate } from '../../src/platform/migrations.ts'
import { agent, ballot, codeOf, granted, judged, log, makeCall, person, type TestCall, verdict } from './parts.ts'
import { hold, openWorld, type Replica, type World } from './world.ts'

const DAY_MS = 86_400_000

describe('what nobody asks for any more', () => {
  let world: World
  let replica: Replica
  beforeEach(async () => {
    world = await openWorld()
    replica = world.openReplica({ channels: ['slack'] })
  })
  afterEach(() => world.close())

  async function sweep({ keepMs = DAY_MS, to = log } = {}): Promise<void> {
    const parts = { replicaId: 'sweeping', clock: systemClock, oldestCallId: () => null, keepMs }
    await createSweeper(world.makeGround({ log: to }), parts).sweep()
  }

  /** Opens an approval under a key, and uses it. */
  async function spend(call: TestCall): Promise<Approval> {
    const approval = await hold(replica.queue, call)
    await replica.queue.vote(ballot(approval, person('rita')))
    granted(await replica.queue.spend(approval, call, { verdict: verdict(), digest: call.sealed.digest }))
    return approval
  }

  /** Lets hours pass for an approval and all that belongs to it. */
  async function age({ id }: Approval, hours: number): Promise<void> {
    const ago = `interval '${hours} hours'`
    await world.alter(
      `UPDATE countersign.approval SET created_at = created_at - ${ago}, decided_at = decided_at - ${ago},
         spent_at = spent_at - ${ago} WHERE id = '${id}'`,
    )
    const { database } = world.store
    await database.query(`UPDATE idempotency SET noted_at = noted_at - ${ago} WHERE approval = $1`, [id])
    await database.query(
      `UPDATE conversation SET begun_at = begun_at - ${ago}
       WHERE key IN (SELECT conversation FROM outbox WHERE approval = $1)`,
      [id],
    )
    await database.query(`UPDATE outbox SET created_at = created_at - ${ago} WHERE approval = $1`, [id])
  }

  async function count(table: string): Promise<number> {
    const { rows } = await world.store.database.query<{ count: number }>(`SELECT count(*) FROM ${table}`)
    return rows[0]?.count ?? 0
  }

  describe('Idempotency-Keys', () => {
    const call = (principal = agent()) => makeCall({ principal, idempotencyKey: 'k' })

    it('answer for a day after the call was done, and then ask people again', async () => {
      const approval = await spend(call())
      await age(approval, 23)
      await sweep({ keepMs: 1 })
      const soon = call()
      expect(codeOf(await replica.queue.hold(soon, judged(), soon.sealed))).toBe('already_spent')

      await age(approval, 2)
      await sweep({ keepMs: 1 })
      expect(await count('idempotency')).toBe(0)
      const again = await hold(replica.queue, call())
      expect(again).toMatchObject({ state: 'pending' })
      expect((await replica.queue.find(again.id))?.card.derived.notes[0]).toContain('The same call was done before')
    })

    it('answer for as long as cards are kept, if that is longer', async () => {
      const approval = await spend(call())
      await age(approval, 47)
      await sweep({ keepMs: 2 * DAY_MS })
      expect(await count('idempotency')).toBe(1)
      await age(approval, 2)
      await sweep({ keepMs: 2 * DAY_MS })
      expect(await count('idempotency')).toBe(0)
    })

    it('stay while their approval is open, however long ago they came', async () => {
      const pending = await hold(replica.queue, call(agent('pending')))
      const approved = await hold(replica.queue, call(agent('approved')))
      await replica.queue.vote(ballot(approved, person('rita')))
      for (const approval of [pending, approved]) await age(approval, 1000)
      await sweep()
      expect(await count('idempotency')).toBe(2)
    })

    it('stay when they came long ago, and their approval ended lately', async () => {
      const approval = await spend(call())
      await world.store.database.query(`UPDATE idempotency SET noted_at = noted_at - interval '30 days'`)
      await age(approval, 1)
      await sweep()
      expect(await count('idempotency')).toBe(1)
    })

    it('stay when a later call under them is held', async () => {
      const denied = await hold(replica.queue, call())
      await replica.queue.withdraw(denied, judged())
      await age(denied, 100)
      const later = await hold(replica.queue, call())
      await sweep()
      const { rows } = await world.store.database.query('SELECT approval FROM idempotency')
      expect(rows).toEqual([{ approval: later.id }])
    })

    it('are forgotten in batches, by several replicas at once', async () => {
      const calls = Array.from({ length: 7 }, (_, index) => call(agent(`many-${index}`)))
      for (const each of calls) await age(await spend(each), 48)
      const forget = createForgetting(world.makeGround(), { keepMs: DAY_MS })
      expect(await forget('idempotency', 5)).toBe(true)
      expect(await count('idempotency')).toBe(2)
      await Promise.all([sweep(), sweep(), sweep()])
      expect(await count('idempotency')).toBe(0)
    })
  })

  describe('what channels were owed', () => {
    const inConversation = (what: string) => makeCall({ what, conversation: 'tickets' })

    async function begin({ conversation }: { conversation: string }): Promise<void> {
      await world.store.database.query(`INSERT INTO conversation (channel, key) VALUES ('slack', $1)`, [conversation])
    }

    async function owed({ id }: Approval): Promise<readonly { kind: string; conversation: string }[]> {
      const { rows } = await world.store.database.query<{ kind: string; conversation: string }>(
        'SELECT kind, conversation FROM outbox WHERE approval = $1 ORDER BY kind',
        [id],
      )
      return rows
    }

    it('is forgotten with the card, and a conversation with the last of its approvals', async () => {
      const first = await spend(inConversation('one'))
      const second = await spend(inConversation('two'))
      expect(await owed(first)).toMatchObject([{ kind: 'card' }, { kind: 'result' }])
      for (const { conversation } of (await owed(first)).slice(0, 1)) await begin({ conversation })
      await age(first, 48)
      await sweep()
      expect(await owed(first)).toEqual([])
      expect(await owed(second)).toHaveLength(2)
      expect(await count('conversation')).toBe(1)

      await age(second, 48)
      await sweep()
      expect(await owed(second)).toEqual([])
      expect(await count('conversation')).toBe(0)
    })

    it('stays while the approval is open, or its card can be read', async () => {
      const open = await hold(replica.queue, makeCall({ principal: agent('open') }))
      const readable = await spend(makeCall({ principal: agent('readable') }))
      await age(open, 48)
      await age(readable, 48)
      await sweep({ keepMs: 3 * DAY_MS })
      expect(await owed(open)).toHaveLength(1)
      expect(await owed(readable)).toHaveLength(2)
    })
  })

  it('forgets processes that ended long ago and owe nothing', async () => {
    const { database } = world.store
    await database.query(
      `INSERT INTO replica (id, beat_at, low_water, settled_at) VALUES
         ('old', now() - interval '3 days', '00000000-0000-7000-8000-000000000000', now() - interval '2 days'),
         ('late', now() - interval '3 days', '00000000-0000-7000-8000-000000000000', now() - interval '1 hour'),
         ('living', now(), '00000000-0000-7000-8000-000000000000', NULL)`,
    )
    await sweep()
    const { rows } = await database.query<{ id: string }>('SELECT id FROM replica ORDER BY id')
    expect(rows.map(({ id }) => id)).toEqual(['late', 'living', 'sweeping'])
  })
})

describe('in a store with the schema of the release before', () => {
  it('forgets nothing and says nothing of it, until it is migrated', async () => {
    const world = await openWorld({ schema: 3 })
    try {
      const said: string[] = []
      const to = createLogger({ level: 'info', destination: { write: (line) => said.push(line) } })
      const { queue, database } = world.openReplica()
      const denied = await hold(queue, makeCall({ idempotencyKey: 'k' }))
      await queue.vote(ballot(denied, person('rita'), { decision: 'deny' }))
      await world.alter(`UPDATE countersign.approval SET decided_at = decided_at - interval '2 days'`)
      const parts = { replicaId: 'r', clock: systemClock, oldestCallId: () => null, keepMs: DAY_MS }
      const sweeper = createSweeper(world.makeGround({ log: to }), parts)
      await sweeper.sweep()
      const kept = async () => (await database.query('SELECT FROM idempotency')).rows.length
      const erased = await database.query('SELECT FROM approval WHERE wrapped_key IS NULL')
      expect(erased.rows, 'the rest of the round').toHaveLength(1)
      expect(await kept()).toBe(1)

      await migrate({ adminUrl: world.store.adminUrl, log })
      await database.query(`UPDATE idempotency SET noted_at = noted_at - interval '2 days'`)
      await sweeper.sweep()
      expect(await kept()).toBe(0)
      expect(said).toEqual([])
    } finally {
      await world.close()
    }
  })
})
