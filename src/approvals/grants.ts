import { canonicalJson } from '../domain/canonical.ts'
import type { Grant } from '../domain/grant.ts'
import type { Covers } from '../domain/permit.ts'
import { isInClosure, type Principal } from '../domain/principal.ts'
import type { Requirement, RuleRef } from '../domain/verdict.ts'
import type { Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'
import { personMacParts, type SignedPerson, toPerson } from './signed-person.ts'

/** What a call has to be for a grant to be about it. */
export interface Sought {
  readonly principal_key: Buffer
  readonly requester: Principal
  readonly upstream: string
  readonly verb: string
  readonly resource: string
  readonly match_key: Buffer
}

/** What a grant says: never changes after it was given. */
interface GrantFacts extends Sought, SignedPerson {
  readonly id: string
  readonly approval: string
  readonly reason: string | null
  readonly covers: Covers
  /** Each with the hash of its words at that moment. */
  readonly rules: readonly (RuleRef & { readonly hash: string })[]
  readonly most_uses: number
  readonly given_at: Date
  readonly until: Date
}

/** A grant as the database has it. Nothing of it is believed before `isGenuineGrant`. */
export interface GrantRow extends GrantFacts {
  readonly kid: string
  readonly mac: Buffer
  readonly uses: number
  readonly revoked_at: Date | null
}

export const GRANT_COLUMNS = `id, approval, issuer, subject, name, groups, roles, assurance, authenticated_at, reason,
  principal_key, requester, upstream, verb, resource, match_key, covers, rules, most_uses, given_at, until, kid, mac,
  uses, revoked_at`

/** What has to be true of a grant `g` for it to stand for anybody. A no to what it was given on is a no to the rest. */
export const IN_FORCE = `g.revoked_at IS NULL AND g.uses < g.most_uses AND g.until > clock_timestamp()
  AND EXISTS (SELECT FROM approval a WHERE a.id = g.approval AND a.state <> 'denied')`

const MAC_LABEL = 'countersign grant v1'

/** Signs a grant with a key that the database does not hold: a grant that somebody writes into the table lets nothing go. */
export function signGrant(keys: KeyPair<SecretKey>, facts: GrantFacts): { kid: string; mac: Buffer } {
  return computeMac(keys, MAC_LABEL, macParts(facts))
}

export function isGenuineGrant(keys: KeyPair<SecretKey>, row: GrantRow): boolean {
  return isValidMac(keys, MAC_LABEL, macParts(row), row)
}

/** Whether it is about this call, and its reviewer not on the requesting side. Says nothing of its rules or its end. */
export function isAbout(grant: GrantRow, call: Sought): boolean {
  if (!grant.principal_key.equals(call.principal_key) || grant.upstream !== call.upstream) return false
  if (isInClosure(call.requester, grant)) return false
  if (grant.verb !== call.verb) return false
  switch (grant.covers) {
    case 'call':
      return grant.match_key.equals(call.match_key)
    case 'resource':
      return grant.resource === call.resource
    case 'rule':
      return true
  }
}

/** Names its rules as they are written: with other words, or another name, a rule is another one. */
export function rulesOf(grant: GrantRow): ReadonlySet<string> {
  return new Set(grant.rules.map(({ hash }) => hash))
}

const VIA = 'grant:'

/** How a vote says that a grant stood for its person. */
export function viaGrant(id: string): string {
  return `${VIA}${id}`
}

/** The id of the grant that stood for the person; null if they voted themselves. */
export function grantOf({ via }: { readonly via: string }): string | null {
  return via.startsWith(VIA) ? via.slice(VIA.length) : null
}

/** Those that may stand for somebody now, the soonest to end first. Empty if no requirement permits any. */
export async function findLiveGrants(
  tx: Tx,
  { call, requirements }: { call: Sought; requirements: readonly Requirement[] },
): Promise<readonly GrantRow[]> {
  if (!requirements.some(({ grant }) => grant !== undefined)) return []
  const { rows } = await tx.query<GrantRow>(
    `SELECT ${GRANT_COLUMNS} FROM reviewer_grant g
     WHERE principal_key = $1 AND upstream = $2 AND verb = $3 AND ${IN_FORCE}
     ORDER BY until, id LIMIT 200`,
    [call.principal_key, call.upstream, call.verb],
  )
  return rows
}

export async function readGrants(tx: Tx, ids: readonly string[]): Promise<readonly GrantRow[]> {
  if (ids.length === 0) return []
  const { rows } = await tx.query<GrantRow>(`SELECT ${GRANT_COLUMNS} FROM reviewer_grant WHERE id = ANY($1)`, [ids])
  return rows
}

/**
 * Counts one use of each, in the transaction of the spend. False if one of them is used up, over or revoked: then nothing
 * of that transaction may stay. A revocation that the log knows counts, whatever the row says.
 */
export async function countUses(tx: Tx, ids: readonly string[]): Promise<boolean> {
  if (ids.length === 0) return true
  // Always in the same order, so that two calls never wait for each other.
  await tx.query('SELECT FROM reviewer_grant WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE', [ids])
  const { rowCount } = await tx.query(
    `UPDATE reviewer_grant g SET uses = uses + 1
     WHERE id = ANY($1) AND ${IN_FORCE}
       AND NOT EXISTS (SELECT FROM audit_entry e WHERE e.approval_id = g.approval AND e.kind = 'grant_revoked'
         AND convert_from(e.body, 'UTF8')::json #>> '{detail,grant}' = g.id)`,
    [ids],
  )
  return rowCount === ids.length
}

/** False if this person has given one on this approval before. */
export async function insertGrant(tx: Tx, row: Omit<GrantRow, 'uses' | 'revoked_at'>): Promise<boolean> {
  const { rowCount } = await tx.query(
    `INSERT INTO reviewer_grant (id, approval, issuer, subject, name, groups, roles, assurance, authenticated_at, reason,
       principal_key, requester, upstream, verb, resource, match_key, covers, rules, most_uses, given_at, until, kid, mac)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
     ON CONFLICT DO NOTHING`,
    [
      row.id,
      row.approval,
      row.issuer,
      row.subject,
      row.name,
      JSON.stringify(row.groups),
      JSON.stringify(row.roles),
      row.assurance,
      row.authenticated_at,
      row.reason,
      row.principal_key,
      JSON.stringify(row.requester),
      row.upstream,
      row.verb,
      row.resource,
      row.match_key,
      row.covers,
      JSON.stringify(row.rules),
      row.most_uses,
      row.given_at,
      row.until,
      row.kid,
      row.mac,
    ],
  )
  return rowCount === 1
}

export function toGrant(row: GrantRow): Grant {
  return {
    id: row.id,
    approval: row.approval,
    by: toPerson(row),
    reason: row.reason,
    agent: row.requester,
    upstream: row.upstream,
    verb: row.verb,
    resource: row.resource,
    covers: row.covers,
    rules: row.rules.map(({ policy, rule }) => ({ policy, rule })),
    uses: row.uses,
    mostUses: row.most_uses,
    givenAt: row.given_at.getTime(),
    until: row.until.getTime(),
    revokedAt: row.revoked_at?.getTime() ?? null,
  }
}

function macParts(facts: GrantFacts): (string | Uint8Array)[] {
  return [
    facts.id,
    facts.approval,
    ...personMacParts(facts),
    canonicalJson(facts.reason),
    facts.principal_key,
    canonicalJson(facts.requester),
    facts.upstream,
    facts.verb,
    facts.resource,
    facts.match_key,
    facts.covers,
    canonicalJson(facts.rules),
    String(facts.most_uses),
    String(facts.given_at.getTime()),
    String(facts.until.getTime()),
  ]
}
