import { formatDuration } from '../domain/units.ts'
import { formatRule, type Limit, type Requirement, type Verdict } from '../domain/verdict.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database } from '../platform/database.ts'
import type { Logger } from '../platform/logger.ts'
import { addUsage, sumUsage, sweepUsage, type Window } from './usage-table.ts'

const FLUSH_MS = 1000
const SWEEP_MS = 60_000
/** Windows that are remembered while nobody uses them. */
const MOST_IDLE = 10_000

/** Counts what one call uses up. */
export interface Meter {
  /** Takes response bytes; false once a limit is exceeded, and the stream has to end. */
  take(bytes: number): boolean
  /** Takes rows; false once a limit is exceeded. */
  takeRows(rows: number): boolean
  /** Hands over what was counted. To be called once, whatever became of the call. */
  end(): void
}

export interface Usage {
  /**
   * The verdict, or a hold in its place if one of its limits is known to be exceeded. An allow that stays one has used
   * up one of its calls; a hold has not. Throws `GatewayError('store')`: the caller refuses then.
   */
  apply(principalKey: Buffer, verdict: Verdict): Promise<Verdict>
  /** Which of these limits are known to be exceeded, by what all replicas told the store. Uses nothing up. */
  check(principalKey: Buffer, limits: readonly Limit[]): Promise<readonly Limit[]>
  /** Counts a call that goes on: against its own limits, and in windows that all calls of this process share. */
  meter(principalKey: Buffer, limits: readonly Limit[]): Meter
  /** Writes to the store what was counted since the last time. */
  flush(): Promise<void>
  start(): void
  stop(): Promise<void>
}

interface Counter {
  readonly window: Window
  /** What the store said, all replicas together. */
  stored: number
  /** Counted here, and not in the store yet. */
  pending: number
  meters: number
}

