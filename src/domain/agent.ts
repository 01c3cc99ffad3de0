import type { Party, Person } from './principal.ts'

/** An agent, or a person for whom agents act, as those who may stop it see it. Times are milliseconds since the epoch. */
export interface SeenAgent extends Party {
  /** Null if it was stopped without ever having called. */
  readonly seenAt: number | null
  /** Within about the last 24 hours: by whole hours, and without what a killed gateway had not written yet. */
  readonly calls: number
  readonly holds: number
  readonly denials: number
  readonly suspension: Suspension | null
  /** The circuit breakers that hold its every call. */
  readonly heldBy: readonly BreakerHold[]
}

export interface Suspension {
  readonly since: number
  /** Of a circuit breaker: the gateway itself, with the breaker's name. */
  readonly by: Party
  readonly reason: string | null
  /** The circuit breaker that tripped, as `policy/name`; null if a person did it. */
  readonly breaker: string | null
}

export interface BreakerHold {
  /** As `policy/name`. */
  readonly breaker: string
  readonly since: number
  readonly reason: string
}

/** What a person asks for: stop this agent, or those who act for this person; or let them go on. */
export interface SwitchRequest {
  readonly agent: Party
  readonly by: Person
  readonly reason: string
  /** The surface it came through: `api`, `console`, `slack`. */
  readonly via: string
}

/** Why somebody was not stopped or resumed. */
export const SWITCH_FAULTS = ['not_allowed', 'own_side'] as const
export type SwitchFault = (typeof SWITCH_FAULTS)[number]

export type SwitchResult =
  /** `isChanged` is false if it was so already: then nothing is recorded. */
  | { readonly done: true; readonly isChanged: boolean; readonly agent: SeenAgent }
  | { readonly done: false; readonly fault: SwitchFault }
