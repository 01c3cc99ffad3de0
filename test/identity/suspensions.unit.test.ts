import { describe, expect, it, onTestFinished } from 'vitest'
import { GatewayError } from '../../src/domain/error.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { createSuspensions } from '../../src/identity/suspensions.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { silentLog } from './parts.ts'

const issuer = 'https://idp.example.com'
const agent: Principal = {
  issuer,
  subject: 'agent',
  onBehalfOf: { issuer, subject: 'alice' },
  actors: [{ issuer, subject: 'agent-0' }],
  owner: { issuer, subject: 'olivia' },
  groups: [],
  client: null,
  expiresAt: 0,
}

/** A store in memory, which can fail, hang, and be asked how often it was read. */
function makeStore() {
  const store = {
    epoch: 0,
    parties: [] as [string, string][],
    holds: [] as [string, string, string][],
    /** Whether its schema knows of breakers. */
    knowsBreakers: true,
    mode: 'up' as 'up' | 'down' | 'hang',
    reads: 0,
    hear: (_payload: string) => {},
    hold(subject: string, breaker: string) {
      store.holds.push([issuer, subject, breaker])
      store.epoch += 1
    },
    suspend(...subjects: string[]) {
      store.parties = subjects.map((subject) => [issuer, subject])
      store.epoch += 1
    },
    database: {
      async query<Row extends object>(sql: string, params: readonly unknown[] = []) {
        if (sql.includes('migration')) return { rows: [{ version: store.knowsBreakers ? 11 : 10 } as Row], rowCount: 1 }
        store.reads += 1
        const asksForHolds = sql.includes('breaker_hold')
        if (asksForHolds && !store.knowsBreakers) throw new Error('there is no table breaker_hold')
        if (store.mode === 'down') throw new GatewayError('store', 'down')
        if (store.mode === 'hang') await new Promise(() => {})
        const parties = params[0] === store.epoch ? null : store.parties
        // The row that the one statement of this module selects.
        const holds = asksForHolds && parties ? store.holds : null
        const row = { epoch: store.epoch, parties, holds }
        return { rows: [row as unknown as Row], rowCount: 1 }
      },
      async listen(_channel: string, hear: (payload: string) => void) {
        store.hear = hear
      },
    },
  }
  return store
}

const timing = { idleMs: 60_000, watchedMs: 5, blindMs: 40 }

async function follow(store: ReturnType<typeof makeStore>, change: Partial<typeof timing> = {}) {
  const suspensions = createSuspensions({
    database: store.database,
    clock: systemClock,
    log: silentLog,
    timing: { ...timing, ...change },
  })
  await suspensions.start()
  onTestFinished(() => suspensions.stop())
  return suspensions
}

describe('heldBy', () => {
  it('names the breakers that hold anyone on the calling side but the owner, in order, each once', async () => {
    const store = makeStore()
    expect((await follow(store)).heldBy(agent)).toEqual([])
    store.hold('olivia', 'guard/a')
    expect((await follow(store)).heldBy(agent)).toEqual([])
    store.hold('agent-0', 'guard/z')
    store.hold('agent', 'guard/b')
    store.hold('agent', 'guard/z')
    const suspensions = await follow(store)
    expect(suspensions.heldBy(agent)).toEqual(['guard/b', 'guard/z'])
    expect(suspensions.isSuspended(agent)).toBe(false)
  })

  it('is read up to the epoch of an append', async () => {
    const store = makeStore()
    const suspensions = await follow(store)
    store.hold('agent', 'guard/b')
    expect(await suspensions.caughtUpTo(store.epoch)).toBe(true)
    expect(suspensions.heldBy(agent)).toEqual(['guard/b'])
    store.holds = []
    store.epoch += 1
    await suspensions.caughtUpTo(store.epoch)
    expect(suspensions.heldBy(agent)).toEqual([])
  })

  it('is nobody with the schema of the release before, until the store is migrated', async () => {
    const store = makeStore()
    store.knowsBreakers = false
    store.suspend('alice')
    const suspensions = await follow(store)
    expect([suspensions.isSuspended(agent), suspensions.heldBy(agent)]).toEqual([true, []])
    store.knowsBreakers = true
    store.hold('agent', 'guard/b')
    await suspensions.caughtUpTo(store.epoch)
    expect(suspensions.heldBy(agent)).toEqual(['guard/b'])
  })
})

