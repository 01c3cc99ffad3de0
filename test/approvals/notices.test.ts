import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Notice, NoticeResult, RunningChannel } from '../../src/domain/channel.ts'
import { openWorld, type World } from './world.ts'

const NOTICE: Notice = {
  agent: { issuer: 'https://idp.example.com', subject: 'agent-7' },
  breaker: 'guard/deletions',
  effect: 'suspend',
  why: 'more than 3 calls within 1m',
  at: 1_760_000_000_000,
}

let world: World
beforeAll(async () => {
  world = await openWorld()
})
afterAll(() => world.close())

/** A channel of that name, and what it is told. */
function open(name: string, answer: (count: number) => Promise<NoticeResult> | NoticeResult) {
  const told: Notice[] = []
  const channel: RunningChannel = {
    name,
    deliver: async () => ({ result: 'dropped', cause: 'it is not asked' }),
    async tell(notice) {
      told.push(notice)
      return answer(told.length)
    },
    async stop() {},
  }
  return { channel, told, replica: world.openReplica({ channels: [name] }) }
}

const owe = ({ queue, database }: ReturnType<typeof open>['replica'], notice = NOTICE) =>
  database.transaction((tx) => queue.oweNotice(tx, notice))

const left = async (channel: string) =>
  (await world.store.database.query('SELECT attempts FROM countersign.notice WHERE channel = $1', [channel])).rows

describe('a notice', () => {
  it('is told to its channel, and forgotten', async () => {
    const { channel, told, replica } = open('one', () => ({ result: 'delivered' }))
    await owe(replica)
    await replica.start({ channels: [channel] })
    await expect.poll(() => told).toEqual([NOTICE])
    await expect.poll(() => left('one')).toEqual([])
  })

  it('is told once by two gateways, and those that come later as well', async () => {
    const { channel, told, replica } = open('two', () => ({ result: 'delivered' }))
    const other = world.openReplica({ channels: ['two'] })
    await Promise.all([replica.start({ channels: [channel] }), other.start({ channels: [channel] })])
    for (const why of ['a', 'b', 'c']) await owe(replica, { ...NOTICE, why })
    await expect.poll(() => left('two'), { timeout: 5_000 }).toEqual([])
    expect(told.map(({ why }) => why).sort()).toEqual(['a', 'b', 'c'])
  })

  it('is told again where the channel asks for that, or fails', async () => {
    const { channel, told, replica } = open('three', (count) => {
      if (count === 1) return { result: 'retry', afterMs: 10, cause: 'it is busy' }
      if (count === 2) throw new Error('a fault')
      return { result: 'delivered' }
    })
    await owe(replica)
    await replica.start({ channels: [channel] })
    await expect.poll(() => left('three'), { timeout: 15_000 }).toEqual([])
    expect(told).toHaveLength(3)
  })

  it('is not told if nothing came of it', async () => {
    const { replica } = open('four', () => ({ result: 'delivered' }))
    const undone = replica.database.transaction(async (tx) => {
      await replica.queue.oweNotice(tx, NOTICE)
      throw new Error('nothing came of it')
    })
    await expect(undone).rejects.toThrow('nothing came of it')
    expect(await left('four')).toEqual([])
  })

  it('that somebody else wrote, altered, or meant for another channel is dropped', async () => {
    const { channel, told, replica } = open('five', () => ({ result: 'delivered' }))
    await owe(replica)
    await owe(world.openReplica({ channels: ['six'] }))
    await world.asSuperuser(
      `INSERT INTO countersign.notice (channel, body, kid, mac)
       SELECT channel, replace(body, 'agent-7', 'agent-8'), kid, mac FROM countersign.notice WHERE channel = 'five'
       UNION ALL SELECT 'five', body, kid, mac FROM (SELECT * FROM countersign.notice WHERE channel = 'six') other`,
    )
    await replica.start({ channels: [channel] })
    await expect.poll(() => left('five'), { timeout: 5_000 }).toEqual([])
    expect(told).toEqual([NOTICE])
  })

  it('that no channel took for a day is given up', async () => {
    const { channel, told, replica } = open('seven', () => ({ result: 'retry', afterMs: 1, cause: 'down' }))
    await owe(replica)
    await world.asSuperuser(
      `UPDATE countersign.notice SET created_at = now() - interval '25 hours' WHERE channel = 'seven'`,
    )
    await replica.start({ channels: [channel] })
    await expect.poll(() => left('seven'), { timeout: 5_000 }).toEqual([])
    expect(told).toEqual([])
  })
})