/** Limits per call and per window. Bytes are counted in memory and shared through the store every second. */
export function createUsage(parts: { database: Database; clock: Pick<Clock, 'now'>; log: Logger }): Usage {
  const { database, clock, log } = parts
  // In order of their last use.
  const counters = new Map<string, Counter>()
  let timers: NodeJS.Timeout[] = []
  let flushing: Promise<void> | null = null

  function obtain(window: Window): Counter {
    const key = `${window.principalKey.toString('hex')} ${window.unit} ${window.windowMs} ${window.rule}`
    const counter = counters.get(key) ?? { window, stored: 0, pending: 0, meters: 0 }
    counters.delete(key)
    counters.set(key, counter)
    return counter
  }

  function forgetIdle(): void {
    for (const [key, { meters, pending }] of counters) {
      if (counters.size <= MOST_IDLE) return
      if (meters === 0 && pending === 0) counters.delete(key)
    }
  }

  async function look(windowed: readonly Counter[]): Promise<void> {
    const sums = await sumUsage(
      database,
      windowed.map(({ window }) => window),
      clock.now(),
    )
    for (const [index, counter] of windowed.entries()) counter.stored = sums[index] ?? counter.stored
  }

  async function check(principalKey: Buffer, limits: readonly Limit[]): Promise<readonly Limit[]> {
    const windowed = limits.flatMap((limit) => {
      const window = windowOf(principalKey, limit)
      return window ? [{ limit, counter: obtain(window) }] : []
    })
    if (windowed.length === 0) return []
    await look(windowed.map(({ counter }) => counter))
    return windowed.filter(({ limit, counter }) => usedBy(counter) >= limit.amount).map(({ limit }) => limit)
  }

  /** Uses one call up in each window, or in none. Two replicas at the last one may both be told that it is exceeded. */
  async function reserveCalls(principalKey: Buffer, limits: readonly Limit[]): Promise<readonly Limit[]> {
    const windows = limits.flatMap((limit) => (limit.unit === 'calls' ? (windowOf(principalKey, limit) ?? []) : []))
    if (windows.length === 0) return []
    const now = clock.now()
    const use = (amount: number) =>
      addUsage(
        database,
        distinct(windows).map((window) => ({ ...window, amount })),
        now,
      )
    await use(1)
    const sums = await sumUsage(database, windows, now)
    const calls = limits.filter(({ unit, windowMs }) => unit === 'calls' && windowMs !== null)
    const exceeded = calls.filter(({ amount }, index) => (sums[index] ?? 0) > amount)
    if (exceeded.length > 0) await use(-1)
    return exceeded
  }

  async function flush(): Promise<void> {
    const used = [...counters.values()].filter(({ pending }) => pending > 0)
    const amounts = used.map(({ window, pending }) => ({ ...window, amount: pending }))
    for (const [index, counter] of used.entries()) {
      const amount = amounts[index]?.amount ?? 0
      // Counted as stored meanwhile: a stream must not see a smaller sum while the statement is under way.
      counter.pending -= amount
      counter.stored += amount
    }
    try {
      await addUsage(database, amounts, clock.now())
    } catch (error) {
      for (const [index, counter] of used.entries()) {
        const amount = amounts[index]?.amount ?? 0
        counter.pending += amount
        counter.stored -= amount
      }
      throw error
    }
    await look([...counters.values()].filter(({ meters }) => meters > 0))
    forgetIdle()
  }

  function flushOnce(): Promise<void> {
    flushing ??= flush().finally(() => {
      flushing = null
    })
    return flushing
  }

  function tick(): void {
    flushOnce().catch((error: unknown) => log.warn({ err: error }, 'what was used of limits could not be stored yet'))
  }

  function sweep(): void {
    sweepUsage(database, clock.now()).catch((error: unknown) =>
      log.warn({ err: error }, 'old usage could not be swept'),
    )
  }

  return {
    check,
    async apply(principalKey, verdict) {
      if (verdict.effect !== 'allow' || verdict.limits.length === 0) return verdict
      const exceeded = await check(
        principalKey,
        verdict.limits.filter(({ unit }) => unit !== 'calls'),
      )
      if (exceeded.length > 0) return holdFor(verdict, exceeded)
      const exhausted = await reserveCalls(principalKey, verdict.limits)
      return exhausted.length > 0 ? holdFor(verdict, exhausted) : verdict
    },
    meter(principalKey, limits) {
      const counts = limits.map((limit) => {
        const window = windowOf(principalKey, limit)
        const counter = window && limit.unit !== 'calls' ? obtain(window) : null
        return { limit, counter, used: 0 }
      })
      const shared = new Set(counts.flatMap(({ counter }) => counter ?? []))
      for (const counter of shared) counter.meters++
      let isOver = false

      function take(unit: Limit['unit'], amount: number): boolean {
        for (const counter of shared) if (counter.window.unit === unit) counter.pending += amount
        let isWithin = true
        for (const count of counts) {
          if (count.limit.unit !== unit) continue
          count.used += amount
          if ((count.counter ? usedBy(count.counter) : count.used) > count.limit.amount) isWithin = false
        }
        return isWithin
      }

      return {
        take: (bytes) => take('bytes', bytes),
        takeRows: (rows) => take('rows', rows),
        end() {
          if (isOver) return
          isOver = true
          for (const counter of shared) counter.meters--
        },
      }
    },
    flush: flushOnce,
    start() {
      if (timers.length > 0) return
      timers = [setInterval(tick, FLUSH_MS), setInterval(sweep, SWEEP_MS)]
      for (const timer of timers) timer.unref()
    },
    async stop() {
      for (const timer of timers) clearInterval(timer)
      timers = []
      await flushing?.catch(() => undefined)
      await flushOnce().catch((error: unknown) => log.warn({ err: error }, 'the last usage of limits was not stored'))
    },
  }
}

/** The allow as a hold: what each exceeded limit's rule asks for, once per rule. */
function holdFor(verdict: Verdict, exceeded: readonly Limit[]): Verdict {
  const byRule = Map.groupBy(exceeded, ({ rule }) => formatRule(rule))
  const requirements = [...byRule.values()].flatMap((limits): readonly Requirement[] =>
    limits.slice(-1).map(({ requirement }) => ({ ...requirement, message: sayUsedUp(limits) })),
  )
  return {
    ...verdict,
    effect: 'hold',
    rules: requirements.map(({ rule }) => rule),
    message: sayUsedUp(exceeded),
    requirements,
    limits: [],
  }
}

function sayUsedUp(limits: readonly Limit[]): string {
  return `The limit is used up: ${limits.map(formatLimit).join(', ')}.`
}

function formatLimit({ unit, amount, windowMs }: Limit): string {
  const per = windowMs === null ? 'call' : formatDuration(windowMs)
  return `${amount} ${unit} per ${per}`
}

function windowOf(principalKey: Buffer, { rule, unit, windowMs }: Limit): Window | null {
  return windowMs === null ? null : { rule: formatRule(rule), principalKey, unit, windowMs }
}

function usedBy({ stored, pending }: Counter): number {
  return stored + pending
}

function distinct(windows: readonly Window[]): readonly Window[] {
  return [...new Map(windows.map((window) => [`${window.rule} ${window.windowMs}`, window])).values()]
}
