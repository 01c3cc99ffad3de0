import type { Actions, Needs } from './action.ts'
import type { Approval } from './approval.ts'
import type { Claimed, Payload } from './card.ts'
import type { OutcomeName } from './entry.ts'
import type { JsonObject } from './json.ts'
import type { Principal } from './principal.ts'
import type { Reply } from './question.ts'
import type { Refusal } from './refusal.ts'
import type { Mask, Verdict } from './verdict.ts'

/** One thing an agent sent, before it is known who sent it. Made by a protocol, handed to the gate. */
export interface Arrival {
  /** The call's id (UUIDv7, RFC 9562). */
  readonly id: string
  /** The upstream it is meant for. */
  readonly upstream: Upstream
  readonly credential: Credential
  /** Where it came from, for counting refused credentials. */
  readonly source: string
  /** Binds the call to who sent it; nothing of it is judged before. */
  open(principal: Principal): Exchange
  refuse(why: Refusal): Promise<void>
}

/**
 * What a client presented. `problem` is set when it presented it in a way that is refused unread. `proven` is whom its
 * token proved when its session began: a protocol with sessions takes it once, and a session lasts as long as it may.
 */
export type Credential =
  | { readonly token: string; readonly via: 'bearer' | 'basic' | 'api_key' | 'password' }
  | { readonly token: null; readonly problem: string | null }
  | { readonly token: null; readonly proven: Principal }

export interface Upstream {
  readonly name: string
  readonly protocol: string
  readonly labels: Readonly<Record<string, string>>
  readonly mode: 'enforce' | 'observe'
  /** Milliseconds a held call waits on its connection, unless the call asks for less. */
  readonly waitMs: number
}

/** A call bound to its principal. Each protocol makes its own. */
export interface Exchange {
  readonly id: string
  readonly upstream: Upstream
  readonly principal: Principal
  /** How long this client will wait for people, in milliseconds. */
  readonly waitMs: number
  /** Whether the client asked to be answered at once and fetch the response later. */
  readonly isDetached: boolean
  readonly idempotencyKey: string | null
  readonly claimed: Claimed
  /** What it carries in reply to a question about it; left out by protocols that have no place for it. */
  readonly reply?: Reply | null
  /** Aborts when the client left. */
  readonly gone: AbortSignal
  /** What becomes of an open approval then, or when the wait is over. */
  whenGone(): 'leave' | 'withdraw'
  /**
   * Names the call, with the facts that `needs` asks for (and any that come for free).
   *
   * @param masks of the rules that may let it through: a fact must not tell of what they hide, for the agent sees what
   *   rules make of it
   */
  describe(needs: Needs, masks: readonly Mask[]): Promise<Actions | Refusal>
  /** Reads the rest of the call, bounded, and sees whether it could be forwarded on the verdict's terms. Only for a hold. */
  seal(verdict: Verdict): Promise<Sealed | Refusal>
  /**
   * Takes the stored bytes that were approved in place of what this client sent (the same, but for volatile fields), so
   * that they are what `describe` judges and `forward` sends. Returns their digest, computed anew.
   */
  adopt(stored: Stored): Promise<Buffer | Refusal>
  /** Only when a person will look. The verdict says how much of it they may be shown. */
  present(verdict: Pick<Verdict, 'impact'>): Promise<Presentation>
  /** The call is held: notice, progress, or the 202 of a detached call. */
  held(approval: Approval): Promise<void>
  forward(how: Release): Promise<Outcome>
  refuse(why: Refusal): Promise<Outcome>
  /** Gives back what it holds, once it is over; left out by protocols whose calls hold nothing. */
  end?(): void
}

/** What is forwarded on approval, and what finds the approval again. */
export interface Sealed {
  /** SHA-256 over everything that is forwarded, and over who asks for it. */
  readonly digest: Buffer
  /** SHA-256 over the call without its volatile fields: a retry has the same. */
  readonly matchKey: Buffer
  readonly stored: Stored
}

/** A call as it is kept, encrypted, until it is forwarded: enough for its protocol to revive it. */
export interface Stored {
  readonly head: JsonObject
  readonly body: Uint8Array
}

export interface Presentation {
  readonly payload: Payload | null
  readonly notes: readonly string[]
  /** Figures that people decide on, and that the call is held to: kept with the stored call, as `foreseen` of its head. */
  readonly foreseen?: JsonObject
}

export interface Release extends Watch {
  readonly intent: Intent
  readonly verdict: Verdict
  readonly approval: Approval | null
}

/** How a call that is let through is stopped, and told how much it may still pass. */
export interface Watch {
  /** Aborts when the call must stop: suspended, a limit, a maximum duration, shutdown. Its reason is a `Refusal`. */
  readonly signal: AbortSignal
  /** Told of response bytes as they pass; false ends the stream. */
  spendBytes(count: number): boolean
  /** Told of rows before they pass, by protocols whose answers are rows; false ends the stream. */
  spendRows(count: number): boolean
}

/** What became of a call. */
export interface Outcome {
  readonly name: OutcomeName
  /** What the agent was told, if it was not the upstream's answer. */
  readonly refusal?: Refusal
  /** The upstream's status, in the protocol's own terms. */
  readonly status?: number
  readonly bytesIn?: number
  readonly bytesOut?: number
  /** Hex SHA-256 of a body that was streamed, or that came back. */
  readonly requestHash?: string
  readonly responseHash?: string
  readonly durationMs?: number
  /** Rows that were touched, and how many were foreseen, where that was counted. */
  readonly rows?: { readonly touched: number; readonly foreseen: number }
  /** Kept for a detached call to be fetched. */
  readonly response?: Stored
}

declare const committed: unique symbol

/**
 * Proof that a call's intent entry is committed and chained. Only `audit/log.ts` makes one, and nothing is forwarded
 * without: the compiler checks it.
 */
export interface Intent {
  readonly [committed]: true
  readonly callId: string
  readonly seq: number
  /** The suspension epoch at the moment of the commit. */
  readonly epoch: number
}
