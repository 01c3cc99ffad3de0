import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nextReminder } from '../../src/approvals/remind.ts'
import { createSweeper } from '../../src/approvals/sweeper.ts'
import type { Delivery, RunningChannel } from '../../src/domain/channel.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { agent, ballot, makeCall, person, requirement, selector, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const toManagers = (afterMs: number) => ({ afterMs, to: [selector('group:managers')] })

describe('the next reminder', () => {
  const openedAt = new Date('2026-03-02T09:00:00Z')
  const at = (ms: number) => new Date(openedAt.getTime() + ms)
  const asked = [requirement({ remindMs: [1000, 3000], escalate: toManagers(2000) }), requirement({ remindMs: [1500] })]

  it.each([
    [0, 1000],
    [1000, 1000],
    [1001, 1500],
    [1501, 2000],
    [2001, 3000],
    [3001, null],
  ])('from %i ms is after %s', (from, next) => {
    expect(nextReminder(asked, openedAt, at(from))).toEqual(next === null ? null : at(next))
  })

  it('is none where no rule wants one', () => {
    expect(nextReminder([requirement()], openedAt, openedAt)).toBeNull()
  })
})

describe('an approval that nobody decides', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())

  /** One round of as many replicas at once. */
  async function sweep(replicas = 1): Promise<void> {
    const sweepers = Array.from({ length: replicas }, (_, index) =>
      createSweeper(world.makeGround(), {
        replicaId: `sweeper-${index}`,
        clock: systemClock,
        oldestCallId: () => null,
        keepMs: 3_600_000,
      }),
    )
    await Promise.all(sweepers.map((sweeper) => sweeper.sweep()))
  }

  async function remindAt(id: string): Promise<number | null> {
    const { rows } = await world.store.database.query<{ at: Date | null }>(
      'SELECT remind_at AS at FROM approval WHERE id = $1',
      [id],
    )
    return rows[0]?.at?.getTime() ?? null
  }

  async function kindsOf(id: string): Promise<readonly string[]> {
    return (await world.entriesOf(id)).map(({ kind }) => kind)
  }

  it('is reminded of, and escalated, once each, with several replicas at it', async () => {
    const { queue } = world.openReplica()
    const of = verdict([
      requirement({ remindMs: [1, 600_000], escalate: toManagers(2) }),
      requirement({ remindMs: [1], rule: { policy: 'billing', rule: 'security' } }),
    ])
    const approval = await hold(queue, makeCall({ principal: agent('r1') }), of)
    expect(await remindAt(approval.id)).toBe(approval.createdAt + 1)
    await Promise.all([sweep(3), sweep(3)])
    await sweep()
    const entries = await world.entriesOf(approval.id)
    expect(entries.map(({ kind, body }) => [kind, body['detail']])).toMatchObject([
      ['held', {}],
      ['reminded', { after_ms: 1, rules: ['billing/refunds', 'billing/security'] }],
      ['escalated', { after_ms: 2, rules: ['billing/refunds'] }],
    ])
    expect(await remindAt(approval.id)).toBe(approval.createdAt + 600_000)
  })

  it('is left alone where no rule wants it, and once it is decided', async () => {
    const { queue } = world.openReplica()
    const plain = await hold(queue, makeCall({ principal: agent('r2') }))
    expect(await remindAt(plain.id)).toBeNull()
    const decided = await hold(queue, makeCall({ principal: agent('r3') }), verdict([requirement({ remindMs: [1] })]))
    await queue.vote(ballot(decided, person('rita')))
    await sweep()
    expect(await kindsOf(plain.id)).toEqual(['held'])
    expect(await kindsOf(decided.id)).toEqual(['held', 'vote', 'decided'])
  })

  it('is not spoken of if its record was altered', async () => {
    const { queue } = world.openReplica()
    const of = verdict([requirement({ escalate: toManagers(600_000) })])
    const { id } = await hold(queue, makeCall({ principal: agent('r4') }), of)
    await world.alter(
      `UPDATE countersign.approval SET remind_at = now(),
         requirements = jsonb_set(requirements, '{0,escalate,afterMs}', '1') WHERE id = '${id}'`,
    )
    await sweep()
    expect(await kindsOf(id)).toEqual(['held'])
  })

  it('is brought to mind on every channel, after its card and beside it', async () => {
    const deliveries: Delivery[] = []
    let wake: () => void = () => {}
    const channel: RunningChannel = {
      name: 'chat',
      async deliver(delivery) {
        deliveries.push(delivery)
        wake()
        return { result: 'delivered', posted: { ts: delivery.kind }, conversation: null }
      },
      tell: async () => ({ result: 'delivered' }),
      async stop() {},
    }
    const until = async (count: number) => {
      while (deliveries.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
    const replica = world.openReplica({
      channels: ['chat'],
      timing: { pollMs: 20, sweepMs: 3_600_000, outbox: { pollMs: 20 } },
    })
    const of = verdict([requirement({ remindMs: [1] })])
    const over = await hold(replica.queue, makeCall({ principal: agent('r5') }), of)
    const approval = await hold(replica.queue, makeCall({ principal: agent('r6') }), of)
    await sweep()
    await replica.queue.vote(ballot(over, person('rita'), { decision: 'deny' }))
    await replica.start({ channels: [channel] })
    await until(2)
    expect(deliveries).toMatchObject([
      { kind: 'card', approval: { id: approval.id }, posted: null },
      { kind: 'reminder', approval: { id: approval.id }, posted: { ts: 'card' } },
    ])
    await replica.queue.vote(ballot(approval, person('rita')))
    await until(3)
    expect(deliveries[2]).toMatchObject({ kind: 'result', posted: { ts: 'card' } })
    expect(deliveries.map((delivery) => delivery.approval.id)).not.toContain(over.id)
  })
})
