import type { Claim } from '../domain/approval.ts'
import type { Precedent, Precedents } from '../domain/precedent.ts'
import type { ClaimPart, PrecedentsPart } from './help-wire.ts'

export function writeClaim({ reviewer, via, at, until }: Claim): ClaimPart {
  return { reviewer: writeName(reviewer), via, at: writeTime(at), until: writeTime(until) }
}

export function writePrecedents(precedents: Precedents): PrecedentsPart {
  const { withinMs, isPartial, approved, identical, overridden, granted, denied, approvers } = precedents
  return {
    within_s: Math.floor(withinMs / 1000),
    partial: isPartial,
    approved,
    identical,
    overridden,
    granted,
    denied,
    approvers: approvers.map(({ reviewer, times }) => ({ reviewer: writeName(reviewer), times })),
    last_approved: precedents.lastApproved && writePrecedent(precedents.lastApproved),
    last_denied: precedents.lastDenied && writePrecedent(precedents.lastDenied),
  }
}

function writePrecedent({ approval, at, by, difference }: Precedent): NonNullable<PrecedentsPart['last_approved']> {
  const { extent, changes, more, unseen } = difference
  return {
    approval,
    at: writeTime(at),
    by: by.map(({ reviewer, reason, via }) => ({ reviewer: writeName(reviewer), reason, via })),
    difference: { extent, changes: changes.map((change) => ({ ...change })), more, unseen: [...unseen] },
  }
}

function writeName({ issuer, subject, name }: Claim['reviewer']): ClaimPart['reviewer'] {
  return { issuer, subject, name }
}

function writeTime(ms: number): string {
  return new Date(ms).toISOString()
}
