import { setImmediate as soon } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { openLane } from '../../src/approvals/lane.ts'
import type { Database } from '../../src/platform/database.ts'

describe('a lane to the store', () => {
  function fake(work: (sql: string) => Promise<void>): Database {
    return {
      async query(sql: string) {
        await work(sql)
        return { rows: [], rowCount: 0 }
      },
      transaction: (inner) => inner({ query: async () => ({ rows: [], rowCount: 0 }) }),
      listen: async () => {},
      dedicated: () => Promise.reject(new Error('not here')),
      isReachable: async () => true,
      close: async () => {},
    }
  }

  it('lets so many through at once, and the others in order', async () => {
    let under = 0
    let most = 0
    const order: string[] = []
    const lane = openLane(
      fake(async (sql) => {
        under += 1
        most = Math.max(most, under)
        order.push(sql)
        await soon()
        under -= 1
      }),
      { atOnce: 3 },
    )
    const names = Array.from({ length: 5000 }, (_, index) => `${index}`)
    await Promise.all(names.map((name) => lane.query(name)))
    expect(most).toBe(3)
    expect(order).toEqual(names)
  })

  it('goes on after what failed', async () => {
    const lane = openLane(
      fake(async (sql) => {
        if (sql === 'bad') throw new Error('bad')
      }),
      { atOnce: 1 },
    )
    const results = await Promise.allSettled(['bad', 'good', 'bad', 'good'].map((sql) => lane.query(sql)))
    expect(results.map((result) => result.status)).toEqual(['rejected', 'fulfilled', 'rejected', 'fulfilled'])
    expect(await lane.transaction(async () => 'done')).toBe('done')
  })

  it('refuses at once when more wait than ever should', async () => {
    const lane = openLane(
      fake(() => new Promise(() => {})),
      { atOnce: 1 },
    )
    for (let index = 0; index <= 50_000; index++) void lane.query('waits')
    await expect(lane.query('one more')).rejects.toThrow('too much waits')
  })
})
