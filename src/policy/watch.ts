import type { Exchange, Intent, Outcome, Watch } from '../domain/call.ts'
import { type Principal, principalKey } from '../domain/principal.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import type { Verdict } from '../domain/verdict.ts'
import type { Clock } from '../platform/clock.ts'
import type { Usage } from './usage.ts'

interface Parts {
  readonly suspensions: {
    isSuspended(principal: Principal): boolean
    heldBy(principal: Principal): readonly string[]
    caughtUpTo(epoch: number): Promise<boolean>
    watch(principal: Principal, onCut: (reason: 'suspended' | 'store_unreadable') => void): () => void
  }
  readonly usage: Pick<Usage, 'meter'>
  readonly clock: Pick<Clock, 'monotonic'>
  /** The longest any stream or upgraded connection may last, in milliseconds. */
  readonly sessionMaxMs: number
}

/**
 * Looks, after the intent is on record and before anything is forwarded, whether the agent was suspended or held meanwhile;
 * then keeps looking, and ends a call whose agent is suspended, whose time is over, or whose limit is used up.
 */
export function createWatch({ suspensions, usage, clock, sessionMaxMs }: Parts) {
  return async function underWatch(
    call: Exchange,
    { intent, verdict, startBy }: { intent: Intent; verdict: Verdict; startBy: number | null },
    work: (watch: Watch) => Promise<Outcome>,
  ): Promise<Outcome | Refusal> {
    const { principal } = call
    if (!(await suspensions.caughtUpTo(intent.epoch))) {
      return refuse('unavailable', 'Not executed. Whether this agent is suspended cannot be told; try again.', {
        retryAfterS: 2,
      })
    }
    if (suspensions.isSuspended(principal)) {
      return refuse('suspended', 'Not executed. This agent is suspended; a person has to resume it.')
    }

    // It was allowed before a breaker tripped; what people approved goes on.
    const isUnseen = startBy === null && verdict.effect === 'allow' && call.upstream.mode === 'enforce'
    if (isUnseen && suspensions.heldBy(principal).length > 0) return HELD_SINCE

    // Another replica may call the outcome unknown from that moment on.
    if (startBy !== null && clock.monotonic() >= startBy) {
      return refuse('unavailable', 'Not executed. It took too long to begin after the approval was used; ask again.')
    }

    const stop = new AbortController()
    // Where the gateway only watches, a limit ends nothing.
    const isMetered = verdict.limits.length > 0 && call.upstream.mode === 'enforce'
    const meter = isMetered ? usage.meter(principalKey(principal), verdict.limits) : null
    const unwatch = suspensions.watch(principal, (reason) => stop.abort(CUTS[reason]))
    const ruleMs = call.upstream.mode === 'enforce' ? verdict.maxDurationMs : null
    const lasts = Math.min(ruleMs ?? sessionMaxMs, sessionMaxMs)
    const timer = setTimeout(() => stop.abort(OVERDUE), lasts)
    try {
      return await work({
        signal: stop.signal,
        spendBytes: (count) => meter?.take(count) ?? true,
        spendRows: (count) => meter?.takeRows(count) ?? true,
      })
    } finally {
      clearTimeout(timer)
      unwatch()
      meter?.end()
    }
  }
}

/** What a call is cut off with. */
export const CUTS = {
  suspended: refuse('suspended', 'Cut off. This agent was suspended.'),
  store_unreadable: refuse('unavailable', 'Cut off. Whether this agent is suspended could not be told any more.'),
} as const
const HELD_SINCE = refuse(
  'unavailable',
  'Not executed. A circuit breaker has tripped for this agent just now; repeat the call, which will be held for people.',
  { retryAfterS: 1 },
)
const OVERDUE = refuse('expired', 'Cut off. The call lasted as long as it may.')
