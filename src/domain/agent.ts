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
  /**
   * Of a circuit breaker: the gateway itself, with the breaker's name. `name`: what a person was called at their last
   * vote; null if they have not voted.
   */
  readonly by: Party & { readonly name: string | null }
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
export type SwitchRefusal =
  | { readonly done: false; readonly fault: 'not_allowed' | 'own_side' }
  /** Nobody of this issuer can call, so that stopping them would stop nothing. `known`: the issuers that there are. */
  | { readonly done: false; readonly fault: 'unknown_issuer'; readonly known: readonly string[] }
  /** So many are stopped that never called, by this person or by everybody. Whoever has called can always be stopped. */
  | {
      readonly done: false
      readonly fault: 'too_many_suspended'
      readonly most: number
      readonly of: 'person' | 'everybody'
    }

/** Beside what was done, where `seenAt` is null: the same words on every screen. */
export const NEVER_SEEN = 'No agent of this name has called yet: is that its issuer and subject?'

/** Why nobody more was stopped: the same words on every screen. */
export function describeTooMany({ most, of }: { readonly most: number; readonly of: 'person' | 'everybody' }): string {
  const count = of === 'person' ? `You have stopped ${most} that never called` : `${most} are stopped that never called`
  return `${count}, and there may be no more of them. Whoever has called can always be stopped; operators and admins may resume some of the others.`
}

export type SwitchResult =
  /** `isChanged` is false if it was so already: then nothing is recorded. */
  { readonly done: true; readonly isChanged: boolean; readonly agent: SeenAgent } | SwitchRefusal
