import type { State } from '../domain/approval.ts'
import { isEntitled } from '../domain/entitlement.ts'
import type { Entry } from '../domain/entry.ts'
import type { Party } from '../domain/principal.ts'
import { formatSelector, matchesSelector } from '../domain/selector.ts'
import { formatRule, type RuleRef } from '../domain/verdict.ts'
import { type DelegationRow, delegateOf } from './delegations.ts'
import { type GrantRow, grantOf } from './grants.ts'
import { isOverride } from './override.ts'
import { momentOf } from './quorum.ts'
import type { ApprovalRow } from './row.ts'
import { hashVote, type VoteRow } from './votes.ts'

export function heldEntry(row: ApprovalRow, { policyVersion }: { policyVersion: number }): Entry {
  return {
    ...about(row),
    kind: 'held',
    effect: 'hold',
    policyVersion,
    detail: {
      ...fingerprint(row),
      expires_at: row.expires_at.toISOString(),
      is_detached: row.is_detached,
      requirements: row.requirements.map(({ rule, quorum }) => ({ rule: formatRule(rule), quorum })),
    },
  }
}

/** `replies`: how many of the agent's the person had been shown with the card. */
export function voteEntry(row: ApprovalRow, vote: VoteRow, replies = 0): Entry {
  const group = groupOf(row, vote)
  return {
    ...about(row),
    kind: 'vote',
    reviewer: { issuer: vote.issuer, subject: vote.subject },
    ...(group !== null && { reviewerGroup: group }),
    ...standsFor(vote),
    ...(vote.reason !== null && { reason: vote.reason }),
    detail: {
      ...fingerprint(row),
      decision: vote.decision,
      via: vote.via,
      assurance: vote.assurance,
      ...(replies > 0 && { replies }),
      vote: hashVote(vote),
    },
  }
}

/** `approvals` is how many had approved before, of the quorum that was passed over. */
export function overrideEntry(row: ApprovalRow, vote: VoteRow, { approvals }: { approvals: number }): Entry {
  return {
    ...about(row),
    kind: 'override',
    reviewer: { issuer: vote.issuer, subject: vote.subject },
    ...(vote.reason !== null && { reason: vote.reason }),
    detail: {
      ...fingerprint(row),
      approvals,
      requirements: row.requirements.map(({ rule, quorum }) => ({ rule: formatRule(rule), quorum })),
      via: vote.via,
      assurance: vote.assurance,
      authenticated_at: vote.authenticated_at,
      vote: hashVote(vote),
    },
  }
}

export function grantedEntry(row: ApprovalRow, grant: GrantRow): Entry {
  return {
    ...about(row),
    kind: 'granted',
    reviewer: { issuer: grant.issuer, subject: grant.subject },
    ...(grant.reason !== null && { reason: grant.reason }),
    detail: {
      ...fingerprint(row),
      grant: grant.id,
      covers: grant.covers,
      rules: grant.rules.map(formatRule),
      most_uses: grant.most_uses,
      until: grant.until.toISOString(),
    },
  }
}

/** `callId` is the call that is forwarded. */
export function grantUsedEntry(row: ApprovalRow, { callId, vote }: { callId: string; vote: VoteRow }): Entry {
  return {
    ...about(row),
    kind: 'grant_used',
    callId,
    reviewer: { issuer: vote.issuer, subject: vote.subject },
    detail: { ...fingerprint(row), grant: grantOf(vote), vote: hashVote(vote) },
  }
}

/** `by` is null if the gateway did it by itself. */
export function grantRevokedEntry(
  grant: GrantRow,
  { by, reason, via }: { by: Party | null; reason: string | null; via: string },
): Entry {
  const rule = grant.rules[0]
  return {
    kind: 'grant_revoked',
    approvalId: grant.approval,
    principal: grant.requester,
    upstream: grant.upstream,
    verb: grant.verb,
    resource: grant.resource,
    ...(rule && { rule: formatRule(rule) }),
    ...(by && { reviewer: { issuer: by.issuer, subject: by.subject } }),
    ...(reason !== null && { reason }),
    detail: { grant: grant.id, uses: grant.uses, via },
  }
}

/** The delegate as a party that acts for whoever is away: like every name they can be erased. */
export function delegatedEntry(row: DelegationRow, { via }: { via: string }): Entry {
  return { ...aboutDelegation(row), kind: 'delegated', reviewer: row, detail: { ...periodOf(row), via } }
}

export function delegationEndedEntry(row: DelegationRow, { by, via }: { by: Party; via: string }): Entry {
  return { ...aboutDelegation(row), kind: 'delegation_ended', reviewer: by, detail: { ...periodOf(row), via } }
}

function aboutDelegation(row: DelegationRow) {
  const nobody = { actors: [], owner: null, groups: [], client: null, expiresAt: 0 }
  const { issuer, subject } = row
  return { principal: { ...delegateOf(row), onBehalfOf: { issuer, subject }, ...nobody } }
}

function periodOf({ id, begins_at: from, until }: DelegationRow) {
  return { delegation: id, from: from.toISOString(), until: until.toISOString() }
}

