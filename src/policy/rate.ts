import type { Clock } from '../platform/clock.ts'

/** So many calls in so much time, as `200/s` says it. */
export interface Rate {
  readonly calls: number
  readonly perMs: number
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 }
/** Principals that are remembered; whoever called longest ago is forgotten first, and starts afresh. */
const MOST_PRINCIPALS = 100_000

/** Reads `200/s`, `600/m`, `1000/h`; null for anything else. */
export function parseRate(text: string): Rate | null {
  const match = /^([1-9][0-9]{0,6})\/([smh])$/.exec(text)
  const perMs = match?.[2] === undefined ? undefined : UNITS_MS[match[2]]
  return match && perMs !== undefined ? { calls: Number(match[1]), perMs } : null
}

export interface RateLimiter {
  /** Takes one call of a principal; 0, or in how many milliseconds there will be room for it. */
  take(principal: string): number
  /**
   * Takes the worth of so many calls more for one that was taken, at most all that there is beside it; 0, or in how many
   * milliseconds there will be room for that call, made again, and for them.
   */
  takeMore(principal: string, calls: number): number
}

/**
 * A token bucket for each principal: it may use a whole second's worth (a minute's, an hour's) at once, and then has
 * what comes back evenly. Each process counts for itself.
 */
export function createRateLimiter(options: {
  readonly rate: Rate
  readonly clock: Pick<Clock, 'monotonic'>
  readonly mostPrincipals?: number
}): RateLimiter {
  const { rate, clock, mostPrincipals = MOST_PRINCIPALS } = options
  const perCallMs = rate.perMs / rate.calls
  // The moment at which a bucket will be full again says all there is to know of it. In order of the last call.
  const fullAt = new Map<string, number>()

  /** 0, or how many milliseconds too much it would be. */
  function take(principal: string, calls: number): number {
    const now = clock.monotonic()
    const next = Math.max(now, fullAt.get(principal) ?? now) + calls * perCallMs
    // Sums of fractions of a millisecond are not exact; a thousandth of one call is not worth a refusal.
    const excessMs = next - now - rate.perMs
    if (excessMs > perCallMs / 1000) return excessMs
    fullAt.delete(principal)
    fullAt.set(principal, next)
    if (fullAt.size > mostPrincipals) {
      for (const oldest of fullAt.keys()) {
        fullAt.delete(oldest)
        break
      }
    }
    return 0
  }

  return {
    take: (principal) => Math.ceil(take(principal, 1)),
    takeMore(principal, calls) {
      const excessMs = take(principal, Math.min(calls, rate.calls - 1))
      return excessMs === 0 ? 0 : Math.ceil(excessMs + perCallMs)
    },
  }
}
