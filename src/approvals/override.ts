import { mayOverride } from '../domain/entitlement.ts'
import type { Person } from '../domain/principal.ts'
import type { Requirement } from '../domain/verdict.ts'
import type { VoteRow } from './votes.ts'

/** Milliseconds for which a sign-in counts as fresh (RFC 9470). */
export const FRESH_MS = 5 * 60_000

/** How far apart the clocks of the store and of an identity provider may be. */
const SKEW_MS = 60_000

const VIA = 'override:'

/** How a vote says that it stands in place of the quorum. */
export function viaOverride(via: string): string {
  return `${VIA}${via}`
}

export function isOverride({ via }: { readonly via: string }): boolean {
  return via.startsWith(VIA)
}

/** Whether one of these people, who said yes and whom nobody contradicted, said it in place of the quorum, and may. */
export function isOverridden(
  requirements: readonly Requirement[],
  supporters: readonly Pick<VoteRow, 'issuer' | 'subject' | 'groups' | 'via'>[],
): boolean {
  return supporters.some((vote) => isOverride(vote) && mayOverride(requirements, vote))
}

/** Whether the person has signed in just now. What does not say when, as a chat account, is not fresh. */
export function isFresh({ authenticatedAt }: Person, now: Date): boolean {
  if (authenticatedAt === null) return false
  const ageMs = now.getTime() - authenticatedAt * 1000
  return ageMs <= FRESH_MS && ageMs >= -SKEW_MS
}
