import type { BreakerTerms } from '../domain/breaker.ts'
import type { ImpactTerms } from '../domain/impact.ts'
import type { Effect, Limit, Mask, Requirement, RuleRef } from '../domain/verdict.ts'
import type { Program } from './expression.ts'
import type { Criteria, Lookup } from './lookup.ts'

/** A rule, ready to decide. */
export interface CompiledRule extends Criteria {
  readonly ref: RuleRef
  readonly effect: Effect
  /** The condition, once for each protocol it was checked against; null if the rule has none. */
  readonly condition: { readonly text: string; readonly programs: ReadonlyMap<string, Program> } | null
  readonly message: string | null
  readonly requirement: Requirement | null
  readonly limits: readonly Limit[]
  readonly masks: readonly Mask[]
  readonly maxDurationMs: number | null
  readonly impact: ImpactTerms | null
}

/** A circuit breaker, ready to count by. */
export interface CompiledBreaker extends Criteria, BreakerTerms {
  /** What each call asks for once it has tripped; null if it suspends. */
  readonly requirement: Requirement | null
}

/** All policies together, compiled for the upstreams of one configuration. Order and file names left no trace in it. */
export interface PolicySet {
  /** 0 until it is published. */
  readonly version: number
  /** Hex SHA-256 of its canonical text. */
  readonly hash: string
  /** By policy and name. */
  readonly rules: readonly CompiledRule[]
  /** The rules of each configured upstream. */
  readonly lookups: ReadonlyMap<string, Lookup<CompiledRule>>
  /** By `policy/name`. */
  readonly breakers: ReadonlyMap<string, CompiledBreaker>
  /** Those that look at each configured upstream. */
  readonly breakerLookups: ReadonlyMap<string, Lookup<CompiledBreaker>>
}
