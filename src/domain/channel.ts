import type { SwitchRequest, SwitchResult } from './agent.ts'
import type { Approval, Ballot, BallotResult } from './approval.ts'
import type { BreakerEffect } from './breaker.ts'
import type { Card } from './card.ts'
import type { ClaimRequest, ClaimResult } from './claim.ts'
import type { JsonObject } from './json.ts'
import type { Precedents } from './precedent.ts'
import type { Party, Person } from './principal.ts'
import type { AskRequest, AskResult, Question } from './question.ts'

/** How much of a card leaves for a chat service. */
export type CardDetail = 'full' | 'summary' | 'link'

/** One message that a channel owes its reviewers, taken from the outbox after commit. */
export interface Delivery {
  /**
   * `card`: the approval was opened. `result`: it is decided, expired, withdrawn or spent, or somebody claimed it or let
   * it go, and the card must say so. `reminder`: it waits for longer than its rule wants, or is open to others by now.
   * `question`: the agent was asked something, or has replied.
   */
  readonly kind: 'card' | 'result' | 'reminder' | 'question'
  readonly approval: Approval
  readonly card: Card
  /** What people decided on the same call before, as far as this channel was told of it; null where it does not matter. */
  readonly precedents?: Precedents | null
  /** What the agent was asked about it, in order. */
  readonly questions?: readonly Question[]
  /** What `deliver` returned for this approval's card; null if none was posted (or none is known, after a crash). */
  readonly posted: JsonObject | null
  /** Groups the cards of one agent's conversation into a thread; what `deliver` of the first returned, if it was posted. */
  readonly conversation: { readonly key: string; readonly opened: JsonObject | null }
}

/**
 * `delivered`: told, `posted` finds the message again. `retry`: later, no sooner than `afterMs`. `dropped`: never
 * possible (the channel does not exist, the message is refused for its content), recorded and shown in metrics.
 */
export type DeliveryResult =
  | { readonly result: 'delivered'; readonly posted: JsonObject; readonly conversation: JsonObject | null }
  | { readonly result: 'retry'; readonly afterMs: number; readonly cause: string }
  | { readonly result: 'dropped'; readonly cause: string }

/** What reviewers are told besides cards: a circuit breaker has tripped. */
export interface Notice {
  readonly agent: Party
  /** As `policy/name`. */
  readonly breaker: string
  readonly effect: BreakerEffect
  /** What was counted, in words. */
  readonly why: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** As of a delivery. */
export type NoticeResult = { readonly result: 'delivered' } | Exclude<DeliveryResult, { readonly result: 'delivered' }>

/** Where reviewers are told and can vote. Runs until stopped; a channel that is down delays people, loses nothing. */
export interface RunningChannel {
  readonly name: string
  deliver(delivery: Delivery, signal: AbortSignal): Promise<DeliveryResult>
  tell(notice: Notice, signal: AbortSignal): Promise<NoticeResult>
  /** Left out where the configuration does not say how people sign in there. */
  readonly signIn?: ChatSignIn
  stop(): Promise<void>
}

/** An account of a chat service, as that service names it. */
export interface ChatAccount {
  /** The channel's name: `slack`. */
  readonly service: string
  /** The workspace. */
  readonly team: string
  readonly user: string
}

/**
 * Who is behind a chat account. `unlinked`: nobody that is known; `stale`: somebody whose identity provider does not say
 * any more how they stand; `away`: it cannot be asked now.
 */
export type Acquaintance = { readonly person: Person } | { readonly fault: 'unlinked' | 'stale' | 'away' }

/** Signs people in at the chat service itself, with a browser, to learn which of its accounts is theirs. */
export interface ChatSignIn {
  /** Where to send the browser, and what has to be known when it returns. Throws `GatewayError('upstream')`. */
  begin(team: string): Promise<{ readonly url: URL; readonly pending: JsonObject }>
  /** @param query what the chat service sent along with the browser */
  complete(
    pending: JsonObject,
    query: URLSearchParams,
  ): Promise<
    { readonly team: string; readonly user: string; readonly name: string | null } | { readonly fault: string }
  >
}

/** What a channel may ask of the kill switch: to find who is meant, and to stop them. Nobody is resumed from a chat. */
export interface StopDesk {
  /** A few of those that were seen calling whose subject is this, whatever its case; or the one that is `issuer|subject`. */
  find(name: string): Promise<readonly Party[]>
  suspend(request: SwitchRequest): Promise<SwitchResult>
}

/** What one approval looks like. */
export interface Look {
  readonly approval: Approval
  readonly card: Card
  /** What the agent was asked about it, in order. */
  readonly questions?: readonly Question[]
}

/**
 * What a channel may ask of the rest: to count a ballot, to ask the agent, and to look an approval up for someone who
 * pressed a button.
 */
export interface Desk {
  vote(ballot: Ballot): Promise<BallotResult>
  /** "I am looking at this", and "not any more". The cards of all channels are changed by themselves. */
  claim(request: ClaimRequest): Promise<ClaimResult>
  release(request: ClaimRequest): Promise<ClaimResult>
  /** What people decided on the same call before, as far as this channel was told of it. */
  precedents(approvalId: string, told: { readonly channel: string }): Promise<Precedents | null>
  ask(request: AskRequest): Promise<AskResult>
  find(approvalId: string): Promise<Look | null>
}
