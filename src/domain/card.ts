import type { AssuranceNeed } from './verdict.ts'

/**
 * What a reviewer is shown of a call. The three blocks are never mixed: who calls is verified, what it would do is
 * derived from the bytes by the gateway, why is claimed by the agent.
 */
export interface Card {
  readonly approval: string
  readonly verified: {
    readonly agent: string
    readonly issuer: string
    readonly onBehalfOf: string | null
    readonly owner: string | null
    readonly groups: readonly string[]
  }
  readonly derived: {
    readonly upstream: string
    readonly labels: Readonly<Record<string, string>>
    /** Every action of the call, "POST /refunds" each. */
    readonly actions: readonly { readonly verb: string; readonly resource: string }[]
    readonly payload: Payload | null
    readonly digest: string
    readonly rules: readonly { readonly name: string; readonly message: string | null }[]
    /** "was done before at …", "the upstream is in observe mode": facts of the gateway's own. */
    readonly notes: readonly string[]
  }
  readonly claimed: Claimed
  readonly createdAt: number
  readonly expiresAt: number
  readonly needed: readonly Need[]
}

/** What one requirement asks for, with selectors as they are written. What its rule does not say is left out. */
export interface Need {
  readonly reviewers: readonly string[]
  readonly quorum: number
  readonly isReasonRequired: boolean
  readonly exclude?: readonly string[]
  readonly denyQuorum?: number
  readonly hours?: string
  /** Who may vote as well from then on; milliseconds since the epoch. */
  readonly escalate?: { readonly at: number; readonly to: readonly string[] }
  readonly assurance?: AssuranceNeed
  /** Who may approve in place of the quorum. */
  readonly override?: readonly string[]
}

export interface Payload {
  readonly mediaType: string | null
  readonly bytes: number
  /** Pretty-printed for reading, secrets replaced; null for bytes that are not text. */
  readonly text: string | null
  /** Whether `text` lacks something that would be forwarded. Then a chat card carries no Approve button. */
  readonly isCut: boolean
  /** JSON pointers (RFC 6901) of what was replaced. */
  readonly redacted: readonly string[]
}

/** What the agent says of itself. Shown as its claim, recorded, never trusted, never forwarded. */
export interface Claimed {
  readonly reason?: string
  readonly model?: string
  readonly prompt?: string
  readonly conversation?: string
  readonly trace?: string
}
