import { createHash } from 'node:crypto'
import { lengthPrefixed } from './bytes.ts'

/** One identity as one issuer knows it. Two parties are the same only if both fields are. */
export interface Party {
  readonly issuer: string
  readonly subject: string
}

/**
 * Who calls, as a token proved it.
 *
 * With an `act` claim (RFC 8693, section 4.1) the token's subject is a person or a service that the
 * agent acts for: then `issuer` and `subject` name the current actor, `onBehalfOf` the token's subject,
 * and `actors` the prior actors, newest first. Without it, they name the token's subject itself.
 */
export interface Principal extends Party {
  readonly onBehalfOf: Party | null
  readonly actors: readonly Party[]
  /** The accountable person or team; null only where the configuration says `owner: none`. */
  readonly owner: Party | null
  readonly groups: readonly Group[]
  /** The OAuth client the token was issued to (`azp` or `client_id`), if the token says. */
  readonly client: string | null
  /** Seconds since the epoch at which the token ends. */
  readonly expiresAt: number
}

/** A group belongs to the issuer that asserted it; `issuerName` is the issuer's short name in the configuration. */
export interface Group {
  readonly issuerName: string
  readonly name: string
}

/** A person who may vote, as a sign-in or a verified chat account proved it. Never an agent. */
export interface Person extends Party {
  readonly name: string | null
  readonly groups: readonly Group[]
  readonly roles: readonly Role[]
  /** How the person was authenticated for this act. */
  readonly assurance: Assurance
  /** Seconds since the epoch of the sign-in itself (`auth_time`), if known. */
  readonly authenticatedAt: number | null
}

export const ROLES = ['reviewer', 'owner', 'auditor', 'operator', 'admin'] as const
export type Role = (typeof ROLES)[number]

export const ASSURANCES = ['oidc', 'slack', 'teams', 'passkey'] as const
export type Assurance = (typeof ASSURANCES)[number]

/** The written form of a party, as configuration and policy name people: `https://idp.example.com|alice`. */
export function formatParty(party: Party): string {
  return `${party.issuer}|${party.subject}`
}

/** Reads `issuer|subject`; null if the text has no bar, or nothing on one side of it. An issuer has no bar, a subject may. */
export function parseParty(text: string): Party | null {
  const bar = text.indexOf('|')
  if (bar < 1 || bar === text.length - 1) return null
  return { issuer: text.slice(0, bar), subject: text.slice(bar + 1) }
}

export function isSameParty(a: Party, b: Party): boolean {
  return a.issuer === b.issuer && a.subject === b.subject
}

/** Everyone on the requesting side. Nobody in it approves the call, resumes the agent, or gets a grant for it. */
export function closureOf(principal: Principal): readonly Party[] {
  const { issuer, subject, onBehalfOf, actors, owner } = principal
  const parties: Party[] = [{ issuer, subject }, ...actors]
  if (onBehalfOf) parties.push(onBehalfOf)
  if (owner) parties.push(owner)
  return parties
}

/** Whether somebody is on the requesting side. */
export function isInClosure(principal: Principal, party: Party): boolean {
  return closureOf(principal).some((one) => isSameParty(one, party))
}

/** Those whose suspension stops the call: everyone in the closure but the owner. */
export function suspendable(principal: Principal): readonly Party[] {
  return closureOf({ ...principal, owner: null })
}

/**
 * Names the principal in digests, match keys and limits: SHA-256 over the length-prefixed parties of its closure,
 * so that the same agent on behalf of another person, or with another owner, is another principal.
 */
export function principalKey(principal: Principal): Buffer {
  const parts = [principal, ...principal.actors].flatMap((party) => [party.issuer, party.subject])
  for (const party of [principal.onBehalfOf, principal.owner]) parts.push(party?.issuer ?? '', party?.subject ?? '')
  return createHash('sha256').update(lengthPrefixed('countersign principal v1', parts)).digest()
}
