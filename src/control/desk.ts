import type { ListFilter, Shown } from '../approvals/read.ts'
import type { AuditReader } from '../audit/reader.ts'
import type { SeenAgent, SwitchRequest, SwitchResult } from '../domain/agent.ts'
import type { Approval, Ballot, BallotResult } from '../domain/approval.ts'
import type { Stored } from '../domain/call.ts'
import type { ClaimRequest, ClaimResult } from '../domain/claim.ts'
import type { DelegationDesk } from '../domain/delegation.ts'
import type { Grant, RevokeRequest, RevokeResult } from '../domain/grant.ts'
import type { Precedents } from '../domain/precedent.ts'
import type { Person } from '../domain/principal.ts'
import type { AskRequest, AskResult } from '../domain/question.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Explanation } from '../policy/explain.ts'
import type { PoliciesInForce } from '../policy/in-force.ts'

/** What the approver API asks of the queue. What a person may not see does not exist for them. */
export interface ApprovalDesk {
  /** Newest first. */
  list(person: Person, filter: ListFilter): Promise<readonly Approval[]>
  /** Null if there is none, or none that this person may see. */
  findFor(person: Person, id: string): Promise<Shown | null>
  /** The call exactly as it would be forwarded; a refusal once it can no longer be. */
  recall(approval: Approval): Promise<Stored | Refusal>
  vote(ballot: Ballot): Promise<BallotResult>
  /** What people decided on the same call before; null if there is no such approval for this person. */
  precedents(id: string, viewer: { readonly person: Person }): Promise<Precedents | null>
  /** "I am looking at this", and "not any more". */
  claim(request: ClaimRequest): Promise<ClaimResult>
  release(request: ClaimRequest): Promise<ClaimResult>
  /** Asks the agent whose call waits. */
  ask(request: AskRequest): Promise<AskResult>
  readonly grants: GrantDesk
  readonly delegations: DelegationDesk
}

/** Grants in force. What a person may not see does not exist for them. */
export interface GrantDesk {
  /** Newest first. */
  list(person: Person): Promise<readonly Grant[]>
  revoke(request: RevokeRequest): Promise<RevokeResult>
}

/** What a token may be used for. One that only reads is refused for votes, whoever presents it. */
export type TokenUse = 'read' | 'vote'

export interface PeopleDesk {
  /**
   * Who presents this token. `read` accepts, besides every token that may vote, those of the clients that are for
   * reading only. Never throws.
   */
  identify(token: string, use: TokenUse): Promise<Person | Refusal>
}

/** The kill switch. */
export interface AgentDesk {
  /** Those this person may look at; those that are stopped come first. */
  list(person: Person): Promise<readonly SeenAgent[]>
  suspend(request: SwitchRequest): Promise<SwitchResult>
  resume(request: SwitchRequest): Promise<SwitchResult>
}

/** The rules that decide. */
export interface PolicyDesk {
  /** Null if no policy decides, so that nothing is let through. */
  inForce(): PoliciesInForce | null
  /** Why there is none. */
  whyNone(): string | null
  /** The names of the upstreams. */
  readonly upstreams: readonly string[]
  /** What the rules make of a call, or why it cannot be one. Only facts that are given count as fetched. */
  explain(described: CallCase): Explanation | { readonly faults: readonly string[] }
}

/** A call as a case of a policy's test file describes it. Nothing of it was checked. */
export interface CallCase {
  readonly principal: object
  readonly upstream: string
  readonly verb: string
  readonly resource: string
  readonly facts: Readonly<Record<string, unknown>>
  readonly now: string
}

/** The audit log, for those who may read all of it. */
export type AuditDesk = AuditReader
