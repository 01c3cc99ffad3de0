import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Delivery, DeliveryResult, RunningChannel } from '../../src/domain/channel.ts'
import { agent, ballot, makeCall, person, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const POSTED: DeliveryResult = { result: 'delivered', posted: { ts: '1' }, conversation: { thread: 't' } }

describe('what channels are owed', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())

  /** Each test has a channel of its own name, so that it sees only its own deliveries. */
  function open(name: string, answer: (delivery: Delivery, count: number) => Promise<DeliveryResult> | DeliveryResult) {
    const deliveries: Delivery[] = []
    let wake: () => void = () => {}
    const channel: RunningChannel = {
      name,
      async deliver(delivery) {
        deliveries.push(delivery)
        wake()
        return answer(delivery, deliveries.length)
      },
      tell: async () => ({ result: 'delivered' }),
      async stop() {},
    }
    const openProcess = (timing = {}) =>
      world.openReplica({
        channels: [name],
        timing: { pollMs: 20, outbox: { pollMs: 20, backoffMs: { first: 20, most: 40 }, ...timing } },
      })
    const replica = openProcess()
    async function until(count: number): Promise<readonly Delivery[]> {
      while (deliveries.length < count) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return deliveries
    }
    return { channel, replica, deliveries, until, openProcess }
  }

  async function rowsOf(approval: string) {
    const { rows } = await world.store.database.query<{ kind: string; end_result: string | null; attempts: number }>(
      'SELECT kind, end_result, attempts FROM outbox WHERE approval = $1 ORDER BY kind',
      [approval],
    )
    return rows
  }

  async function untilDone(approval: string, count = 1) {
    for (;;) {
      const rows = await rowsOf(approval)
      if (rows.length >= count && rows.every((row) => row.end_result !== null)) return rows
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  it('delivers the card, then the result, with what was posted', async () => {
    const { channel, replica, until } = open('o1', () => POSTED)
    await replica.start({ channels: [channel] })
    const approval = await hold(replica.queue, makeCall({ principal: agent('o1'), conversation: 'c' }))
    const [card] = await until(1)
    expect(card).toMatchObject({ kind: 'card', approval: { id: approval.id, state: 'pending' }, posted: null })
    expect(card?.card.approval).toBe(approval.id)
    expect(card?.conversation).toMatchObject({ opened: null })
    await untilDone(approval.id)
    await replica.queue.vote(ballot(approval, person('rita')))
    const [, result] = await until(2)
    expect(result).toMatchObject({
      kind: 'result',
      approval: { state: 'approved', votes: [{ reviewer: { subject: 'rita' } }] },
      posted: { ts: '1' },
      conversation: { opened: { thread: 't' } },
    })
  })

  it('delivers a further result when an approved call was used', async () => {
    const { channel, replica, until } = open('o2', () => POSTED)
    await replica.start({ channels: [channel] })
    const call = makeCall({ principal: agent('o2') })
    const approval = await hold(replica.queue, call)
    await until(1)
    await untilDone(approval.id)
    await replica.queue.vote(ballot(approval, person('rita')))
    await until(2)
    await untilDone(approval.id, 2)
    await replica.queue.spend(approval, call, { verdict: verdict(), digest: call.sealed.digest })
    expect((await until(3))[2]).toMatchObject({ kind: 'result', approval: { state: 'spent' } })
  })

  it('opens the thread of a conversation once', async () => {
    const { channel, replica, until } = open('o3', () => POSTED)
    await replica.start({ channels: [channel] })
    const first = await hold(replica.queue, makeCall({ principal: agent('o3'), conversation: 'c', what: 'one' }))
    await until(1)
    await untilDone(first.id)
    await hold(replica.queue, makeCall({ principal: agent('o3'), conversation: 'c', what: 'two' }))
    await hold(replica.queue, makeCall({ principal: agent('o3-other'), conversation: 'c', what: 'three' }))
    const [one, ...others] = await until(3)
    const same = others.find((delivery) => delivery.conversation.key === one?.conversation.key)
    expect(same?.conversation.opened).toEqual({ thread: 't' })
    expect(others.filter((delivery) => delivery.conversation.key !== one?.conversation.key)).toHaveLength(1)
  })

  it('goes on in a new thread once a card found the old one gone', async () => {
    const { channel, replica, until } = open('o3b', ({ kind }, count) => ({
      result: 'delivered',
      posted: { ts: `${count}` },
      conversation: { thread: kind === 'card' && count > 1 ? 'second' : 'first' },
    }))
    await replica.start({ channels: [channel] })
    const principal = agent('o3b')
    const told: unknown[] = []
    for (const what of ['one', 'two', 'three']) {
      const { id } = await hold(replica.queue, makeCall({ principal, conversation: 'c', what }))
      const delivered = await until(told.length + 1)
      told.push(delivered.at(-1)?.conversation.opened)
      await untilDone(id)
    }
    expect(told).toEqual([null, { thread: 'first' }, { thread: 'second' }])
  })

  it('tries again later when the channel says so, or fails', async () => {
    const { channel, replica, until } = open('o4', (_delivery, count) => {
      if (count === 1) return { result: 'retry', afterMs: 30, cause: 'rate limited' }
      if (count === 2) throw new Error('connection reset')
      return POSTED
    })
    await replica.start({ channels: [channel] })
    const approval = await hold(replica.queue, makeCall({ principal: agent('o4') }))
    await until(3)
    expect(await untilDone(approval.id)).toEqual([{ kind: 'card', end_result: 'delivered', attempts: 3 }])
  })

  it('gives a message up only when the channel says that it never can be delivered', async () => {
    const { channel, replica, until } = open('o5', () => ({ result: 'dropped', cause: 'channel_not_found' }))
    await replica.start({ channels: [channel] })
    const approval = await hold(replica.queue, makeCall({ principal: agent('o5') }))
    await until(1)
    expect(await untilDone(approval.id)).toEqual([{ kind: 'card', end_result: 'dropped', attempts: 1 }])
  })

  it('loses nothing while no process delivers', async () => {
    const { channel, replica, openProcess, until } = open('o6', () => POSTED)
    const approval = await hold(replica.queue, makeCall({ principal: agent('o6') }))
    await replica.close()
    const next = openProcess()
    await next.start({ channels: [channel] })
    expect((await until(1))[0]?.approval.id).toBe(approval.id)
  })

  it('delivers again what a process that died had begun', async () => {
    const { channel, replica, openProcess, until } = open('o7', () => POSTED)
    const approval = await hold(replica.queue, makeCall({ principal: agent('o7') }))
    await world.store.database.query(
      `UPDATE outbox SET lease_by = 'dead', lease_until = clock_timestamp() + interval '200 ms', attempts = 1,
         is_uncertain = true WHERE approval = $1`,
      [approval.id],
    )
    await openProcess().start({ channels: [channel] })
    await until(1)
    expect(await untilDone(approval.id)).toEqual([{ kind: 'card', end_result: 'delivered', attempts: 2 }])
  })

  it('shows nobody the card of an approval that was over before it was posted', async () => {
    const { channel, replica, deliveries, until } = open('o8', () => POSTED)
    const approval = await hold(replica.queue, makeCall({ principal: agent('o8') }))
    await replica.queue.vote(ballot(approval, person('rita'), { decision: 'deny' }))
    const other = await hold(replica.queue, makeCall({ principal: agent('o8-other') }))
    await replica.start({ channels: [channel] })
    await until(1)
    expect(deliveries).toMatchObject([{ kind: 'card', approval: { id: other.id } }])
    const skipped = (kind: string) => ({ kind, end_result: 'skipped', attempts: 0 })
    expect(await untilDone(approval.id, 2)).toEqual([skipped('card'), skipped('result')])
  })

  it('delivers each message once with three processes at it', async () => {
    const { channel, deliveries, openProcess } = open('o9', () => POSTED)
    const replicas = [openProcess(), openProcess(), openProcess()]
    await Promise.all(replicas.map((replica) => replica.start({ channels: [channel] })))
    const held = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        hold((replicas[index % 3] ?? openProcess()).queue, makeCall({ principal: agent(`o9-${index}`) })),
      ),
    )
    await Promise.all(held.map((approval) => untilDone(approval.id)))
    expect(deliveries).toHaveLength(30)
    expect(new Set(deliveries.map((delivery) => delivery.approval.id)).size).toBe(30)
  })

  it('measures how late a channel is', async () => {
    const { channel, replica, until } = open('o10', () => ({ result: 'retry', afterMs: 60_000, cause: 'down' }))
    await replica.start({ channels: [channel] })
    await hold(replica.queue, makeCall({ principal: agent('o10') }))
    await until(1)
    const lag = async () => (await replica.metrics.channelLagSeconds.get()).values[0]?.value ?? 0
    while ((await lag()) === 0) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(await lag()).toBeGreaterThan(0)
  })

  it('does not let a channel that never answers keep its place', async () => {
    const { channel, openProcess, until } = open('o11', (_delivery, count) =>
      count === 1 ? new Promise<DeliveryResult>(() => {}) : POSTED,
    )
    const replica = openProcess({ deliverMs: 50 })
    await replica.start({ channels: [channel] })
    const approval = await hold(replica.queue, makeCall({ principal: agent('o11') }))
    await until(2)
    expect(await untilDone(approval.id)).toMatchObject([{ end_result: 'delivered', attempts: 2 }])
  })
})
