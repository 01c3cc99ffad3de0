import type { Entry } from '../domain/entry.ts'
import type { Grant, RevokeRequest, RevokeResult } from '../domain/grant.ts'
import { isSameParty, type Party, type Person } from '../domain/principal.ts'
import type { Tx } from '../platform/database.ts'
import { grantRevokedEntry } from './entries.ts'
import { GRANT_COLUMNS, type GrantRow, IN_FORCE, isGenuineGrant, toGrant } from './grants.ts'
import type { Ground } from './ground.ts'

/** Grants, for people to look at and to take back. */
export interface GrantDesk {
  /** Those that are in force and that this person may see, the newest first: their own, those of their agents, or all. */
  list(person: Person): Promise<readonly Grant[]>
  /** At once, on every replica: what it had approved and was not forwarded yet is not forwarded any more. */
  revoke(request: RevokeRequest): Promise<RevokeResult>
}

const MOST_LISTED = 500

/** The first schema that knows of grants; the release before runs without. */
const SCHEMA = 8

export function createGrantDesk({ database, keys, within }: Pick<Ground, 'database' | 'keys' | 'within'>): GrantDesk {
  return {
    async list(person) {
      const { rows } = await database.query<GrantRow>(
        `SELECT ${GRANT_COLUMNS} FROM reviewer_grant g
         WHERE ${IN_FORCE}
           AND ($1 OR (issuer = $2 AND subject = $3)
             OR requester -> 'owner' @> jsonb_build_object('issuer', $2::text, 'subject', $3::text))
         ORDER BY given_at DESC, id LIMIT $4`,
        [seesAll(person), person.issuer, person.subject, MOST_LISTED],
      )
      return rows.filter((row) => isGenuineGrant(keys.mac, row) && maySee(row, person)).map(toGrant)
    },

    async revoke(request) {
      return database.transaction(async (tx) => {
        const { rows } = await tx.query<GrantRow>(
          `SELECT ${GRANT_COLUMNS} FROM reviewer_grant WHERE id = $1 FOR NO KEY UPDATE`,
          [request.grant],
        )
        const [row] = rows
        if (!row || !isGenuineGrant(keys.mac, row) || !maySee(row, request.by)) {
          return { done: false, fault: 'not_found' }
        }
        if (!mayRevoke(row, request.by)) return { done: false, fault: 'not_allowed' }
        if (row.revoked_at !== null) return { done: true, isChanged: false, grant: toGrant(row) }
        // Also one whose time is over: that somebody revoked it is said.
        const [after = row] = await markRevoked(tx, [row.id])
        await within(tx, [grantRevokedEntry(after, { by: request.by, reason: request.reason, via: request.via })])
        return { done: true, isChanged: true, grant: toGrant(after) }
      })
    },
  }
}

/**
 * Revokes every grant in a caller's transaction, and gives the entries that say so: after a failover or a restore nobody
 * can tell how often they were used. In a store that knows no grants it does nothing.
 */
export async function revokeAllWithin(
  { hasSchema }: Pick<Ground, 'hasSchema'>,
  tx: Tx,
  givenBefore: Date | null,
): Promise<readonly Entry[]> {
  if (!(await hasSchema(tx, SCHEMA))) return []
  const { rows } = await tx.query<{ id: string }>(
    `SELECT id FROM reviewer_grant
     WHERE revoked_at IS NULL AND until > clock_timestamp() AND ($1::timestamptz IS NULL OR given_at < $1)`,
    [givenBefore],
  )
  const revoked = await markRevoked(
    tx,
    rows.map(({ id }) => id),
  )
  return revoked.map((row) => grantRevokedEntry(row, { by: null, reason: null, via: 'store_failover' }))
}

/** Who takes a yes back takes back what they granted with it; the entries that say so. */
export async function revokeOwnWithin(
  tx: Tx,
  { approval, by, via }: { approval: string; by: Party; via: string },
): Promise<readonly Entry[]> {
  const { rows } = await tx.query<{ id: string }>(
    'SELECT id FROM reviewer_grant WHERE approval = $1 AND issuer = $2 AND subject = $3 AND revoked_at IS NULL',
    [approval, by.issuer, by.subject],
  )
  const revoked = await markRevoked(
    tx,
    rows.map(({ id }) => id),
  )
  return revoked.map((row) => grantRevokedEntry(row, { by, reason: null, via }))
}

async function markRevoked(tx: Tx, ids: readonly string[]): Promise<readonly GrantRow[]> {
  const { rows } = await tx.query<GrantRow>(
    `UPDATE reviewer_grant SET revoked_at = date_trunc('milliseconds', clock_timestamp())
     WHERE id = ANY($1) AND revoked_at IS NULL RETURNING ${GRANT_COLUMNS}`,
    [ids],
  )
  return rows
}

/** The one who gave it, and those who run the place. */
function mayRevoke(grant: Party, person: Person): boolean {
  return isSameParty(grant, person) || person.roles.includes('operator') || person.roles.includes('admin')
}

function maySee({ issuer, subject, requester }: GrantRow, person: Person): boolean {
  const isOwner = requester.owner !== null && isSameParty(requester.owner, person)
  return isOwner || seesAll(person) || isSameParty({ issuer, subject }, person)
}

function seesAll({ roles }: Person): boolean {
  return roles.includes('auditor') || roles.includes('operator') || roles.includes('admin')
}
