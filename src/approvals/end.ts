import type { Approval, WithdrawalReason } from '../domain/approval.ts'
import type { Entry } from '../domain/entry.ts'
import type { Tx } from '../platform/database.ts'
import { createSchemaCheck } from '../platform/schema.ts'
import { decidedEntry } from './entries.ts'
import { revokeAllWithin } from './grant-desk.ts'
import type { Ground } from './ground.ts'
import { APPROVAL_COLUMNS, type ApprovalRow } from './row.ts'
import { announce, approvalOf, move, readHeld, readNow } from './store.ts'

/** The first schema that knows whom circuit breakers hold; the release before runs without. */
const BREAKER_SCHEMA = 11

/** Ends an open approval without a vote. Null if it is not open (any more). */
export async function withdraw(ground: Ground, id: string, reason: WithdrawalReason): Promise<Approval | null> {
  const withdrawn = await ground.database.transaction(async (tx) => {
    const row = await move(tx, id, { event: 'withdraw', at: await readNow(tx), reason })
    if (!row) return null
    await conclude(ground, tx, [row])
    const held = await readHeld(tx, ground.keys, { id })
    return held && approvalOf(held)
  })
  if (withdrawn) ground.ended.note([id])
  return withdrawn
}

/**
 * Expires those of these approvals whose time is over, by the database's clock. Any replica does it, when it sees one;
 * a row that another one is busy with is left to it.
 */
export async function expireOverdue(
  ground: Ground,
  which: { ids: readonly string[] | null; most: number },
): Promise<readonly string[]> {
  const expired = await ground.database.transaction(async (tx) => {
    const { rows } = await tx.query<ApprovalRow>(
      `WITH overdue AS MATERIALIZED (
         SELECT id FROM approval
         WHERE state IN ('pending', 'approved') AND ($1::text[] IS NULL OR id = ANY($1))
           AND (CASE state WHEN 'pending' THEN expires_at ELSE use_by END) <= clock_timestamp()
         ORDER BY id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
       UPDATE approval SET state = 'expired', decided_at = date_trunc('milliseconds', clock_timestamp()), reason = NULL
       WHERE id IN (SELECT id FROM overdue)
       RETURNING ${APPROVAL_COLUMNS}`,
      [which.ids, which.most],
    )
    await conclude(ground, tx, rows)
    return rows.map((row) => row.id)
  })
  ground.ended.note(expired)
  return expired
}

/**
 * Withdraws every approval opened before a moment, a batch at a time: after a failover or a restore nobody can tell
 * which of them had been used. So are grants. Returns how many approvals there were.
 */
export async function withdrawAll(
  ground: Ground,
  { reason, openedBefore }: { reason: WithdrawalReason; openedBefore: Date },
): Promise<number> {
  await ground.database.transaction(async (tx) => {
    const entries = await revokeAllWithin(ground, tx, openedBefore)
    if (entries.length > 0) await ground.within(tx, entries)
  })
  for (let count = 0; ; ) {
    const ended = await ground.database.transaction(async (tx) => {
      const { rows } = await tx.query<ApprovalRow>(
        `WITH older AS MATERIALIZED (
           SELECT id FROM approval WHERE state IN ('pending', 'approved') AND created_at < $2
           ORDER BY id LIMIT 100 FOR NO KEY UPDATE)
         UPDATE approval SET state = 'withdrawn', decided_at = date_trunc('milliseconds', clock_timestamp()), reason = $1
         WHERE id IN (SELECT id FROM older)
         RETURNING ${APPROVAL_COLUMNS}`,
        [reason, openedBefore],
      )
      await conclude(ground, tx, rows)
      return rows.map((row) => row.id)
    })
    if (ended.length === 0) return count
    ground.ended.note(ended)
    count += ended.length
  }
}

/**
 * Withdraws the open approvals of those who are suspended, so many at once. Any replica does it; a row that another one
 * is busy with is left to it. Nobody could use them any more: this tells those who wait. Returns how many there were.
 */
