import type { Approval } from './approval.ts'
import type { Person } from './principal.ts'

/** How long "I am looking at this" holds, in milliseconds. */
export const CLAIM_MS = 15 * 60_000

/** "I am looking at this", or "not any more". */
export interface ClaimRequest {
  readonly approval: string
  readonly by: Person
  /** The surface it came through: `api`, `console`, `slack`. */
  readonly via: string
}

/** Why a claim was not taken, or not let go. */
export type ClaimFault = 'not_found' | 'not_entitled' | 'self_approval' | 'already_decided' | 'not_claimant'

export type ClaimResult =
  /** `isChanged` is false if it was so already: then nothing is recorded. */
  | { readonly done: true; readonly isChanged: boolean; readonly approval: Approval }
  | { readonly done: false; readonly fault: ClaimFault }
