import { counted } from './counted.ts'
import { formatDuration } from './units.ts'
import type { RuleRef } from './verdict.ts'

/** What a circuit breaker counts of an agent. A closed list; the store's CHECK has the same. */
export const COUNTED = ['calls', 'holds', 'denials'] as const
export type Counted = (typeof COUNTED)[number]

/** Hold its every call, or stop it. */
export const BREAKER_EFFECTS = ['hold', 'suspend'] as const
export type BreakerEffect = (typeof BREAKER_EFFECTS)[number]

/** More than so many within a window, and the agent is held or stopped. */
export interface BreakerTerms {
  readonly ref: RuleRef
  readonly counts: Counted
  readonly moreThan: number
  readonly windowMs: number
  readonly effect: BreakerEffect
}

/** Why it trips: `more than 20 denials within 10m`. */
export function describeTrip({ counts, moreThan, windowMs }: BreakerTerms): string {
  return `more than ${counted(moreThan, counts.slice(0, -1))} within ${formatDuration(windowMs)}`
}
