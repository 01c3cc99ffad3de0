import type { Needs } from './action.ts'
import type { Hours } from './hours.ts'
import type { ImpactTerms } from './impact.ts'
import type { GrantPermit } from './permit.ts'
import { formatQualified } from './qualified.ts'
import type { Reviewer, Selector } from './selector.ts'

export type Effect = 'allow' | 'hold' | 'deny'

/** A rule by the name of its policy and its own. */
export interface RuleRef {
  readonly policy: string
  readonly rule: string
}

export function formatRule(rule: RuleRef): string {
  return `${rule.policy}/${rule.rule}`
}

/** Reads it back: neither name has a slash. */
export function parseRule(text: string): RuleRef {
  const [policy = '', rule = ''] = text.split('/')
  return { policy, rule }
}

/**
 * How sure one has to be of whoever approves: signed in no longer ago than that at the vote, or a passkey used for this
 * very vote.
 */
export type AssuranceNeed = { readonly kind: 'fresh'; readonly maxAgeMs: number } | { readonly kind: 'passkey' }

/** What one matching hold asks for. Several holds give several requirements, and all have to be met. */
export interface Requirement {
  readonly rule: RuleRef
  /** Any one of these selectors entitles a person. */
  readonly reviewers: readonly Reviewer[]
  /** Distinct people who must approve. */
  readonly quorum: number
  readonly expiresMs: number | null
  readonly isReasonRequired: boolean
  /** What its rule tells the agent and shows reviewers; not there in approvals that an earlier release stored. */
  readonly message?: string | null
  /** Whom it never counts, whatever else names them. */
  readonly exclude?: readonly Selector[]
  /** Distinct people who must deny; 1 if left out. */
  readonly denyQuorum?: number
  /** When approvals count; at any time if left out. */
  readonly hours?: Hours
  /** How long after the opening reviewers are reminded; ascending. */
  readonly remindMs?: readonly number[]
  /** Who else is entitled, from so long after the opening. */
  readonly escalate?: { readonly afterMs: number; readonly to: readonly Reviewer[] }
  /** How sure one has to be of whoever approves; as for any vote if left out. A denial needs no more. */
  readonly assurance?: AssuranceNeed
  /** What a reviewer may grant along with an approval; nothing if left out. */
  readonly grant?: GrantPermit
  /** Who may approve in place of the quorum; nobody if left out. */
  readonly override?: readonly Selector[]
  /** What circuit breakers that held the agent did: they ask for it, or the rule's grant was left out. */
  readonly breaker?: 'asks' | 'bars_grant'
}

/** A bound on what a rule lets through, per call (`windowMs` null) or per principal over a sliding window. */
export interface Limit {
  readonly rule: RuleRef
  readonly unit: 'bytes' | 'rows' | 'calls'
  readonly amount: number
  readonly windowMs: number | null
  /** What the call asks for once the limit is known to be exceeded: the rule's own approval, or any one reviewer. */
  readonly requirement: Requirement
}

/** A column whose values the agent is not given. */
export interface Mask {
  readonly rule: RuleRef
  readonly schema: string
  readonly relation: string
  readonly column: string
}

export function formatMask({ schema, relation, column }: Omit<Mask, 'rule'>): string {
  return formatQualified([schema, relation, column])
}

export interface Verdict {
  readonly effect: Effect
  /**
   * Why: a rule says so; no rule matched; a rule's condition threw, so that it counts as a deny; what a rule reads of
   * the call cannot be read; someone on the requesting side is suspended; a rule asks the owner's manager, who is not
   * known; or circuit breakers that have tripped hold what rules allow, and then they are named as `rules`.
   */
  readonly basis: 'rule' | 'no_rule' | 'condition_failed' | 'unreadable' | 'suspended' | 'no_manager' | 'breaker'
  /** Every rule that gave the effect; empty when nothing matched, which is a deny. */
  readonly rules: readonly RuleRef[]
  /** What the deciding rule tells the agent. */
  readonly message: string | null
  /** Not empty exactly when the effect is `hold`. */
  readonly requirements: readonly Requirement[]
  /** Those of the matching allow rules. A limit known to be exceeded turns an allow into a hold. */
  readonly limits: readonly Limit[]
  /** Those of every matching rule that lets the call through, at once or once people have approved. */
  readonly masks: readonly Mask[]
  readonly maxDurationMs: number | null
  /** What the deciding rules say of the rows that a statement touches; left out if they say nothing. */
  readonly impact?: ImpactTerms
  readonly policyVersion: number
  /** Which of the call's actions decided, as an index. */
  readonly decidingAction: number
}

/** What `decide` answers when the facts at hand do not settle it. */
export interface Unsure {
  readonly effect: 'unsure'
  readonly needs: Needs
  /** Those of every rule that lets the call through, or may do so once it is known. */
  readonly masks: readonly Mask[]
  readonly policyVersion: number
}
