import { formatParty, type Principal } from '../domain/principal.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import type { Clock } from '../platform/clock.ts'
import type { RateOptions } from './options.ts'
import { createRateLimiter } from './rate.ts'

/** What one principal may ask of this process: how often, how much of it read, and how many calls at once. */
export interface Allowance {
  /** Takes one call; a refusal if the principal called too often, or has too many calls under way. */
  take(principal: Principal): Refusal | null
  /** Counts a call that was taken as under way, until what is returned is called. */
  begin(principal: Principal): () => void
  /**
   * Takes from the principal's rate what it costs to parse so many bytes for a call that was taken; a refusal if too
   * little is left.
   */
  charge(principal: Principal, bytes: number): Refusal | null
}

/**
 * Bytes of a body that count as one call more. At 200 calls a second one principal has 1.6 MiB a second parsed, whether in
 * few bodies or in many: measured, 6 % of a core for common JSON, and a third of one for the worst there is.
 */
const PARSED_PER_CALL = 8 * 1024

export function createAllowance({
  options,
  clock,
}: {
  options: RateOptions
  clock: Pick<Clock, 'monotonic'>
}): Allowance {
  const rate = createRateLimiter({ rate: options.per_principal, clock })
  const open = new Map<string, number>()

  return {
    take(principal) {
      const key = formatParty(principal)
      if ((open.get(key) ?? 0) >= options.open_per_principal) return TOO_MANY
      const waitMs = rate.take(key)
      return waitMs === 0 ? null : refuse('rate_limited', TOO_OFTEN, { retryAfterS: waitMs / 1000 })
    },
    begin(principal) {
      const key = formatParty(principal)
      open.set(key, (open.get(key) ?? 0) + 1)
      let isOver = false
      return () => {
        if (isOver) return
        isOver = true
        const rest = (open.get(key) ?? 0) - 1
        if (rest > 0) open.set(key, rest)
        else open.delete(key)
      }
    },
    charge(principal, bytes) {
      const calls = Math.floor(bytes / PARSED_PER_CALL)
      if (calls === 0) return null
      const waitMs = rate.takeMore(formatParty(principal), calls)
      return waitMs === 0 ? null : refuse('rate_limited', TOO_MUCH, { retryAfterS: waitMs / 1000 })
    },
  }
}

const TOO_OFTEN = 'Not executed. This agent calls too often; slow down.'
const TOO_MUCH =
  'Not executed. This agent sends more than can be read for it, and this call has to be read; slow down, or send less at a time.'
const TOO_MANY = refuse(
  'rate_limited',
  'Not executed. This agent has too many calls under way; repeat the call once some of them have ended.',
  { retryAfterS: 1 },
)
