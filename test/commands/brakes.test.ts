import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startBrakes } from '../../src/commands/brakes.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Exchange, Outcome } from '../../src/domain/call.ts'
import { GatewayError } from '../../src/domain/error.ts'
import type { Judged } from '../../src/domain/judged.ts'
import { type Code, refuse } from '../../src/domain/refusal.ts'
import { createSuspensions } from '../../src/identity/suspensions.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createMetrics } from '../../src/platform/metrics.ts'
import { ACTIONS, agent, judged, makeCall, verdict } from '../approvals/parts.ts'
import { openWorld, type World } from '../approvals/world.ts'
import { log } from '../audit/world.ts'
import { setOf } from '../policy/world.ts'

const POLICY = `
name: guard
rules:
  - { name: all, effect: allow }
breakers:
  - { name: calls, counts: calls, more_than: 2, within: 1m, then: suspend }
  - { name: denials, counts: denials, more_than: 2, within: 1m, then: suspend }
  - { name: gets, verbs: [GET], counts: denials, more_than: 100, within: 1m, then: suspend }
  - { name: paths, resources: ["/**"], counts: denials, more_than: 100, within: 1m, then: suspend }
  - { name: holds, counts: holds, more_than: 1, within: 1m, then: suspend }
`
const HEADLESS: Pick<Judged, 'verdict' | 'actions'> = { verdict: null, actions: null }

let world: World
let undo: AsyncDisposableStack
beforeEach(async () => {
  world = await openWorld()
  undo = new AsyncDisposableStack()
})
afterEach(async () => {
  await undo.disposeAsync()
  await world.close()
})

/** The brakes of one gateway, on a store that fails to count while `isFailing`. */
async function brakes(policy = POLICY) {
  const store = { isFailing: false, error: new GatewayError('store', 'the store is away') as Error }
  const set = { ...setOf(policy), version: 1 }
  const { database: real } = world.store
  const database: typeof real = {
    ...real,
    async query(sql, params) {
      if (store.isFailing && sql.includes('breaker_count')) throw store.error
      return real.query(sql, params)
    },
  }
  const suspensions = createSuspensions({ database, clock: systemClock, log })
  await suspensions.start()
  undo.defer(() => suspensions.stop())
  const { queue } = world.openReplica({ options: { open_per_principal: 1000 } })
  const ground = { database, keys: world.keys, dataDir: '', clock: systemClock, log, metrics: createMetrics(), undo }
  const started = startBrakes(ground, {
    audit: world.audit,
    suspensions,
    policies: { active: () => set },
    judge: async () => judged(),
    queue: () => queue,
  })
  return { ...started, suspensions, store, queue }
}

async function counted(breaker: string): Promise<number> {
  const { rows } = await world.store.database.query<{ total: number }>(
    `SELECT coalesce(sum(amount), 0)::int AS total FROM breaker_count, unnest(amounts) AS a (amount) WHERE breaker = $1`,
    [`guard/${breaker}`],
  )
  return rows[0]?.total ?? 0
}

function unreadable(code: Code, more: Pick<Judged, 'verdict' | 'actions'> = { verdict: null, actions: ACTIONS }) {
  return { ...more, effect: 'deny', refusal: refuse(code, 'Not executed.') } as Judged
}

function outcome(code: Code, name: Outcome['name'] = 'refused'): Outcome {
  return { name, refusal: refuse(code, 'Not executed.') }
}