export async function withdrawSuspended(ground: Ground, most: number): Promise<number> {
  const where = `a.state IN ('pending', 'approved') AND EXISTS (${callingSideIn('suspension')})`
  return noteEnded(ground, (tx) => withdrawWhere(ground, tx, { where, reason: 'suspended', most }))
}

/**
 * Withdraws approvals that nobody has to decide any more: only circuit breakers asked for them, and none holds anyone on
 * their calling side since. Any replica does it, of rows that no other one is busy with. Returns how many there were.
 */
export async function withdrawLifted(ground: Ground, most: number): Promise<number> {
  if (!(await ground.hasSchema(ground.database, BREAKER_SCHEMA))) return 0
  const where = `a.state = 'pending' AND a.requirements @> '[{"breaker": "asks"}]'
    AND NOT EXISTS (${callingSideIn('breaker_hold')})`
  return noteEnded(ground, (tx) => withdrawWhere(ground, tx, { where, reason: 'breaker_lifted', most }))
}

/** Ends approvals in a transaction; what it ended is noted once it is committed. Returns how many. */
async function noteEnded(ground: Ground, work: (tx: Tx) => Promise<readonly string[]>): Promise<number> {
  const ended = await ground.database.transaction(work)
  ground.ended.note(ended)
  return ended.length
}

/** Rows of a table of parties that name someone on the calling side of approval `a`. */
function callingSideIn(table: 'suspension' | 'breaker_hold'): string {
  return `SELECT FROM ${table} t
    CROSS JOIN LATERAL jsonb_build_object('issuer', t.issuer, 'subject', t.subject) AS party
    WHERE a.requester @> party OR a.requester -> 'onBehalfOf' @> party
      OR a.requester -> 'actors' @> jsonb_build_array(party)`
}

async function withdrawWhere(
  ground: Ground,
  tx: Tx,
  { where, reason, most }: { where: string; reason: WithdrawalReason; most: number },
): Promise<readonly string[]> {
  const { rows } = await tx.query<ApprovalRow>(
    `WITH ending AS MATERIALIZED (
       SELECT a.id FROM approval a WHERE ${where} ORDER BY a.id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED)
     UPDATE approval SET state = 'withdrawn', decided_at = date_trunc('milliseconds', clock_timestamp()), reason = $2
     WHERE id IN (SELECT id FROM ending)
     RETURNING ${APPROVAL_COLUMNS}`,
    [most, reason],
  )
  await conclude(ground, tx, rows)
  return rows.map((row) => row.id)
}

/**
 * Ends every open approval and every grant in a caller's transaction, with reason `store_failover`, and gives the entries that say so:
 * the caller chains them, last.
 */
export async function withdrawAllWithin(tx: Tx): Promise<readonly Entry[]> {
  const { rows } = await tx.query<ApprovalRow>(
    `UPDATE approval SET state = 'withdrawn', decided_at = date_trunc('milliseconds', clock_timestamp()),
       reason = 'store_failover'
     WHERE state IN ('pending', 'approved') RETURNING ${APPROVAL_COLUMNS}`,
  )
  const ids = rows.map((row) => row.id)
  await announce(tx, ids)
  return [...(await revokeAllWithin({ hasSchema: createSchemaCheck() }, tx, null)), ...rows.map(entryOfEnd)]
}

/** What follows the end of approvals, in the same transaction: results owed, replicas told, entries chained last. */
async function conclude(ground: Ground, tx: Tx, rows: readonly ApprovalRow[]): Promise<void> {
  if (rows.length === 0) return
  const ids = rows.map((row) => row.id)
  await announce(tx, ids)
  await ground.within(tx, rows.map(entryOfEnd))
  for (const row of rows) observeEnd(ground, row)
}

function entryOfEnd(row: ApprovalRow): Entry {
  return decidedEntry(row, { state: row.state, ...(row.reason !== null && { cause: row.reason }) })
}

/** Counts how long an approval was open. */
export function observeEnd({ metrics }: Ground, row: ApprovalRow): void {
  const seconds = ((row.decided_at ?? row.created_at).getTime() - row.created_at.getTime()) / 1000
  metrics.holdSeconds.observe({ upstream: row.upstream, state: row.state }, seconds)
}
