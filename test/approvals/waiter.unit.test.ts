import { setTimeout as sleep, setImmediate as soon } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { createWaiter, type Glimpse, type Waiter } from '../../src/approvals/waiter.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { log } from './parts.ts'

const never = new AbortController().signal
const isDecided = (glimpse: Glimpse) => glimpse.state !== 'pending'

describe('a waiter', () => {
  let waiter: Waiter
  afterEach(() => waiter.stop())

  function open(look: (ids: readonly string[]) => Promise<readonly Glimpse[]>, pollMs = 60_000): Waiter {
    waiter = createWaiter({ look, expire: async () => {}, clock: systemClock, log, pollMs })
    return waiter
  }

  function pending(ids: readonly string[]): Glimpse[] {
    return ids.map((id) => ({ id, state: 'pending', isOverdue: false, hasOutcome: false, asked: 0, told: 0 }))
  }

  it('reads ten thousand approvals in batches, one at a time, with one timer for all', async () => {
    let looks = 0
    let atOnce = 0
    const draining = new AbortController()
    open(async (ids) => {
      looks += 1
      atOnce += 1
      expect(atOnce).toBe(1)
      expect(ids.length).toBeLessThanOrEqual(1000)
      await soon()
      atOnce -= 1
      if (looks === 10) setImmediate(() => draining.abort())
      return pending(ids)
    })
    const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const waits = Array.from({ length: 10_000 }, (_, index) =>
      waiter.wait(`a${index}`, {
        waitMs: 20_000,
        gone: new AbortController().signal,
        draining: draining.signal,
        isReached: isDecided,
      }),
    )
    expect(waiter.waiting).toBe(10_000)
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length - before).toBeLessThanOrEqual(2)
    expect(new Set(await Promise.all(waits))).toEqual(new Set(['draining']))
    expect(looks).toBe(10)
    expect(waiter.waiting).toBe(0)
  })

  it('ignores hints for what nobody waits for, and answers many hints with one look', async () => {
    let looks = 0
    open(async (ids) => {
      looks += 1
      return pending(ids)
    })
    for (let index = 0; index < 1000; index++) waiter.hear(`forged-${index}`)
    const wait = waiter.wait('a', { waitMs: 100, gone: never, draining: never, isReached: isDecided })
    for (let index = 0; index < 1000; index++) waiter.hear('a')
    expect(await wait).toBe('timed_out')
    expect(looks).toBeLessThanOrEqual(2)
  })

  it('believes no hint: it looks', async () => {
    let state: Glimpse['state'] = 'pending'
    open(async (ids) => ids.map((id) => ({ id, state, isOverdue: false, hasOutcome: false, asked: 0, told: 0 })))
    let isOver = false
    const wait = waiter
      .wait('a', { waitMs: 10_000, gone: never, draining: never, isReached: isDecided })
      .then((waited) => {
        isOver = true
        return waited
      })
    waiter.hear('a')
    await soon()
    await soon()
    expect(isOver).toBe(false)
    state = 'approved'
    waiter.hear('a')
    expect(await wait).toBe('reached')
  })

  it('goes on waiting when the store cannot be read, and looks again', async () => {
    let looks = 0
    open(async (ids) => {
      looks += 1
      if (looks < 3) throw new Error('the store is down')
      return ids.map((id) => ({ id, state: 'approved', isOverdue: false, hasOutcome: false, asked: 0, told: 0 }))
    }, 5)
    expect(await waiter.wait('a', { waitMs: 10_000, gone: never, draining: never, isReached: isDecided })).toBe(
      'reached',
    )
  })

  it('does not begin for a client that has left, or in a process that drains', async () => {
    open(async (ids) => pending(ids))
    const aborted = AbortSignal.abort()
    expect(await waiter.wait('a', { waitMs: 1000, gone: aborted, draining: never, isReached: isDecided })).toBe('gone')
    expect(await waiter.wait('a', { waitMs: 1000, gone: never, draining: aborted, isReached: isDecided })).toBe(
      'draining',
    )
  })

  it('meets each deadline, also one that comes after a later one', async () => {
    open(async (ids) => pending(ids))
    const order: string[] = []
    const begin = (id: string, waitMs: number) =>
      waiter.wait(id, { waitMs, gone: never, draining: never, isReached: isDecided }).then(() => order.push(id))
    await Promise.all([begin('late', 120), begin('soon', 10), begin('middle', 60)])
    expect(order).toEqual(['soon', 'middle', 'late'])
  })

  it('keeps little for each one who waits', async () => {
    open(async (ids) => pending(ids))
    const gone = Array.from({ length: 10_000 }, () => new AbortController().signal)
    await sleep(10)
    globalThis.gc?.()
    const before = process.memoryUsage().heapUsed
    const waits = gone.map((signal, index) =>
      waiter.wait(`a${index}`, { waitMs: 200, gone: signal, draining: never, isReached: isDecided }),
    )
    globalThis.gc?.()
    const each = (process.memoryUsage().heapUsed - before) / gone.length
    await Promise.all(waits)
    expect(each).toBeLessThan(4 * 1024)
  })
})
