import type { Clock } from '../../platform/clock.ts'

/** Twice the window in which a signed request is accepted, so that one from either end of it is remembered. */
const REMEMBER_MS = 10 * 60_000
const MAX_REMEMBERED = 10_000

/**
 * Remembers what was handled, so that a delivery repeated by Slack, or replayed by somebody else, is not handled again.
 * Bounded: when full it forgets the oldest. Then, and on another replica, the approval itself still counts no vote twice.
 */
export function createReplayCache(clock: Clock): { isNew(id: string): boolean } {
  const seen = new Map<string, number>()

  return {
    isNew(id) {
      const now = clock.monotonic()
      for (const [oldest, at] of seen) {
        if (seen.size < MAX_REMEMBERED && now - at < REMEMBER_MS) break
        seen.delete(oldest)
      }
      if (seen.has(id)) return false
      seen.set(id, now)
      return true
    },
  }
}
