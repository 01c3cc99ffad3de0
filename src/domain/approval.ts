import type { Grant } from './grant.ts'
import type { GrantAsk } from './permit.ts'
import type { Party, Person, Principal } from './principal.ts'
import type { Requirement, RuleRef } from './verdict.ts'

/** Every state of an approval and every way out of it. The table in the database has the same states as a CHECK. */
export const TRANSITIONS = {
  pending: { approve: 'approved', deny: 'denied', expire: 'expired', withdraw: 'withdrawn' },
  approved: { spend: 'spent', deny: 'denied', expire: 'expired', withdraw: 'withdrawn' },
  denied: {},
  expired: {},
  withdrawn: {},
  spent: {},
} as const

export type State = keyof typeof TRANSITIONS
export const STATES = Object.keys(TRANSITIONS) as readonly State[]

export const WITHDRAWAL_REASONS = [
  'client_cancelled',
  'policy_changed',
  'call_changed',
  'reviewers_changed',
  'grant_ended',
  'suspended',
  'breaker_lifted',
  'store_failover',
  'tampered',
] as const
export type WithdrawalReason = (typeof WITHDRAWAL_REASONS)[number]

/** The durable record of a held call; single use; bound to the call's digest. */
export interface Approval {
  readonly id: string
  readonly state: State
  /** The call that opened it; retries that attach have ids of their own. */
  readonly callId: string
  readonly requester: Principal
  readonly upstream: string
  readonly verb: string
  readonly resource: string
  readonly rules: readonly RuleRef[]
  readonly requirements: readonly Requirement[]
  /** Hex SHA-256 of what would be forwarded. */
  readonly digest: string
  /** Hex SHA-256 of what reviewers are shown. A button or a vote made on another card is refused. */
  readonly cardHash: string
  /** Whether the gateway forwards by itself once approved, and keeps the response (`Prefer: respond-async`). */
  readonly isDetached: boolean
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** Until when people may decide; milliseconds since the epoch. */
  readonly expiresAt: number
  /** Until when an approved call may be spent; null while pending. Milliseconds since the epoch. */
  readonly useBy: number | null
  readonly decidedAt: number | null
  /** Why it was denied or withdrawn: a reviewer's words, or a `WithdrawalReason`. */
  readonly reason: string | null
  readonly votes: readonly Vote[]
  /** Who says that they are looking at it; only where people are told of it, and only while that holds. */
  readonly claim?: Claim
}

/** One person's "I am looking at this". It takes nothing from anybody's right to vote. */
export interface Claim {
  readonly reviewer: Pick<Person, 'issuer' | 'subject' | 'name'>
  /** The surface it came through. */
  readonly via: string
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly until: number
}

/** An approval that was just used up. */
export interface Spent extends Approval {
  /** Forwarding begins before this moment of the process's monotonic clock (milliseconds), or not at all. */
  readonly startBy: number
}

export type Decision = 'approve' | 'deny'

/** One person's approve or deny. It counts only while its MAC is valid and its person is still entitled. */
export interface Vote {
  readonly reviewer: Person
  readonly decision: Decision
  readonly reason: string | null
  /**
   * The channel it came through: `slack`, `api`, `console`, …; `grant:<id>` if a grant was used, `override:<channel>` if
   * it stands in place of the quorum, `delegate:<id>:<channel>` if it was cast for somebody who is away.
   */
  readonly via: string
  /** Whom the reviewer stood in for, if it was cast in place of somebody who is away. */
  readonly standsFor?: Party & { readonly name: string | null }
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** What a channel or the approver API hands to the queue when a person decides. */
export interface Ballot {
  readonly approval: string
  readonly reviewer: Person
  readonly decision: Decision
  readonly reason: string | null
  readonly via: string
  /** The hash of the card the person saw. */
  readonly cardHash: string
  /** How many replies of the agent they saw with it; none if left out. Counts for a yes. */
  readonly replies?: number
  /** The same again, within bounds. */
  readonly grant?: GrantAsk
  /** A yes in place of the quorum. */
  readonly isOverride?: boolean
}

/** Why a ballot was not counted. Each is answered to that person alone. */
export const BALLOT_FAULTS = [
  'not_found',
  'not_entitled',
  'self_approval',
  'outside_hours',
  'assurance_required',
  'superseded',
  'already_decided',
  'already_denied',
  'reason_required',
  'grant_not_permitted',
  'override_not_permitted',
  'sign_in_too_old',
] as const
export type BallotFault = (typeof BALLOT_FAULTS)[number]

export type BallotResult =
  | { readonly counted: true; readonly approval: Approval; readonly grant?: Grant }
  | { readonly counted: false; readonly fault: BallotFault; readonly approval: Approval | null }
