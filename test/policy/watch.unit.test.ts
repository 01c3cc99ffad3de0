import { describe, expect, it, vi } from 'vitest'
import type { Exchange, Intent, Outcome, Watch } from '../../src/domain/call.ts'
import type { Principal } from '../../src/domain/principal.ts'
import type { Limit, Verdict } from '../../src/domain/verdict.ts'
import { createWatch } from '../../src/policy/watch.ts'

const principal: Principal = {
  issuer: 'https://idp.example.com',
  subject: 'agent',
  onBehalfOf: null,
  actors: [],
  owner: null,
  groups: [],
  client: null,
  expiresAt: 0,
}
// The watch reads nothing else of a call, and of an intent only its epoch.
const call = { principal, upstream: { mode: 'enforce' } } as Exchange
const intent = { epoch: 7 } as Intent
const limit = { unit: 'bytes', amount: 10, windowMs: null } as Limit

function verdictWith(change: Partial<Verdict> = {}): Verdict {
  return {
    effect: 'allow',
    basis: 'rule',
    rules: [],
    message: null,
    requirements: [],
    limits: [],
    masks: [],
    maxDurationMs: null,
    policyVersion: 1,
    decidingAction: 0,
    ...change,
  }
}

function world(
  change: {
    isCaughtUp?: boolean
    isSuspended?: boolean
    heldBy?: readonly string[]
    now?: number
    sessionMaxMs?: number
  } = {},
) {
  let cut: (reason: 'suspended' | 'store_unreadable') => void = () => undefined
  const unwatch = vi.fn()
  const end = vi.fn()
  const underWatch = createWatch({
    suspensions: {
      isSuspended: () => change.isSuspended ?? false,
      heldBy: () => change.heldBy ?? [],
      caughtUpTo: async (epoch) => epoch === 7 && (change.isCaughtUp ?? true),
      watch(_principal, onCut) {
        cut = onCut
        return unwatch
      },
    },
    usage: { meter: () => ({ take: (bytes) => bytes <= 10, takeRows: (rows) => rows <= 3, end }) },
    clock: { monotonic: () => change.now ?? 0 },
    sessionMaxMs: change.sessionMaxMs ?? 60_000,
  })
  return { underWatch, unwatch, end, cut: (reason: Parameters<typeof cut>[0]) => cut(reason) }
}

const forwarded: Outcome = { name: 'forwarded' }
const untilStopped = ({ signal }: { signal: AbortSignal }) =>
  new Promise<Outcome>((resolve) => {
    signal.addEventListener('abort', () => resolve({ name: 'cut', refusal: signal.reason }), { once: true })
  })

describe('underWatch', () => {
  it('begins the work, and ends the watch with it', async () => {
    const { underWatch, unwatch } = world()
    expect(await underWatch(call, { intent, verdict: verdictWith(), startBy: null }, async () => forwarded)).toBe(
      forwarded,
    )
    expect(unwatch).toHaveBeenCalledOnce()
  })

  it.each([
    ['suspensions cannot be read up to the intent', { isCaughtUp: false }, null, 'unavailable'],
    ['the agent was suspended after it was judged', { isSuspended: true }, null, 'suspended'],
    ['a breaker has tripped after it was allowed', { heldBy: ['guard/probing'] }, null, 'unavailable'],
    ['too much time went by since the spend', { now: 2000 }, 2000, 'unavailable'],
  ])('begins nothing where %s', async (_case, change, startBy, code) => {
    const work = vi.fn(async () => forwarded)
    const outcome = await world(change).underWatch(call, { intent, verdict: verdictWith(), startBy }, work)
    expect(outcome).toMatchObject({ refused: true, code })
    expect(work).not.toHaveBeenCalled()
  })

  it.each([
    ['people approved it', {}, { effect: 'allow' }, 1000],
    ['it was held', {}, { effect: 'hold' }, null],
    ['the gateway only watches', { mode: 'observe' }, { effect: 'allow' }, null],
  ] as const)(
    'begins what a breaker that has tripped since does not stop: %s',
    async (_why, more, verdict, startBy) => {
      const { underWatch } = world({ heldBy: ['guard/probing'] })
      const watched = { ...call, upstream: { ...call.upstream, ...more } }
      const terms = { intent, verdict: verdictWith(verdict), startBy }
      expect(await underWatch(watched, terms, async () => forwarded)).toBe(forwarded)
    },
  )

  it('begins just before the time after a spend is over', async () => {
    const { underWatch } = world({ now: 1999 })
    expect(await underWatch(call, { intent, verdict: verdictWith(), startBy: 2000 }, async () => forwarded)).toBe(
      forwarded,
    )
  })

  it.each([
    ['suspended', 'suspended'],
    ['store_unreadable', 'unavailable'],
  ] as const)('cuts what is under way: %s', async (reason, code) => {
    const { underWatch, cut } = world()
    const outcome = underWatch(call, { intent, verdict: verdictWith(), startBy: null }, (watch) => {
      queueMicrotask(() => cut(reason))
      return untilStopped(watch)
    })
    expect(await outcome).toMatchObject({ name: 'cut', refusal: { code } })
  })

  it.each([
    ['a rule', { maxDurationMs: 5 }, {}],
    ['the configuration', {}, { sessionMaxMs: 5 }],
    ['the configuration, where a rule allows longer', { maxDurationMs: 60_000 }, { sessionMaxMs: 5 }],
  ])('cuts what lasts longer than %s allows', async (_case, verdict, change) => {
    const outcome = world(change).underWatch(
      call,
      { intent, verdict: verdictWith(verdict), startBy: null },
      untilStopped,
    )
    expect(await outcome).toMatchObject({ name: 'cut', refusal: { code: 'expired' } })
  })

  it('ends nothing for a limit or a duration of a rule where the gateway only watches', async () => {
    const { underWatch, end } = world()
    const watched = { principal, upstream: { mode: 'observe' } } as Exchange
    const verdict = verdictWith({ limits: [limit], maxDurationMs: 1 })
    const outcome = await underWatch(watched, { intent, verdict, startBy: null }, async (watch) => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      return { name: watch.signal.aborted || !watch.spendBytes(11) || !watch.spendRows(4) ? 'cut' : 'forwarded' }
    })
    expect(outcome).toEqual({ name: 'forwarded' })
    expect(end).not.toHaveBeenCalled()
  })

  it('meters bytes and rows only where a rule limits them, and hands the count over at the end', async () => {
    const { underWatch, end } = world()
    const taken: boolean[] = []
    const work = async ({ spendBytes, spendRows }: Watch) => {
      taken.push(spendBytes(11), spendRows(4), spendRows(3))
      return forwarded
    }
    await underWatch(call, { intent, verdict: verdictWith(), startBy: null }, work)
    expect(end).not.toHaveBeenCalled()
    await underWatch(call, { intent, verdict: verdictWith({ limits: [limit] }), startBy: null }, work)
    expect(taken).toEqual([true, true, true, false, false, true])
    expect(end).toHaveBeenCalledOnce()
  })
})
