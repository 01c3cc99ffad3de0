import { createHash } from 'node:crypto'
import type { Decision, Vote } from '../domain/approval.ts'
import { canonicalJson } from '../domain/canonical.ts'
import { isInClosure, isSameParty, type Party } from '../domain/principal.ts'
import type { Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'
import {
  absentPerson,
  type DelegationRow,
  delegationOf,
  isGenuineDelegation,
  permits,
  readDelegations,
} from './delegations.ts'
import type { Cast } from './quorum.ts'
import type { ApprovalRow } from './row.ts'
import { personMacParts, type SignedPerson, toPerson } from './signed-person.ts'

/** What a vote says, and what its MAC covers besides the approval's id and digest. */
export interface VoteFacts extends SignedPerson {
  readonly decision: Decision
  readonly reason: string | null
  readonly via: string
  readonly card_hash: Buffer
  readonly at: Date
}

export interface VoteRow extends VoteFacts {
  readonly approval: string
  readonly kid: string
  readonly mac: Buffer
  /** By which it was cast for somebody who is away; read beside it. */
  readonly delegation?: DelegationRow
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

/** The votes whose MAC holds, made in time and on the card of this approval, by a delegation if they say so. */
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
      (vote.decision === 'deny' || vote.at < approval.expires_at) &&
      isPermitted(keys, vote),
  )
}

/**
 * Those who said yes and are not on the requesting side. The closure is looked at again wherever votes are counted,
 * not only when they are cast.
 */
export function supporters<Row extends VoteRow>(
  approval: Pick<ApprovalRow, 'requester'>,
  genuine: readonly Row[],
): readonly Row[] {
  return genuine.filter((vote) => vote.decision === 'approve' && !isInClosure(approval.requester, vote))
}

/** A vote for oneself, as a quorum counts it. */
export function castOf(vote: VoteRow): VoteRow & Cast {
  return { ...vote, authenticatedAt: vote.authenticated_at }
}

/**
 * Votes, as a quorum counts them: each person speaks once. Whoever voted themselves is not stood in for, nor is anybody by
 * two, nor anybody on the requesting side. A no comes first.
 * @param approval whose votes these are, all of them
 */
export function castsOf(
  approval: Pick<ApprovalRow, 'requester'>,
  genuine: readonly VoteRow[],
): readonly (VoteRow & Cast)[] {
  const spoken: Party[] = [...genuine]
  const casts = new Map<VoteRow, VoteRow & Cast>()
  for (const vote of [...opponents(genuine), ...genuine.filter(({ decision }) => decision === 'approve')]) {
    const absent = vote.delegation ? absentPerson(vote.delegation) : null
    const isFree = absent && !isInClosure(approval.requester, absent) && !spoken.some((one) => isSameParty(one, absent))
    if (isFree) spoken.push(absent)
    casts.set(vote, { ...castOf(vote), ...(isFree && { standsFor: absent }) })
  }
  return genuine.map((vote) => casts.get(vote) ?? castOf(vote))
}

/** Without those who were stood in for by a delegation that has ended: their delegates speak for themselves by now. */
export function withoutEnded<Row extends VoteRow & Cast>(
  casts: readonly Row[],
  isEnded: (id: string) => boolean,
): readonly Row[] {
  return casts.map((cast) => {
    const { standsFor, ...own } = cast
    const { delegation } = cast
    const isOver = delegation && (delegation.ended_at !== null || isEnded(delegation.id))
    // What is left out is optional.
    return standsFor && isOver ? (own as Row) : cast
  })
}

function isPermitted(keys: KeyPair<SecretKey>, vote: VoteRow): boolean {
  if (delegationOf(vote) === null) return true
  const { delegation } = vote
  return delegation !== undefined && isGenuineDelegation(keys, delegation) && permits(delegation, vote)
}

/** Those who said no. */
export function opponents<Row extends VoteRow>(genuine: readonly Row[]): readonly Row[] {
  return genuine.filter((vote) => vote.decision === 'deny')
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
  const ids = new Set(rows.flatMap((row) => delegationOf(row) ?? []))
  const delegations = new Map((await readDelegations(tx, { ids: [...ids] })).map((one) => [one.id, one]))
  for (const row of rows) {
    const delegation = delegations.get(delegationOf(row) ?? '')
    votes.get(row.approval)?.push(delegation ? { ...row, delegation } : row)
  }
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
  const by = row.delegation
  return {
    ...(by && { standsFor: { issuer: by.issuer, subject: by.subject, name: by.name } }),
    reviewer: toPerson(row),
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
    ...personMacParts(vote),
    vote.decision,
    canonicalJson(vote.reason),
    vote.via,
    String(vote.at.getTime()),
  ]
}
