import { createHash } from 'node:crypto'
import type { Decision, Vote } from '../domain/approval.ts'
import { canonicalJson } from '../domain/canonical.ts'
import { type Assurance, closureOf, type Group, isSameParty, type Party, type Role } from '../domain/principal.ts'
import type { Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'
import type { Cast } from './quorum.ts'
import type { ApprovalRow } from './row.ts'

/** What a vote says, and what its MAC covers besides the approval's id and digest. */
export interface VoteFacts {
  readonly issuer: string
  readonly subject: string
  readonly decision: Decision
  readonly reason: string | null
  readonly name: string | null
  readonly groups: readonly Group[]
  readonly roles: readonly Role[]
  readonly assurance: Assurance
  readonly authenticated_at: number | null
  readonly via: string
  readonly card_hash: Buffer
  readonly at: Date
}

export interface VoteRow extends VoteFacts {
  readonly approval: string
  readonly kid: string
  readonly mac: Buffer
}

const MAC_LABEL = 'countersign vote v1'

/** Signs a vote with a key that the database does not hold: a vote that somebody writes into the table counts nothing. */
export function signVote(
  keys: KeyPair<SecretKey>,
  approval: Pick<ApprovalRow, 'id' | 'digest'>,
  facts: VoteFacts,
): { kid: string; mac: Buffer } {
  return computeMac(keys, MAC_LABEL, macParts(approval, facts))
}

/** The votes whose MAC holds, made in time and on the card of this approval. */
export function genuineVotes(
  keys: KeyPair<SecretKey>,
  approval: ApprovalRow,
  votes: readonly VoteRow[],
): readonly VoteRow[] {
  return votes.filter(
    (vote) =>
      isValidMac(keys, MAC_LABEL, macParts(approval, vote), vote) &&
      vote.card_hash.equals(approval.card_hash) &&
      vote.at >= approval.created_at &&
      (vote.decision === 'deny' || vote.at < approval.expires_at),
  )
}

/**
 * Those who said yes and are not on the requesting side. The closure is looked at again wherever votes are counted,
 * not only when they are cast.
 */
export function supporters(approval: ApprovalRow, genuine: readonly VoteRow[]): readonly VoteRow[] {
  return genuine.filter((vote) => vote.decision === 'approve' && !isRequesting(approval, vote))
}

/** A vote, as a quorum counts it. */
export function castOf(vote: VoteRow): VoteRow & Cast {
  return { ...vote, authenticatedAt: vote.authenticated_at }
}

/** Those who said no. */
export function opponents(genuine: readonly VoteRow[]): readonly VoteRow[] {
  return genuine.filter((vote) => vote.decision === 'deny')
}

export function isRequesting(approval: Pick<ApprovalRow, 'requester'>, person: Party): boolean {
  return closureOf(approval.requester).some((party) => isSameParty(party, person))
}

/** Names a vote in the audit log without naming its person: hex SHA-256 of its MAC. */
export function hashVote(vote: Pick<VoteRow, 'mac'>): string {
  return createHash('sha256').update(vote.mac).digest('hex')
}

export async function readVotes(tx: Tx, approvalIds: readonly string[]): Promise<Map<string, VoteRow[]>> {
  const votes = new Map<string, VoteRow[]>(approvalIds.map((id) => [id, []]))
  if (approvalIds.length === 0) return votes
  const { rows } = await tx.query<VoteRow>(
    `SELECT approval, issuer, subject, decision, reason, name, groups, roles, assurance, authenticated_at, via,
       card_hash, at, kid, mac
     FROM vote WHERE approval = ANY($1) ORDER BY at, issuer, subject`,
    [approvalIds],
  )
  for (const row of rows) votes.get(row.approval)?.push(row)
  return votes
}

export async function writeVote(tx: Tx, vote: VoteRow): Promise<void> {
  await tx.query(
    `INSERT INTO vote (approval, issuer, subject, decision, reason, name, groups, roles, assurance, authenticated_at,
       via, card_hash, at, kid, mac)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
     ON CONFLICT (approval, issuer, subject) DO UPDATE SET decision = EXCLUDED.decision, reason = EXCLUDED.reason,
       name = EXCLUDED.name, groups = EXCLUDED.groups, roles = EXCLUDED.roles, assurance = EXCLUDED.assurance,
       authenticated_at = EXCLUDED.authenticated_at, via = EXCLUDED.via, card_hash = EXCLUDED.card_hash,
       at = EXCLUDED.at, kid = EXCLUDED.kid, mac = EXCLUDED.mac`,
    [
      vote.approval,
      vote.issuer,
      vote.subject,
      vote.decision,
      vote.reason,
      vote.name,
      JSON.stringify(vote.groups),
      JSON.stringify(vote.roles),
      vote.assurance,
      vote.authenticated_at,
      vote.via,
      vote.card_hash,
      vote.at,
      vote.kid,
      vote.mac,
    ],
  )
}

export function toVote(row: VoteRow): Vote {
  const { issuer, subject, name, groups, roles, assurance } = row
  return {
    reviewer: { issuer, subject, name, groups, roles, assurance, authenticatedAt: row.authenticated_at },
    decision: row.decision,
    reason: row.reason,
    via: row.via,
    at: row.at.getTime(),
  }
}

function macParts(approval: Pick<ApprovalRow, 'id' | 'digest'>, vote: VoteFacts): (string | Uint8Array)[] {
  return [
    approval.id,
    approval.digest,
    vote.card_hash,
    canonicalJson([vote.issuer, vote.subject, vote.name, vote.groups, vote.roles]),
    vote.assurance,
    String(vote.authenticated_at),
    vote.decision,
    canonicalJson(vote.reason),
    vote.via,
    String(vote.at.getTime()),
  ]
}