describe('isSuspended', () => {
  it.each([['agent'], ['alice'], ['agent-0']])('is true when %s is stopped', async (subject) => {
    const store = makeStore()
    store.suspend(subject)
    expect((await follow(store)).isSuspended(agent)).toBe(true)
  })

  it('is false when only the owner is stopped, or nobody', async () => {
    const store = makeStore()
    store.suspend('olivia', 'someone')
    expect((await follow(store)).isSuspended(agent)).toBe(false)
    expect((await follow(makeStore())).isSuspended(agent)).toBe(false)
  })

  it('is false for the same subject of another issuer', async () => {
    const store = makeStore()
    store.suspend('agent')
    const other = { ...agent, issuer: 'https://other', onBehalfOf: null, actors: [] }
    expect((await follow(store)).isSuspended(other)).toBe(false)
  })

  it('is true for everybody before the first look, and a store that is down stops a start', async () => {
    const store = makeStore()
    store.mode = 'down'
    const suspensions = createSuspensions({ database: store.database, clock: systemClock, log: silentLog })
    await expect(suspensions.start()).rejects.toMatchObject({ code: 'store' })
    expect(suspensions.isSuspended(agent)).toBe(true)
    suspensions.stop()
  })
})

describe('caughtUpTo', () => {
  it('looks again for a newer epoch only', async () => {
    const store = makeStore()
    const suspensions = await follow(store)
    const { reads } = store
    expect([await suspensions.caughtUpTo(0), store.reads]).toEqual([true, reads])
    store.suspend('agent')
    expect(suspensions.isSuspended(agent)).toBe(false)
    expect(await suspensions.caughtUpTo(1)).toBe(true)
    expect(suspensions.isSuspended(agent)).toBe(true)
    store.suspend()
    expect(await suspensions.caughtUpTo(2)).toBe(true)
    expect(suspensions.isSuspended(agent)).toBe(false)
  })

  it('does not take a look that began before for one that knows', async () => {
    const store = makeStore()
    const suspensions = await follow(store)
    store.hear('forged')
    const early = suspensions.caughtUpTo(1)
    store.suspend('agent')
    expect(await early).toBe(true)
    expect(suspensions.isSuspended(agent)).toBe(true)
  })

  it.each(['down', 'hang'] as const)('is false when the store is %s', async (mode) => {
    const store = makeStore()
    const suspensions = await follow(store)
    store.mode = mode
    expect(await suspensions.caughtUpTo(1)).toBe(false)
    store.mode = 'up'
    store.suspend()
    await expect.poll(() => suspensions.caughtUpTo(1)).toBe(true)
  })

  it('is false when the store has not seen the epoch either', async () => {
    expect(await (await follow(makeStore())).caughtUpTo(5)).toBe(false)
  })
})

describe('watch', () => {
  it('cuts once somebody on the calling side is stopped', async () => {
    const store = makeStore()
    const suspensions = await follow(store)
    const cuts: string[] = []
    suspensions.watch(agent, (reason) => cuts.push(reason))
    store.suspend('someone')
    await expect.poll(() => store.reads, { interval: 2 }).toBeGreaterThan(3)
    expect(cuts).toEqual([])
    store.suspend('alice')
    await expect.poll(() => cuts, { interval: 2 }).toEqual(['suspended'])
    store.suspend('alice', 'agent')
    await suspensions.caughtUpTo(3)
    expect(cuts).toEqual(['suspended'])
  })

  it('cuts at once who is stopped already', async () => {
    const store = makeStore()
    store.suspend('agent')
    const suspensions = await follow(store)
    const reason = await new Promise((resolve) => suspensions.watch(agent, resolve))
    expect(reason).toBe('suspended')
  })

  it.each(['down', 'hang'] as const)('cuts when the store was %s for too long', async (mode) => {
    const store = makeStore()
    const suspensions = await follow(store)
    store.mode = mode
    const startedAt = performance.now()
    const reason = await new Promise((resolve) => suspensions.watch(agent, resolve))
    expect(reason).toBe('store_unreadable')
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(timing.blindMs)
  })

  it('does not cut for a store that is down for a moment', async () => {
    const store = makeStore()
    const suspensions = await follow(store, { blindMs: 2_000 })
    const cuts: string[] = []
    suspensions.watch(agent, (reason) => cuts.push(reason))
    store.mode = 'down'
    const failed = store.reads
    await expect.poll(() => store.reads, { interval: 2 }).toBeGreaterThan(failed + 3)
    store.mode = 'up'
    const back = store.reads
    await expect.poll(() => store.reads, { interval: 2 }).toBeGreaterThan(back + 3)
    expect(cuts).toEqual([])
  })

  it('is over when it is ended', async () => {
    const store = makeStore()
    const suspensions = await follow(store)
    const cuts: string[] = []
    suspensions.watch(agent, (reason) => cuts.push(reason))()
    store.suspend('agent')
    await suspensions.caughtUpTo(1)
    expect(cuts).toEqual([])
  })

  it('looks on a hint, but not as often as forged ones come', async () => {
    const store = makeStore()
    const suspensions = await follow(store)
    await new Promise((resolve) => setTimeout(resolve, 60))
    const before = store.reads
    store.suspend('agent')
    for (let n = 0; n < 1000; n++) store.hear('')
    await expect.poll(() => suspensions.isSuspended(agent)).toBe(true)
    expect(store.reads - before).toBe(1)
  })
})
