import type { Approval } from '../domain/approval.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import type { Tx } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import { sealAsDetached } from './finish.ts'
import type { Ground } from './ground.ts'
import { isOver, refuseFor, refuseSpent } from './refusals.ts'
import { APPROVAL_COLUMNS, type ApprovalRow, isGenuine } from './row.ts'
import { approvalOf, type Held, isOverdue, notify, readHeld, readNow, withVotes } from './store.ts'

/** What finds the approval that a call belongs to. */
export interface HoldRequest {
  readonly principalKey: Buffer
  readonly upstream: string
  readonly matchKey: Buffer
  readonly digest: Buffer
  /** SHA-256 of the Idempotency-Key; null if the client sent none. */
  readonly keyHash: Buffer | null
  readonly isDetached: boolean
  readonly repeatDenialMs: number
}

export interface Earlier {
  /** `join`: wait for this one. The other two are in the way and have to be ended first. */
  readonly fate: 'join' | 'overdue' | 'tampered'
  readonly held: Held
}

/**
 * What an earlier call means for this one: an approval to attach to, a refusal, or nothing. The match key finds the
 * approval, the digest tells whether a denial was of these very bytes. Two calls under one Idempotency-Key have to be
 * the same call; once it was carried out, the key never starts another.
 */
export async function findEarlier(
  tx: Tx,
  keys: Pick<Keys, 'mac'>,
  request: HoldRequest,
): Promise<Earlier | Refusal | null> {
  const keyed = request.keyHash && (await findKeyed(tx, request, request.keyHash))
  if (keyed && !keyed.matchKey.equals(request.matchKey)) return refuseReusedKey()
  if (keyed?.row.state === 'spent') {
    // Its response is kept by request, and fetched where the first answer pointed to.
    const isFetchable = request.isDetached && keyed.row.is_detached && isGenuine(keys.mac, keyed.row)
    return isFetchable ? toEarlier(tx, keys, keyed.row) : refuseSpent(keyed.row.id)
  }
  // Looked for again below it might be used meanwhile, and be missed: the key would begin another one.
  if (keyed && !isOver(keyed.row.state)) return toEarlier(tx, keys, keyed.row)
  const { rows: open } = await tx.query<ApprovalRow>(
    `SELECT ${APPROVAL_COLUMNS} FROM approval
     WHERE principal_key = $1 AND match_key = $2 AND state IN ('pending', 'approved')`,
    [request.principalKey, request.matchKey],
  )
  if (open[0]) return toEarlier(tx, keys, open[0])
  return findDenial(tx, keys, request)
}

async function toEarlier(tx: Tx, keys: Pick<Keys, 'mac'>, row: ApprovalRow): Promise<Earlier | null> {
  const [held] = await withVotes(tx, keys, [row])
  if (!held) return null
  if (!held.isGenuine) return { fate: 'tampered', held }
  return { fate: isOverdue(row, await readNow(tx)) ? 'overdue' : 'join', held }
}

async function findKeyed(
  tx: Tx,
  request: HoldRequest,
  keyHash: Buffer,
): Promise<{ matchKey: Buffer; row: ApprovalRow } | null> {
  const { rows: keyed } = await tx.query<{ approval: string; match_key: Buffer }>(
    'SELECT approval, match_key FROM idempotency WHERE principal_key = $1 AND upstream = $2 AND key_hash = $3',
    [request.principalKey, request.upstream, keyHash],
  )
  if (!keyed[0]) return null
  const { rows } = await tx.query<ApprovalRow>(`SELECT ${APPROVAL_COLUMNS} FROM approval WHERE id = $1`, [
    keyed[0].approval,
  ])
  return rows[0] ? { matchKey: keyed[0].match_key, row: rows[0] } : null
}

/** A denial answers the same bytes for a while, so that an agent cannot wear its reviewers out. */
async function findDenial(tx: Tx, keys: Pick<Keys, 'mac'>, request: HoldRequest): Promise<Refusal | null> {
  const { rows } = await tx.query<{ id: string }>(
    `SELECT id FROM approval
     WHERE principal_key = $1 AND digest = $2 AND state = 'denied'
       AND decided_at > clock_timestamp() - $3 * interval '1 millisecond'
     ORDER BY decided_at DESC LIMIT 1`,
    [request.principalKey, request.digest, request.repeatDenialMs],
  )
  const denied = rows[0] && (await readHeld(tx, keys, rows[0]))
  return denied?.isGenuine && denied.row.state === 'denied' ? refuseFor(approvalOf(denied)) : null
}

/**
 * Lets a call wait for an approval that another call opened. Null if it ended meanwhile. A client that asks for the
 * response to be kept makes the approval a detached one.
 */
export async function attach(ground: Ground, held: Held, request: HoldRequest): Promise<Approval | Refusal | null> {
  const { database, keys } = ground
  const { row } = held
  const mustDetach = request.isDetached && !row.is_detached
  if (!mustDetach && !request.keyHash) return approvalOf(held)
  return database.transaction(async (tx) => {
    if (request.keyHash && !(await noteKey(tx, request, row.id))) return refuseReusedKey()
    if (!mustDetach) return approvalOf(held)
    await sealAsDetached(ground, tx, row.id)
    const { rows } = await tx.query<ApprovalRow>(
      `UPDATE approval SET is_detached = true WHERE id = $1 AND state IN ('pending', 'approved')
       RETURNING ${APPROVAL_COLUMNS}`,
      [row.id],
    )
    const [detached] = await withVotes(tx, keys, rows)
    if (!detached) return null
    await notify(tx, [row.id])
    return approvalOf(detached)
  })
}

/** Ties an Idempotency-Key to an approval. False if it is another call's. */
export async function noteKey(tx: Tx, request: HoldRequest, approval: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `INSERT INTO idempotency (principal_key, upstream, key_hash, match_key, approval) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (principal_key, upstream, key_hash) DO UPDATE SET approval = EXCLUDED.approval
       WHERE idempotency.match_key = EXCLUDED.match_key`,
    [request.principalKey, request.upstream, request.keyHash, request.matchKey, approval],
  )
  return rowCount === 1
}

function refuseReusedKey(): Refusal {
  return refuse(
    'key_reused',
    'Not executed. This Idempotency-Key belongs to another call. Use a new one for a new call.',
  )
}
