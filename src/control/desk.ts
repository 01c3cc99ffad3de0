import type { Approval, Ballot, BallotResult, State } from '../domain/approval.ts'
import type { Stored } from '../domain/call.ts'
import type { Card } from '../domain/card.ts'
import type { Person } from '../domain/principal.ts'
import type { Refusal } from '../domain/refusal.ts'

/** What the approver API asks of the queue. What a person may not see does not exist for them. */
export interface ApprovalDesk {
  /** Newest first. `after` is the `next` of the page before. */
  list(person: Person, filter: ListFilter): Promise<ApprovalPage>
  find(id: string, person: Person): Promise<ShownApproval | null>
  vote(ballot: Ballot): Promise<BallotResult>
}

export interface ListFilter {
  readonly states: readonly State[] | null
  readonly upstream: string | null
  readonly limit: number
  readonly after: string | null
}

export interface ApprovalPage {
  readonly approvals: readonly Approval[]
  readonly next: string | null
}

export interface ShownApproval {
  readonly approval: Approval
  /** Null once it was erased. */
  readonly card: Card | null
  /** The call exactly as it would be forwarded; null once it can no longer be. */
  readonly call: Stored | null
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