describe('a call that cannot be read', () => {
  it.each(['malformed', 'unreadable', 'too_large'] as const)('is a denial: %s', async (code) => {
    const { count } = await brakes()
    expect(await count(makeCall(), unreadable(code))).toMatchObject({ effect: 'deny', refusal: { code } })
    expect([await counted('calls'), await counted('denials'), await counted('paths')]).toEqual([1, 1, 1])
    expect(await counted('gets')).toBe(0)
  })

  it.each(['unavailable', 'rate_limited'] as const)('is no denial where it is not to blame: %s', async (code) => {
    const { count } = await brakes()
    await count(makeCall(), unreadable(code))
    expect([await counted('calls'), await counted('denials')]).toEqual([1, 0])
  })

  it('counts for breakers that look at everything where not even its head could be read', async () => {
    const { count, suspensions } = await brakes()
    const principal = agent('headless')
    for (let n = 0; n < 2; n++) await count(makeCall({ principal }), unreadable('malformed', HEADLESS))
    expect([await counted('calls'), await counted('denials')]).toEqual([2, 2])
    expect([await counted('gets'), await counted('paths')]).toEqual([0, 0])
    await count(makeCall({ principal }), unreadable('malformed', HEADLESS))
    expect(suspensions.isSuspended(principal)).toBe(true)
    // By now it is stopped, and nothing of it counts.
    await count(makeCall({ principal }), unreadable('malformed', HEADLESS))
    expect(await counted('calls')).toBe(3)
  })

  it('counts for nothing where the gateway only watches', async () => {
    const { count, onEnded } = await brakes()
    const call: Exchange = { ...makeCall(), upstream: { ...makeCall().upstream, mode: 'observe' } }
    await count(call, unreadable('malformed', HEADLESS))
    await onEnded(call, judged(), outcome('too_large'))
    expect([await counted('calls'), await counted('denials')]).toEqual([0, 0])
  })

  it('is a denial also where that was found after it was judged, and never twice', async () => {
    const { onEnded, suspensions } = await brakes()
    await onEnded(makeCall(), unreadable('too_large'), outcome('too_large'))
    expect(await counted('denials')).toBe(0)
    for (const code of ['approval_pending', 'unavailable'] as const) await onEnded(makeCall(), judged(), outcome(code))
    await onEnded(makeCall(), judged(), outcome('too_large', 'cut'))
    await onEnded(makeCall(), judged(), { name: 'forwarded', status: 200 })
    expect(await counted('denials')).toBe(0)
    for (const code of ['too_large', 'unreadable', 'malformed'] as const) {
      expect(suspensions.isSuspended(agent())).toBe(false)
      await onEnded(makeCall(), judged(), outcome(code))
    }
    expect(suspensions.isSuspended(agent())).toBe(true)
  })
})

describe('what could not be counted when it had happened', () => {
  const HOLDS = POLICY.replace('more_than: 2, within: 1m', 'more_than: 100, within: 1m')

  it('is counted before the next call is let through: an approval that was opened', async () => {
    const { count, hold, store, suspensions } = await brakes(HOLDS)
    const calls = ['one', 'two'].map((what) => makeCall({ what }))
    store.isFailing = true
    for (const call of calls) {
      await expect(hold(call, judged(), call.sealed)).rejects.toThrow('the store is away')
    }
    expect(await count(makeCall(), judged(verdict([])))).toMatchObject({ refusal: { code: 'unavailable' } })
    expect(await counted('holds')).toBe(0)
    store.isFailing = false
    expect(suspensions.isSuspended(agent())).toBe(false)
    await count(makeCall({ principal: agent('another') }), judged(verdict([])))
    expect(await counted('holds')).toBe(2)
    expect(suspensions.isSuspended(agent())).toBe(true)
    await count(makeCall({ principal: agent('another') }), judged(verdict([])))
    expect(await counted('holds')).toBe(2)
  })

  it('is given up where that is a fault, so that nobody waits for it for ever', async () => {
    const { count, hold, store } = await brakes(HOLDS)
    const call = makeCall()
    Object.assign(store, { isFailing: true, error: new Error('a fault') })
    await expect(hold(call, judged(), call.sealed)).rejects.toThrow('a fault')
    store.isFailing = false
    await count(makeCall(), judged(verdict([])))
    expect([await counted('calls'), await counted('holds')]).toEqual([1, 0])
  })

  it('is counted before the next call is let through: what reviewers denied', async () => {
    const { count, onDenied, store, queue } = await brakes()
    const call = makeCall()
    const approval = (await queue.hold(call, judged(), call.sealed)) as Approval
    store.isFailing = true
    await expect(onDenied(approval)).rejects.toThrow('the store is away')
    store.isFailing = false
    await count(makeCall({ principal: agent('another') }), judged(verdict([])))
    expect(await counted('denials')).toBe(1)
  })
})
