import type { Group, Party, Person } from './principal.ts'

const DAY_MS = 86_400_000

/** How long somebody may be stood in for at a time, and how far ahead that may begin. */
export const MOST_AWAY_MS = 30 * DAY_MS
export const MOST_AHEAD_MS = 90 * DAY_MS

/** Somebody who is away and is stood in for. */
export type Absentee = Party & { readonly name: string | null; readonly groups: readonly Group[] }

/** A person's word that another stands in for them. Times are milliseconds since the epoch. */
export interface Delegation {
  readonly id: string
  readonly person: Party & { readonly name: string | null }
  readonly delegate: Party & { readonly name: string | null }
  readonly from: number
  readonly until: number
  readonly madeAt: number
}

/** Somebody who is known by their issuer and subject, with the name that they had last. */
export type Known = Party & { readonly name: string | null }

export interface DelegateRequest {
  readonly by: Person
  readonly delegate: Party
  readonly from: number
  readonly until: number
  readonly via: string
}

export type DelegateFault = 'not_known' | 'oneself' | 'bad_period' | 'already_delegated'

export interface DelegationDesk {
  /** Those that are not over: of one person, given or taken, or everybody's; the first to begin first. */
  list(person: Party | null): Promise<readonly Delegation[]>
  /** Whom a person may name: those who have voted, linked an account or added a passkey, without themselves. */
  known(person: Party): Promise<readonly Known[]>
  make(request: DelegateRequest): Promise<{ readonly delegation: Delegation } | { readonly fault: DelegateFault }>
  /** At once, on every replica. False if there is none, or none that this person may end: their own, or anybody's as an admin. */
  end(request: { readonly id: string; readonly by: Person; readonly via: string }): Promise<boolean>
  /** For whom this person stands in now. */
  absentees(person: Party): Promise<readonly Absentee[]>
}
