import { canonicalJson } from '../domain/canonical.ts'
import type { Absentee, Delegation } from '../domain/delegation.ts'
import { isEntitled, type Voter } from '../domain/entitlement.ts'
import { isInClosure, isSameParty, type Party, type Person } from '../domain/principal.ts'
import type { Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'
import type { Ground } from './ground.ts'
import { momentOf } from './quorum.ts'
import type { ApprovalRow } from './row.ts'
import { personMacParts, type SignedPerson, toPerson } from './signed-person.ts'

/** The first schema that knows of delegations; the release before runs without. */
export const DELEGATIONS_SCHEMA = 13

/** What a delegation says: never changes after it was made. */
interface DelegationFacts extends SignedPerson {
  readonly id: string
  readonly delegate_issuer: string
  readonly delegate_subject: string
  readonly delegate_name: string | null
  readonly made_at: Date
  readonly begins_at: Date
  readonly until: Date
}

/** A delegation as the database has it. Nothing of it is believed before `isGenuineDelegation`. */
export interface DelegationRow extends DelegationFacts {
  readonly kid: string
  readonly mac: Buffer
  readonly ended_at: Date | null
}

const COLUMNS = `d.id, d.issuer, d.subject, d.name, d.groups, d.roles, d.assurance, d.authenticated_at, d.delegate_issuer,
  d.delegate_subject, d.delegate_name, d.made_at, d.begins_at, d.until, d.kid, d.mac, d.ended_at`

const MAC_LABEL = 'countersign delegation v1'

export function signDelegation(keys: KeyPair<SecretKey>, facts: DelegationFacts): { kid: string; mac: Buffer } {
  return computeMac(keys, MAC_LABEL, macParts(facts))
}

export function isGenuineDelegation(keys: KeyPair<SecretKey>, row: DelegationRow): boolean {
  return isValidMac(keys, MAC_LABEL, macParts(row), row)
}

export function toDelegation(row: DelegationRow): Delegation {
  return {
    id: row.id,
    person: { issuer: row.issuer, subject: row.subject, name: row.name },
    delegate: { ...delegateOf(row), name: row.delegate_name },
    from: row.begins_at.getTime(),
    until: row.until.getTime(),
    madeAt: row.made_at.getTime(),
  }
}

export function delegateOf(row: DelegationRow): Party {
  return { issuer: row.delegate_issuer, subject: row.delegate_subject }
}

/** Who is away, as they stood when they said so. */
export function absentPerson(row: DelegationRow): Person {
  return toPerson(row)
}

const VIA = 'delegate:'

/** How a vote says that it was cast for somebody who is away. */
export function viaDelegation(id: string, via: string): string {
  return `${VIA}${id}:${via}`
}

/** The id of the delegation that a vote was cast by; null if its person voted for themselves. */
export function delegationOf({ via }: { readonly via: string }): string | null {
  return via.startsWith(VIA) ? (via.slice(VIA.length).split(':')[0] ?? '') : null
}

/** Those that are not over, or those of these ids; the first to begin first. */
export async function readDelegations(
  tx: Tx,
  which: { readonly ids: readonly string[] } | { readonly open: Party | null },
): Promise<readonly DelegationRow[]> {
  if ('ids' in which) {
    if (which.ids.length === 0) return []
    const { rows } = await tx.query<DelegationRow>(`SELECT ${COLUMNS} FROM delegation d WHERE id = ANY($1)`, [
      which.ids,
    ])
    return rows
  }
  const { issuer = null, subject = null } = which.open ?? {}
  const { rows } = await tx.query<DelegationRow>(
    `SELECT ${COLUMNS} FROM delegation d WHERE ended_at IS NULL AND until > clock_timestamp()
       AND ($1::text IS NULL OR (issuer = $1 AND subject = $2) OR (delegate_issuer = $1 AND delegate_subject = $2))
     ORDER BY begins_at, id LIMIT 500`,
    [issuer, subject],
  )
  return rows
}

/**
 * The delegations by which a person stands in for others at this moment: as the delegate that they name, never as the
 * delegate of a delegate, and for nobody who is suspended.
 */
export async function readStandIns(
  { keys, ended, hasSchema }: Pick<Ground, 'keys' | 'ended' | 'hasSchema'>,
  tx: Tx,
  person: Party,
): Promise<readonly DelegationRow[]> {
  if (!(await hasSchema(tx, DELEGATIONS_SCHEMA))) return []
  const { rows } = await tx.query<DelegationRow>(
    `SELECT ${COLUMNS} FROM delegation d
     WHERE delegate_issuer = $1 AND delegate_subject = $2 AND ended_at IS NULL
       AND begins_at <= clock_timestamp() AND until > clock_timestamp()
       AND NOT EXISTS (SELECT FROM suspension s WHERE s.issuer = d.issuer AND s.subject = d.subject)
     ORDER BY until, id LIMIT 100`,
    [person.issuer, person.subject],
  )
  return rows.filter((row) => isGenuineDelegation(keys.mac, row) && !ended.has(row.id))
}

/**
 * The delegation by which a person may decide an approval that does not name them: where it names somebody who is away,
 * has not voted themselves, and neither of the two is on the requesting side. Null where they vote for themselves, or not
 * at all.
 */
export function findStandIn(
  row: Pick<ApprovalRow, 'requester' | 'requirements' | 'created_at'>,
  {
    person,
    standIns,
    votes,
    now,
  }: { person: Voter; standIns: readonly DelegationRow[]; votes: readonly Party[]; now: Date },
): DelegationRow | null {
  if (isInClosure(row.requester, person)) return null
  const moment = momentOf({ at: now }, row.created_at)
  const isGained = (standsFor: Absentee) =>
    row.requirements.some(
      (one) => !isEntitled(one, person, moment) && isEntitled(one, { ...person, standsFor }, moment),
    )
  const hasSpoken = (one: Party) => votes.some((vote) => isSameParty(vote, one))
  return (
    standIns.find((one) => !isInClosure(row.requester, one) && !hasSpoken(one) && isGained(absentPerson(one))) ?? null
  )
}

/** Whether the delegation lets this vote be cast: made by whoever it names, while it lasted. */
export function permits(row: DelegationRow, vote: Party & { readonly at: Date }): boolean {
  return isSameParty(delegateOf(row), vote) && row.begins_at <= vote.at && vote.at < row.until
}

function macParts(facts: DelegationFacts): (string | Uint8Array)[] {
  return [
    facts.id,
    ...personMacParts(facts),
    canonicalJson([facts.delegate_issuer, facts.delegate_subject, facts.delegate_name]),
    String(facts.made_at.getTime()),
    String(facts.begins_at.getTime()),
    String(facts.until.getTime()),
  ]
}
