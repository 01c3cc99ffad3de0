import type { BreakerTerms } from '../domain/breaker.ts'
import type { Party } from '../domain/principal.ts'
import { formatRule } from '../domain/verdict.ts'
import type { Tx } from '../platform/database.ts'

/** The parts of a window that are counted apart: what was in one counts until all of it has left the window. */
const SLICES = 60

/**
 * Counts one more for each breaker, and returns how many of that agent each has now in its window, in the order given. The
 * row of a breaker and an agent is locked by the statement, so that of any number of calls at once, on any replica, each
 * gets a number of its own. Rows are taken in one order, so that replicas never deadlock. The clock is the store's.
 */
export async function countOnce(
  tx: Tx,
  breakers: readonly Omit<BreakerTerms, 'effect' | 'moreThan'>[],
  agent: Party,
): Promise<readonly number[]> {
  const names = breakers.map(({ ref }) => formatRule(ref))
  const { rows } = await tx.query<{ breaker: string; total: number | string }>(
    `INSERT INTO countersign.breaker_count AS c (breaker, counts, window_ms, issuer, subject, slices, amounts, until)
     SELECT breaker, counts, window_ms, $4, $5, ARRAY[ms - ms % width], ARRAY[1],
       to_timestamp((ms + window_ms + width) / 1000.0)
     FROM (SELECT breaker, counts, window_ms, greatest(1, window_ms / ${SLICES}) AS width,
         floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms
       FROM unnest($1::text[], $2::text[], $3::bigint[]) AS b (breaker, counts, window_ms)) asked
     ORDER BY breaker, counts, window_ms
     ON CONFLICT (breaker, counts, window_ms, issuer, subject) DO UPDATE SET
       (slices, amounts) = (SELECT array_agg(slice ORDER BY slice), array_agg(amount ORDER BY slice) FROM (
           SELECT slice, sum(amount)::bigint AS amount FROM (
             SELECT slice, amount FROM unnest(c.slices, c.amounts) AS kept (slice, amount)
             UNION ALL SELECT excluded.slices[1], 1) added
           WHERE slice > excluded.slices[1] - c.window_ms - greatest(1, c.window_ms / ${SLICES})
           GROUP BY slice) summed),
       until = greatest(c.until, excluded.until)
     RETURNING breaker, (SELECT sum(amount) FROM unnest(amounts) AS a (amount)) AS total`,
    [
      names,
      breakers.map(({ counts }) => counts),
      breakers.map(({ windowMs }) => windowMs),
      agent.issuer,
      agent.subject,
    ],
  )
  const totals = new Map(rows.map(({ breaker, total }) => [breaker, Number(total)]))
  return names.map((name) => totals.get(name) ?? 0)
}

/** What became of an attempt to trip a breaker. */
export interface Trip {
  /** False if it does not count as many any more: a person has resumed the agent meanwhile. */
  readonly isTripped: boolean
  /** False if the agent was held or stopped already. */
  readonly isChanged: boolean
  readonly counted: number
  /** The suspension epoch since then. */
  readonly epoch: number
}

/** In a transaction that then does nothing but chain its entry: it locks the chain's head. */
export async function trip(
  tx: Tx,
  breaker: BreakerTerms,
  { agent, why }: { agent: Party; why: string },
): Promise<Trip> {
  const { ref, counts, windowMs, moreThan, effect } = breaker
  const { rows } = await tx.query<{ is_tripped: boolean; is_changed: boolean; counted: number | null; epoch: number }>(
    `SELECT is_tripped, is_changed, counted, epoch
     FROM countersign.trip_breaker($1, $2, $3::bigint, $4::bigint, $5, $6, $7, $8)`,
    [formatRule(ref), counts, windowMs, moreThan, effect, agent.issuer, agent.subject, why],
  )
  // A function that returns one row returns one.
  const row = rows[0] as (typeof rows)[number]
  return { isTripped: row.is_tripped, isChanged: row.is_changed, counted: row.counted ?? 0, epoch: row.epoch }
}

/** Deletes what counts for nothing any more. A row that somebody is busy with is left for the next time. */
export async function sweepCounts(tx: Tx): Promise<void> {
  await tx.query(
    `WITH over AS MATERIALIZED (
       SELECT ctid FROM countersign.breaker_count WHERE until <= clock_timestamp() FOR UPDATE SKIP LOCKED)
     DELETE FROM countersign.breaker_count WHERE ctid IN (SELECT ctid FROM over)`,
  )
}
