import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/domain/error.ts'
import type { Limit, Verdict } from '../../src/domain/verdict.ts'
import type { Database } from '../../src/platform/database.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { parseLimit } from '../../src/policy/limit.ts'
import { createUsage } from '../../src/policy/usage.ts'
import { sweepUsage } from '../../src/policy/usage-table.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'

const log = createLogger({ level: 'silent' })
const RULE = { policy: 'billing', rule: 'reads' }
const REQUIREMENT = {
  rule: RULE,
  reviewers: [{ kind: 'any' as const }],
  quorum: 1,
  expiresMs: null,
  isReasonRequired: false,
}

let store: TestDatabase
let clock: { at: number; now(): number }
beforeEach(async () => {
  store = await createTestDatabase()
  clock = { at: Date.UTC(2026, 0, 1), now: () => clock.at }
})
afterEach(() => store.close())

const replica = (database: Database = store.database) => createUsage({ database, clock, log })
const agent = randomBytes(32)
const other = randomBytes(32)

function limit(text: string, rule = RULE): Limit {
  const parsed = parseLimit(text)
  if (!parsed) throw new Error(text)
  return { rule, ...parsed, requirement: { ...REQUIREMENT, rule } }
}

function allow(...limits: readonly Limit[]): Verdict {
  return {
    effect: 'allow',
    basis: 'rule',
    rules: [RULE],
    message: null,
    requirements: [],
    limits,
    masks: [],
    maxDurationMs: null,
    policyVersion: 1,
    decidingAction: 0,
  }
}

describe('calls per window', () => {
  const three = allow(limit('3 calls per 1m'))
  const effects = async (usage: ReturnType<typeof replica>, times: number, key = agent) => {
    const seen: string[] = []
    for (let n = 0; n < times; n++) seen.push((await usage.apply(key, three)).effect)
    return seen
  }

  it('are let through up to the limit; the next is held', async () => {
    expect(await effects(replica(), 5)).toEqual(['allow', 'allow', 'allow', 'hold', 'hold'])
  })

  it('are counted for all replicas together, and for each principal alone', async () => {
    expect(await effects(replica(), 2)).toEqual(['allow', 'allow'])
    expect(await effects(replica(), 2)).toEqual(['allow', 'hold'])
    expect(await effects(replica(), 1, other)).toEqual(['allow'])
  })

  it('are never let through beyond the limit, however many come at once', async () => {
    const usages = Array.from({ length: 12 }, () => replica())
    const verdicts = await Promise.all(usages.map((usage) => usage.apply(agent, three)))
    expect(verdicts.filter((verdict) => verdict.effect === 'allow').length).toBeLessThanOrEqual(3)
  })

  it('come back as the window moves on', async () => {
    const usage = replica()
    await effects(usage, 3)
    clock.at += 59_000
    expect(await effects(usage, 1)).toEqual(['hold'])
    clock.at += 3_000
    expect(await effects(usage, 4)).toEqual(['allow', 'allow', 'allow', 'hold'])
  })

  it('that were held use nothing up', async () => {
    const usage = replica()
    await effects(usage, 10)
    const { rows } = await store.database.query<{ used: number }>(
      'SELECT sum(amount)::int AS used FROM countersign.usage',
    )
    expect(rows[0]?.used).toBe(3)
  })
})

describe('a limit that is exceeded', () => {
  it('makes the allow a hold, which asks for what its rule says', async () => {
    const usage = replica()
    const finance = {
      rule: RULE,
      reviewers: [{ kind: 'group' as const, issuerName: null, name: 'finance' }],
      quorum: 2,
      expiresMs: 60_000,
      isReasonRequired: true,
    }
    const verdict = allow({ ...limit('1 calls per 1h'), requirement: finance })
    expect(await usage.apply(agent, verdict)).toEqual(verdict)
    expect(await usage.apply(agent, verdict)).toEqual({
      ...verdict,
      effect: 'hold',
      rules: [RULE],
      message: 'The limit is used up: 1 calls per 1h.',
      requirements: [{ ...finance, message: 'The limit is used up: 1 calls per 1h.' }],
      limits: [],
    })
  })

  it('leaves holds, denies and allows without limits as they are', async () => {
    const usage = replica()
    const hold: Verdict = { ...allow(limit('1 calls per 1h')), effect: 'hold', requirements: [REQUIREMENT] }
    for (const verdict of [hold, { ...hold, effect: 'deny' as const }, allow()]) {
      expect(await usage.apply(agent, verdict)).toEqual(verdict)
      expect(await usage.apply(agent, verdict)).toEqual(verdict)
    }
  })

  it('is told for each rule once', async () => {
    const usage = replica()
    const elsewhere = { policy: 'billing', rule: 'more' }
    const verdict = allow(limit('1 calls per 1h'), limit('1 calls per 2h'), limit('1 calls per 1h', elsewhere))
    await usage.apply(agent, verdict)
    const held = await usage.apply(agent, verdict)
    expect(held.requirements.map(({ rule, message }) => [rule.rule, message])).toEqual([
      ['reads', 'The limit is used up: 1 calls per 1h, 1 calls per 2h.'],
      ['more', 'The limit is used up: 1 calls per 1h.'],
    ])
  })
})

