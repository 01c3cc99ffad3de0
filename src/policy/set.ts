import type { Selector } from '../domain/selector.ts'
import type { Effect, Limit, Requirement, RuleRef } from '../domain/verdict.ts'
import type { Program } from './expression.ts'
import type { Lookup } from './lookup.ts'

/** A rule, ready to decide. Null where it leaves a criterion open. */
export interface CompiledRule {
  readonly ref: RuleRef
  readonly effect: Effect
  readonly upstreams: ReadonlySet<string> | null
  readonly verbs: readonly string[] | null
  readonly resources: readonly string[] | null
  readonly principals: readonly Selector[] | null
  /** The condition, once for each protocol it was checked against; null if the rule has none. */
  readonly condition: { readonly text: string; readonly programs: ReadonlyMap<string, Program> } | null
  readonly message: string | null
  readonly requirement: Requirement | null
  readonly limits: readonly Limit[]
  readonly maxDurationMs: number | null
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
  readonly lookups: ReadonlyMap<string, Lookup>
}
