import type { JsonObject } from './json.ts'
import type { Party, Principal } from './principal.ts'
import type { Effect } from './verdict.ts'

/** Every kind of entry in the audit log, with what it records. A closed list: docs/audit.md. */
export const KINDS = {
  intent: 'a call was judged; written before anything is forwarded',
  outcome: 'how that call ended',
  held: 'an approval was opened for a call',
  vote: 'a person approved or denied',
  override: 'a person approved in place of the quorum',
  granted: 'a reviewer who approved granted the same again, within bounds',
  grant_used: 'a grant stood for its reviewer, and a call was let through',
  grant_revoked: 'a grant was taken back',
  question_asked: 'a reviewer asked the agent about a call that waits',
  question_answered: 'the agent replied, with the call that is named',
  delegated: 'a person named another to stand in for them while they are away',
  delegation_ended: 'that was ended before its time',
  reminded: 'reviewers were reminded of an approval that waits',
  escalated: 'others were entitled to an approval that waits, from then on',
  review_claimed: 'a person said that they are looking at an approval',
  review_released: 'that person said that they are not any more',
  previewed: 'before a decision the gateway asked the upstream what a call would touch',
  decided: 'an approval left pending, or was denied after it was approved',
  spent: 'an approval was used up, just before its call was forwarded',
  token_refused: 'credentials that were not accepted, counted by minute and source',
  malformed: 'requests that were not calls, counted by minute and source',
  credential_minted: 'an agent was given a user and a password to log in to an upstream with',
  policy_published: 'a policy set became the active one',
  policy_refused: 'a policy set could not be loaded; the active one stayed',
  breaker_tripped: 'an agent did more than a circuit breaker lets it: it was stopped, or all it does is held',
  agent_suspended: 'an agent was stopped',
  agent_resumed: 'a stopped agent was let go on',
  account_linked: 'a person proved that an account of a chat service is theirs',
  account_unlinked: 'such an account was taken from its person',
  passkey_added: 'a person added a passkey to vote with',
  passkey_removed: 'a passkey was taken from its person',
  gateway_started: 'a gateway process began to serve',
  gateway_stopped: 'a gateway process ended in order',
  store_failover: 'the store was found to be another one, or an earlier one, than it was',
  store_recovered: 'an operator acknowledged that',
} as const satisfies Record<string, string>
export type Kind = keyof typeof KINDS

/** Every value of an entry's `outcome`. A closed list: docs/audit.md. */
export const OUTCOMES = {
  forwarded: 'the upstream answered, and the answer was passed on whole',
  refused: 'nothing was forwarded',
  pending: 'nothing was forwarded yet: the client was told to come back, or will fetch the response',
  upstream_failed: 'the upstream could not be reached, or broke off; it may have acted',
  upstream_timeout: 'the upstream did not answer in time; it may have acted',
  client_gone: 'the client left while its call was being forwarded; the upstream may have acted',
  rolled_back: 'it touched more rows than were foreseen: the upstream undid it, and nothing of it stays',
  cut: 'the gateway ended the stream: a limit, a suspension or a maximum duration',
  unknown: 'the gateway ended between forwarding and recording; the upstream may have acted',
} as const satisfies Record<string, string>
export type OutcomeName = keyof typeof OUTCOMES

/**
 * One row of the audit log, before it is written. Who is named here (principal, reviewer, reason, model, claimed) is
 * stored as a commitment in the chain, with the value beside it in a table that can be erased.
 */
export interface Entry {
  readonly kind: Kind
  readonly callId?: string
  readonly approvalId?: string
  readonly principal?: Principal
  readonly reviewer?: Party
  /** Whom the reviewer stood in for. */
  readonly standsFor?: Party
  readonly reviewerGroup?: string
  readonly upstream?: string
  readonly verb?: string
  readonly resource?: string
  readonly effect?: Effect
  /** `policy/rule` of the deciding rule. */
  readonly rule?: string
  readonly policyVersion?: number
  readonly outcome?: OutcomeName
  readonly reason?: string
  readonly model?: string
  readonly claimed?: Readonly<Record<string, string>>
  /**
   * Everything else, chained as it is: digests, card hash, status, byte counts, durations. Never a secret, never a name.
   * The verifier reads: `decision` ('approve' or 'deny') of a vote; `quorum` of a spend, the number of distinct people
   * who had to approve; `state` of `decided`, the state the approval came to.
   */
  readonly detail?: JsonObject
}

/** What the log knows of entries that are committed and chained. */
export interface Appended {
  /** The sequence number of the last entry of this append. */
  readonly seq: number
  /** Hex; the chain's head right after it. */
  readonly hash: string
  /** The suspension epoch at that moment. */
  readonly epoch: number
}