describe('bytes', () => {
  it('of one call are cut at its limit', () => {
    const meter = replica().meter(agent, [limit('100B per call')])
    expect([meter.take(60), meter.take(40), meter.take(1)]).toEqual([true, true, false])
    meter.end()
    expect(
      replica()
        .meter(agent, [limit('100B per call')])
        .take(100),
    ).toBe(true)
  })

  it('of all calls of a process are counted together, in mid-stream', () => {
    const usage = replica()
    const one = usage.meter(agent, [limit('100B per 1h')])
    const two = usage.meter(agent, [limit('100B per 1h')])
    expect([one.take(60), two.take(40), one.take(1), two.take(0)]).toEqual([true, true, false, false])
    expect(usage.meter(other, [limit('100B per 1h')]).take(100)).toBe(true)
  })

  it('are known to other replicas once they were written', async () => {
    const [one, two] = [replica(), replica()]
    const verdict = allow(limit('100B per 1h'))
    const meter = one.meter(agent, verdict.limits)
    meter.take(100)
    await one.flush()
    expect(await two.check(agent, verdict.limits)).toEqual(verdict.limits)
    expect((await two.apply(agent, verdict)).effect).toBe('hold')
    expect(two.meter(agent, verdict.limits).take(1)).toBe(false)
  })

  it('that another replica passed on cut a stream here, after the next exchange', async () => {
    const [one, two] = [replica(), replica()]
    const limits = [limit('100B per 1h')]
    const here = one.meter(agent, limits)
    const there = two.meter(agent, limits)
    expect([here.take(60), there.take(60)]).toEqual([true, true])
    await two.flush()
    await one.flush()
    expect(here.take(1)).toBe(false)
  })

  it('are written once', async () => {
    const usage = replica()
    const meter = usage.meter(agent, [limit('100B per 1h'), limit('1KiB per 1m')])
    meter.take(30)
    await usage.flush()
    await usage.flush()
    meter.end()
    meter.end()
    await usage.stop()
    const { rows } = await store.database.query<{ window_ms: number; amount: number }>(
      'SELECT window_ms, amount FROM countersign.usage ORDER BY 1',
    )
    expect(rows).toEqual([
      { window_ms: 60_000, amount: 30 },
      { window_ms: 3_600_000, amount: 30 },
    ])
  })

  it('leave the window slice by slice', async () => {
    const usage = replica()
    const limits = [limit('100B per 1h')]
    const use = async (bytes: number) => {
      const meter = usage.meter(agent, limits)
      meter.take(bytes)
      meter.end()
      await usage.flush()
    }
    await use(60)
    clock.at += 30 * 60_000
    await use(40)
    expect(await usage.check(agent, limits)).toHaveLength(1)
    clock.at += 32 * 60_000
    expect(await usage.check(agent, limits)).toHaveLength(0)
    expect(usage.meter(agent, limits).take(61)).toBe(false)
  })
})

describe('rows', () => {
  it('are counted apart from bytes', () => {
    const meter = replica().meter(agent, [limit('10 rows per call'), limit('100B per call')])
    expect([meter.takeRows(10), meter.take(100), meter.takeRows(1), meter.take(0)]).toEqual([true, true, false, true])
  })
})

describe('a store that is down', () => {
  const down = (): Database => ({
    ...store.database,
    query: () => Promise.reject(new GatewayError('store', 'the store is down')),
  })

  it('lets nothing through that a window bounds', async () => {
    const usage = replica(down())
    await expect(usage.apply(agent, allow(limit('1 calls per 1h')))).rejects.toThrow('the store is down')
    await expect(usage.apply(agent, allow(limit('1B per 1h')))).rejects.toThrow('the store is down')
    expect((await usage.apply(agent, allow(limit('1B per call')))).effect).toBe('allow')
  })

  it('loses nothing that was counted', async () => {
    const broken = { isDown: true }
    const usage = replica({
      ...store.database,
      query: (sql, params) => (broken.isDown ? down().query(sql, params) : store.database.query(sql, params)),
    })
    const limits = [limit('100B per 1h')]
    const meter = usage.meter(agent, limits)
    meter.take(70)
    await expect(usage.flush()).rejects.toThrow('the store is down')
    expect(meter.take(31)).toBe(false)
    broken.isDown = false
    await usage.flush()
    expect(await replica().check(agent, limits)).toHaveLength(1)
  })
})

describe('what is over', () => {
  it('is swept, and no more than that', async () => {
    const usage = replica()
    await usage.apply(agent, allow(limit('5 calls per 1m'), limit('5 calls per 1h')))
    clock.at += 5 * 60_000
    expect(await sweepUsage(store.database, clock.at)).toBe(1)
    expect(await sweepUsage(store.database, clock.at)).toBe(0)
    const { rows } = await store.database.query('SELECT 1 FROM countersign.usage')
    expect(rows).toHaveLength(1)
  })
})
