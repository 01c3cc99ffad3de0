import type { IncomingMessage } from 'node:http'
import type { Approval } from '../domain/approval.ts'
import type { Credential, Stored } from '../domain/call.ts'
import type { OutcomeName } from '../domain/entry.ts'
import type { Principal } from '../domain/principal.ts'
import type { OpenQuestion } from '../domain/question.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { MintedCredential } from '../identity/minted.ts'

/** One held call as its own agent may see it. */
export interface OwnCall {
  readonly approval: Approval
  /** Null until the approval was used and the call has ended. */
  readonly outcome: OutcomeName | null
  /** The upstream's response, where the agent asked for it to be kept; null until it is there. */
  readonly response: KeptResponse | null
  /** What a reviewer asks about it, and it has not replied to. */
  readonly question: OpenQuestion | null
}

/** A response that is kept, not read yet. */
export interface KeptResponse {
  /** As it is stored. */
  readonly bytes: number
  /** Null if it was erased meanwhile. */
  read(): Promise<Stored | null>
}

export interface CallDesk {
  /**
   * By the id of the call that opened the approval, or by the approval's; null if this principal has no such call. With
   * patience, waits until it is decided (a call that its agent repeats) or over (one that the gateway makes).
   */
  ownCall(
    principal: Principal,
    id: string,
    patience: { readonly waitMs: number; readonly gone: AbortSignal } | null,
  ): Promise<OwnCall | null>
}

export interface Readiness {
  readonly name: string
  /** False, or a rejection, makes the gateway unready. */
  isOk(): boolean | Promise<boolean>
}

export interface AgentParts {
  /** Takes the credential out of a request, as for a call. */
  readCredential(request: IncomingMessage): Credential
  identify(credential: Credential, source: string): Promise<Principal | Refusal>
  /** Says no to a principal that asks too often, or too much at once. */
  admit(principal: Principal): Refusal | null
  /** Counts what is done for it as under way, until what is returned is called. */
  begin(principal: Principal): () => void
  /** Takes from the principal's rate what it costs to read so many bytes for it; a refusal if too little is left. */
  charge(principal: Principal, bytes: number): Refusal | null
  sourceOf(request: IncomingMessage): string
  readonly calls: CallDesk
  /** Makes a user and a password for this upstream, which is one of those that take them. */
  mint(principal: Principal, upstream: string): Promise<MintedCredential | Refusal>
  /** What an agent is told of an approval that will not be used any more, or not yet. */
  refuseFor(approval: Approval): Refusal
  readonly gateway: {
    /** As agents reach it. */
    readonly publicUrl: string
    readonly upstreams: readonly string[]
    /** Those of them whose clients may log in with what is minted here. */
    readonly minting: readonly string[]
    /** The issuers whose tokens agents may present. */
    readonly authorizationServers: readonly string[]
  }
  /** The public keys that assertions are signed with (RFC 7517). */
  jwks(): { readonly keys: readonly object[] }
  readonly readiness: readonly Readiness[]
  readonly monotonicMs: () => number
}