function standsFor({ delegation }: VoteRow) {
  return delegation ? { standsFor: { issuer: delegation.issuer, subject: delegation.subject } } : {}
}

/** The words are committed to, as a reason is: they can be erased. */
export function askedEntry(
  row: ApprovalRow,
  asked: { id: string; nth: number; text: string; by: Party; via: string },
): Entry {
  return {
    ...about(row),
    kind: 'question_asked',
    reviewer: { issuer: asked.by.issuer, subject: asked.by.subject },
    reason: asked.text,
    detail: { ...fingerprint(row), question: asked.id, nth: asked.nth, via: asked.via },
  }
}

/** `callId` is the attempt that carried the reply. */
export function answeredEntry(
  row: ApprovalRow,
  reply: { id: string; nth: number; text: string; callId: string },
): Entry {
  return {
    ...about(row),
    kind: 'question_answered',
    callId: reply.callId,
    claimed: { reply: reply.text },
    detail: { ...fingerprint(row), question: reply.id, nth: reply.nth },
  }
}

/** `vote` is the one that decided, if it was a vote. `cause` is a word of the gateway's own, never a person's. */
export function decidedEntry(
  row: ApprovalRow,
  { state, vote, cause }: { state: State; vote?: VoteRow; cause?: string },
): Entry {
  return {
    ...about(row),
    kind: 'decided',
    ...(vote && { reviewer: { issuer: vote.issuer, subject: vote.subject } }),
    ...(vote && standsFor(vote)),
    ...(vote && vote.reason !== null && { reason: vote.reason }),
    detail: { ...fingerprint(row), state, ...(cause !== undefined && { cause }) },
  }
}

/** What was due since the opening, and by which rules. */
interface Nudge {
  readonly afterMs: number
  readonly rules: readonly RuleRef[]
}

export function remindedEntry(row: ApprovalRow, nudge: Nudge): Entry {
  return { ...about(row), kind: 'reminded', detail: detailOf(row, nudge) }
}

export function escalatedEntry(row: ApprovalRow, nudge: Nudge): Entry {
  return { ...about(row), kind: 'escalated', detail: detailOf(row, nudge) }
}

function detailOf(row: ApprovalRow, { afterMs, rules }: Nudge) {
  return { ...fingerprint(row), after_ms: afterMs, rules: rules.map(formatRule) }
}

/** `isTakenOver`: somebody else was looking at it until then. */
export function claimedEntry(
  row: ApprovalRow,
  { by, via, until, isTakenOver }: { by: Party; via: string; until: Date; isTakenOver: boolean },
): Entry {
  return {
    ...about(row),
    kind: 'review_claimed',
    reviewer: { issuer: by.issuer, subject: by.subject },
    detail: { ...fingerprint(row), via, until: until.toISOString(), taken_over: isTakenOver },
  }
}

export function claimReleasedEntry(row: ApprovalRow, { by, via }: { by: Party; via: string }): Entry {
  return {
    ...about(row),
    kind: 'review_released',
    reviewer: { issuer: by.issuer, subject: by.subject },
    detail: { ...fingerprint(row), via },
  }
}

/** `callId` is the call that is forwarded: the one that opened the approval, or a retry. */
export function spentEntry(row: ApprovalRow, { callId, votes }: { callId: string; votes: readonly VoteRow[] }): Entry {
  const isOverridden = votes.some(isOverride)
  const quorum = isOverridden ? 1 : row.requirements.reduce((sum, requirement) => sum + requirement.quorum, 0)
  return {
    ...about(row),
    kind: 'spent',
    callId,
    detail: {
      ...fingerprint(row),
      opened_by: row.call_id,
      quorum,
      votes: votes.map(hashVote),
      ...(isOverridden && { override: true }),
    },
  }
}

/** The gateway ended before it could say how this call ended. */
export function unknownEntry(row: ApprovalRow, callId: string): Entry {
  return { ...about(row), kind: 'outcome', callId, outcome: 'unknown', detail: { digest: row.digest.toString('hex') } }
}

function about(row: ApprovalRow) {
  const rule = row.rules[0]
  return {
    callId: row.call_id,
    approvalId: row.id,
    principal: row.requester,
    upstream: row.upstream,
    verb: row.verb,
    resource: row.resource,
    ...(rule && { rule: formatRule(rule) }),
  }
}

function fingerprint(row: ApprovalRow) {
  return { digest: row.digest.toString('hex'), card_hash: row.card_hash.toString('hex') }
}

/** The selector that entitled the person, if it names a group. */
function groupOf(row: ApprovalRow, vote: VoteRow): string | null {
  const moment = momentOf(vote, row.created_at)
  for (const requirement of row.requirements) {
    if (!isEntitled(requirement, vote, moment)) continue
    for (const selector of [...requirement.reviewers, ...(requirement.escalate?.to ?? [])]) {
      if (selector.kind === 'group' && matchesSelector(selector, vote)) return formatSelector(selector)
    }
  }
  return null
}
