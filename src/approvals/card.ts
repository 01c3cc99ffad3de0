import { createHash } from 'node:crypto'
import type { Actions } from '../domain/action.ts'
import { canonicalJson } from '../domain/canonical.ts'
import type { Card, Claimed, Need, Payload } from '../domain/card.ts'
import { formatHours } from '../domain/hours.ts'
import { formatParty, type Principal } from '../domain/principal.ts'
import { describeReviewer, formatSelector } from '../domain/selector.ts'
import { formatRule, type Requirement, type RuleRef, type Verdict } from '../domain/verdict.ts'

/** What a card is made of. Times in milliseconds since the epoch. */
export interface CardParts {
  readonly approval: string
  readonly requester: Principal
  readonly upstream: { readonly name: string; readonly labels: Readonly<Record<string, string>> }
  readonly actions: Actions
  readonly verdict: Verdict
  /** Hex. */
  readonly digest: string
  readonly payload: Payload | null
  readonly notes: readonly string[]
  readonly claimed: Claimed
  readonly createdAt: number
  readonly expiresAt: number
}

/** Puts a card together; the same parts give the same card. */
export function buildCard(parts: CardParts): Card {
  const { requester, upstream, verdict } = parts
  return {
    approval: parts.approval,
    verified: {
      agent: requester.subject,
      issuer: requester.issuer,
      onBehalfOf: requester.onBehalfOf && formatParty(requester.onBehalfOf),
      owner: requester.owner && formatParty(requester.owner),
      groups: requester.groups.map((group) => `${group.issuerName}/${group.name}`),
    },
    derived: {
      upstream: upstream.name,
      labels: upstream.labels,
      actions: parts.actions.map(({ verb, resource }) => ({ verb, resource })),
      payload: parts.payload,
      digest: parts.digest,
      rules: verdict.rules.map((rule) => ({ name: formatRule(rule), message: messageOf(rule, verdict) })),
      notes: parts.notes,
    },
    claimed: parts.claimed,
    createdAt: parts.createdAt,
    expiresAt: parts.expiresAt,
    needed: verdict.requirements.map((requirement) => describeNeed(requirement, parts.createdAt)),
  }
}

/** The bytes of a card as it is kept, and their SHA-256: what was seen is what was signed. */
export function encodeCard(card: Card): { readonly bytes: Buffer; readonly hash: Buffer } {
  const bytes = Buffer.from(canonicalJson(wellFormed(card)), 'utf8')
  return { bytes, hash: createHash('sha256').update(bytes).digest() }
}

/** What an agent claims may be any text; a lone surrogate in it becomes U+FFFD, as it would on any screen. */
function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (Array.isArray(value)) return value.map(wellFormed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name.toWellFormed(), wellFormed(member)]))
}

/** Each rule's own: what one rule says under the name of another would be signed as if that had said it. */
function messageOf(rule: RuleRef, { requirements }: Verdict): string | null {
  const name = formatRule(rule)
  return requirements.find((requirement) => formatRule(requirement.rule) === name)?.message ?? null
}

/** In words and moments: what a screen shows of a requirement. */
function describeNeed(requirement: Requirement, openedAt: number): Need {
  const { reviewers, quorum, isReasonRequired, exclude, denyQuorum, hours, escalate, assurance, override } = requirement
  return {
    reviewers: reviewers.map(describeReviewer),
    quorum,
    isReasonRequired,
    ...(exclude && { exclude: exclude.map(formatSelector) }),
    ...(denyQuorum !== undefined && { denyQuorum }),
    ...(hours && { hours: formatHours(hours) }),
    ...(escalate && { escalate: { at: openedAt + escalate.afterMs, to: escalate.to.map(describeReviewer) } }),
    ...(assurance && { assurance }),
    ...(override && { override: override.map(formatSelector) }),
  }
}
