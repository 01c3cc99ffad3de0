import type { SeenAgent } from '../domain/agent.ts'
import type { Approval, Vote } from '../domain/approval.ts'
import type { Stored } from '../domain/call.ts'
import { describeGranted, type Grant } from '../domain/grant.ts'
import { formatHours } from '../domain/hours.ts'
import type { Group, Party, Person, Principal } from '../domain/principal.ts'
import { formatSelector } from '../domain/selector.ts'
import { formatRule, type Requirement } from '../domain/verdict.ts'
import type { AgentWire, ApprovalWire, GrantWire, NoticeWire, ShownWire, WhoamiWire } from './wire.ts'
import { writeClaim } from './write-help.ts'

export function writeApproval(approval: Approval): ApprovalWire {
  return {
    id: approval.id,
    state: approval.state,
    call_id: approval.callId,
    requester: writeRequester(approval.requester),
    upstream: approval.upstream,
    verb: approval.verb,
    resource: approval.resource,
    rules: approval.rules.map(formatRule),
    requirements: approval.requirements.map((requirement) => writeRequirement(requirement, approval.createdAt)),
    digest: approval.digest,
    card_hash: approval.cardHash,
    detached: approval.isDetached,
    created_at: writeTime(approval.createdAt),
    expires_at: writeTime(approval.expiresAt),
    use_by: approval.useBy === null ? null : writeTime(approval.useBy),
    decided_at: approval.decidedAt === null ? null : writeTime(approval.decidedAt),
    reason: approval.reason,
    votes: approval.votes.map(writeVote),
    ...(approval.claim && { claim: writeClaim(approval.claim) }),
  }
}

export function writeGrant(grant: Grant): GrantWire {
  return {
    id: grant.id,
    approval: grant.approval,
    reviewer: { ...writeParty(grant.by), name: grant.by.name },
    reason: grant.reason,
    requester: writeRequester(grant.agent),
    upstream: grant.upstream,
    verb: grant.verb,
    resource: grant.resource,
    covers: grant.covers,
    rules: grant.rules.map(formatRule),
    allows: describeGranted(grant),
    uses: grant.uses,
    most_uses: grant.mostUses,
    given_at: writeTime(grant.givenAt),
    until: writeTime(grant.until),
    revoked_at: grant.revokedAt === null ? null : writeTime(grant.revokedAt),
  }
}

export function writeAgent(agent: SeenAgent): AgentWire {
  const { issuer, subject, seenAt, calls, holds, denials, suspension, heldBy } = agent
  return {
    issuer,
    subject,
    seen_at: seenAt === null ? null : writeTime(seenAt),
    calls,
    holds,
    denials,
    suspension: suspension && {
      since: writeTime(suspension.since),
      by: writeParty(suspension.by),
      reason: suspension.reason,
      breaker: suspension.breaker,
    },
    held_by: heldBy.map(({ breaker, since, reason }) => ({ breaker, since: writeTime(since), reason })),
  }
}

function writeRequirement(requirement: Requirement, openedAt: number): ApprovalWire['requirements'][number] {
  const { rule, reviewers, quorum, isReasonRequired, exclude, denyQuorum, hours, remindMs, escalate } = requirement
  const { assurance, grant, override } = requirement
  return {
    rule: formatRule(rule),
    reviewers: reviewers.map(formatSelector),
    quorum,
    reason_required: isReasonRequired,
    ...(exclude && { exclude: exclude.map(formatSelector) }),
    ...(denyQuorum !== undefined && { deny_quorum: denyQuorum }),
    ...(hours && { hours: formatHours(hours) }),
    ...(remindMs && { remind: remindMs.map((afterMs) => writeTime(openedAt + afterMs)) }),
    ...(escalate && {
      escalate: { at: writeTime(openedAt + escalate.afterMs), to: escalate.to.map(formatSelector) },
    }),
    ...(grant && { grant: { minutes: grant.mostMs / 60_000, uses: grant.mostUses, covers: grant.covers } }),
    ...(assurance && { assurance: assurance.kind }),
    ...(assurance?.kind === 'fresh' && { max_age: assurance.maxAgeMs / 1000 }),
    ...(override && { override: override.map(formatSelector) }),
  }
}

export function writePerson(
  person: Person,
  { mayVote, notices }: { mayVote: boolean; notices: readonly NoticeWire[] },
): WhoamiWire {
  return {
    ...writeParty(person),
    name: person.name,
    groups: person.groups.map(writeGroup),
    roles: person.roles,
    assurance: person.assurance,
    authenticated_at: person.authenticatedAt === null ? null : writeTime(person.authenticatedAt * 1000),
    may_vote: mayVote,
    notices,
  }
}

function writeRequester(requester: Principal): ApprovalWire['requester'] {
  return {
    ...writeParty(requester),
    on_behalf_of: requester.onBehalfOf && writeParty(requester.onBehalfOf),
    actors: requester.actors.map(writeParty),
    owner: requester.owner && writeParty(requester.owner),
    groups: requester.groups.map(writeGroup),
    client: requester.client,
  }
}

function writeVote({ reviewer, decision, reason, via, at, standsFor }: Vote): ApprovalWire['votes'][number] {
  return {
    reviewer: { ...writeParty(reviewer), name: reviewer.name },
    decision,
    reason,
    via,
    ...(standsFor && { stands_for: writeParty(standsFor) }),
    assurance: reviewer.assurance,
    at: writeTime(at),
  }
}

export function writeCall({ head, body }: Stored): NonNullable<ShownWire['call']> {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const text = bytes.toString('utf8')
  // Only text that gives the same bytes again shows them exactly.
  const isText = Buffer.from(text, 'utf8').equals(bytes)
  const content = isText ? text : bytes.toString('base64')
  return { head, body: { bytes: bytes.length, encoding: isText ? 'utf8' : 'base64', content } }
}

function writeParty({ issuer, subject }: Party): Party {
  return { issuer, subject }
}

function writeGroup(group: Group): string {
  return `${group.issuerName}/${group.name}`
}

function writeTime(ms: number): string {
  return new Date(ms).toISOString()
}
