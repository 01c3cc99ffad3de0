import type { OutcomeName } from '../domain/entry.ts'
import type { Tx } from '../platform/database.ts'
import { unknownEntry } from './entries.ts'
import type { Ground } from './ground.ts'
import { DEAD_AFTER_MS, firstCallId } from './replicas.ts'
import { APPROVAL_COLUMNS, type ApprovalRow } from './row.ts'
import { START_WITHIN_MS } from './spend.ts'
import { notify } from './store.ts'

const BATCH = 200

/** Call ids begin with the time of the process that made them, and the end of a process is told by the store's. */
const MOST_SKEW_MS = 600_000

/**
 * Closes approvals that were spent by a process that has ended since: with the outcome that the log has, or as
 * `unknown`. Their rows are locked meanwhile, so that only one replica says it. Returns whether there may be more.
 */
export async function closeSpent(ground: Ground): Promise<boolean> {
  return ground.database.transaction(async (tx) => {
    const { rows } = await tx.query<ApprovalRow & { known: OutcomeName | null; is_abandoned: boolean }>(
      `SELECT ${APPROVAL_COLUMNS},
         (SELECT e.outcome FROM audit_entry e WHERE e.call_id = spent_call::uuid AND e.kind = 'outcome'
            AND e.outcome <> 'pending' ORDER BY e.seq DESC LIMIT 1) AS known,
         NOT EXISTS (SELECT FROM replica r WHERE r.id = spent_by AND r.stopped_at IS NULL
            AND r.beat_at > clock_timestamp() - $2 * interval '1 millisecond') AS is_abandoned
       FROM approval
       WHERE state = 'spent' AND outcome IS NULL AND spent_at < clock_timestamp() - $1 * interval '1 millisecond'
       ORDER BY spent_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED`,
      [2 * START_WITHIN_MS, DEAD_AFTER_MS, BATCH],
    )
    const ended = rows.flatMap((row) => {
      const outcome = row.known ?? (row.is_abandoned ? ('unknown' as const) : null)
      return outcome === null ? [] : [{ row, outcome, isNews: row.known === null }]
    })
    if (ended.length === 0) return false
    const ids = ended.map(({ row }) => row.id)
    await tx.query(
      `UPDATE approval a SET outcome = o.outcome FROM unnest($1::text[], $2::text[]) AS o (id, outcome)
       WHERE a.id = o.id`,
      [ids, ended.map(({ outcome }) => outcome)],
    )
    await notify(tx, ids)
    const entries = ended.flatMap(({ row, isNews }) =>
      isNews && row.spent_call !== null ? [unknownEntry(row, row.spent_call)] : [],
    )
    if (entries.length > 0) await ground.within(tx, entries)
    return rows.length === BATCH
  })
}

interface Orphan {
  readonly call_id: string
  readonly upstream: string | null
  readonly effect: string | null
}

/**
 * Writes the outcomes that a process which has ended still owed: its calls with an intent and no outcome. A call that
 * was let through is `unknown`, one that was not is `refused`. Call ids are ordered by time, and every process says how
 * far it owes nothing; so only ids below what all living processes may still have under way are looked at. The ended
 * process's row is locked meanwhile and remembers how far it was looked at, so that each outcome is written once.
 * Returns whether there may be more.
 */
export async function settleEnded(ground: Ground): Promise<boolean> {
  return ground.database.transaction(async (tx) => {
    const range = await lockEnded(tx)
    if (!range) return false
    const { rows } = await tx.query<Orphan>(
      `SELECT DISTINCT ON (i.call_id) i.call_id, i.upstream, i.effect FROM audit_entry i
       WHERE i.call_id >= $1 AND i.call_id < $2 AND i.kind = 'intent'
         AND NOT EXISTS (SELECT FROM audit_entry o WHERE o.call_id = i.call_id AND o.kind = 'outcome')
         AND NOT EXISTS (SELECT FROM approval a WHERE a.spent_call = i.call_id::text)
       ORDER BY i.call_id, i.seq LIMIT $3`,
      [range.from, range.to, BATCH],
    )
    const last = rows.at(-1)
    const isWhole = rows.length < BATCH
    const seenTo = isWhole || !last ? range.to : last.call_id
    await tx.query(
      `UPDATE replica SET low_water = $2, settled_at = CASE WHEN $3 THEN clock_timestamp() END WHERE id = $1`,
      [range.id, seenTo, isWhole && range.isLast],
    )
    if (rows.length > 0) {
      await ground.within(
        tx,
        rows.map(({ call_id, upstream, effect }) => ({
          kind: 'outcome' as const,
          callId: call_id,
          ...(upstream !== null && { upstream }),
          outcome: effect === 'allow' ? ('unknown' as const) : ('refused' as const),
          detail: { cause: 'gateway_ended' },
        })),
      )
    }
    // Of this process or of another: where many die, one a round would never catch up.
    return true
  })
}

interface Range {
  readonly id: string
  readonly from: string
  /** Not included. */
  readonly to: string
  /** Whether nothing of this process is left after it. */
  readonly isLast: boolean
}

async function lockEnded(tx: Tx): Promise<Range | null> {
  const { rows } = await tx.query<{ id: string; low_water: string; ended_at: Date; living: string | null }>(
    `SELECT d.id, d.low_water::text, coalesce(d.stopped_at, d.beat_at + $1 * interval '1 millisecond') AS ended_at,
       (SELECT l.low_water::text FROM replica l
        WHERE l.stopped_at IS NULL AND l.beat_at > clock_timestamp() - $1 * interval '1 millisecond'
        ORDER BY l.low_water LIMIT 1) AS living
     FROM replica d
     WHERE d.settled_at IS NULL AND (d.stopped_at IS NOT NULL OR
       d.beat_at <= clock_timestamp() - $1 * interval '1 millisecond')
     ORDER BY d.low_water LIMIT 1 FOR UPDATE SKIP LOCKED`,
    [DEAD_AFTER_MS],
  )
  const ended = rows[0]
  // Without a living process there is nobody to ask; the one that asks beats first.
  if (!ended || ended.living === null) return null
  const end = firstCallId(ended.ended_at.getTime() + MOST_SKEW_MS)
  const isLast = end <= ended.living
  if (!isLast && ended.living <= ended.low_water) return null
  return { id: ended.id, from: ended.low_water, to: isLast ? end : ended.living, isLast }
}
