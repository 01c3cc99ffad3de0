import type { Tx } from '../platform/database.ts'

/** One window of one principal under one rule. */
export interface Window {
  /** As `policy/rule`. */
  readonly rule: string
  readonly principalKey: Buffer
  readonly unit: string
  readonly windowMs: number
}

/** Slices a window is kept in. */
const SLICES = 60

/** The width of one slice: a sixtieth of the window, at least a second. */
function sliceMs(windowMs: number): number {
  return Math.max(1000, Math.ceil(windowMs / SLICES))
}

/** Adds what was used, each window's in the slice of this moment. Rows are taken in one order, so that replicas never deadlock. */
export async function addUsage(
  tx: Tx,
  used: readonly (Window & { readonly amount: number })[],
  now: number,
): Promise<void> {
  if (used.length === 0) return
  const slices = used.map(({ windowMs }) => Math.floor(now / sliceMs(windowMs)) * sliceMs(windowMs))
  await tx.query(
    `INSERT INTO countersign.usage (rule, principal_key, unit, window_ms, bucket, amount, until)
     SELECT rule, decode(principal, 'hex'), unit, window_ms, to_timestamp(bucket / 1000.0), amount, to_timestamp(until / 1000.0)
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
       AS used (rule, principal, unit, window_ms, bucket, amount, until)
     ORDER BY rule, principal, unit, window_ms
     ON CONFLICT (rule, principal_key, unit, window_ms, bucket) DO UPDATE SET amount = usage.amount + excluded.amount`,
    [
      ...columnsOf(used),
      slices,
      used.map(({ amount }) => amount),
      used.map(({ windowMs }, index) => (slices[index] ?? now) + sliceMs(windowMs) + windowMs),
    ],
  )
}

/** What was used in each window, in the order asked. A slice counts until all of it has left the window. */
export async function sumUsage(tx: Tx, windows: readonly Window[], now: number): Promise<readonly number[]> {
  if (windows.length === 0) return []
  const { rows } = await tx.query<{ used: number | string }>(
    `SELECT coalesce(sum(usage.amount), 0)::bigint AS used
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY
       AS asked (rule, principal, unit, window_ms, place)
     LEFT JOIN countersign.usage ON usage.rule = asked.rule AND usage.principal_key = decode(asked.principal, 'hex')
       AND usage.unit = asked.unit AND usage.window_ms = asked.window_ms AND usage.until > to_timestamp($5::bigint / 1000.0)
     GROUP BY place ORDER BY place`,
    [...columnsOf(windows), now],
  )
  return rows.map(({ used }) => Number(used))
}

/** Deletes what counts for nothing any more. */
export async function sweepUsage(tx: Tx, now: number): Promise<number> {
  const { rowCount } = await tx.query(
    'DELETE FROM countersign.usage WHERE until <= to_timestamp($1::bigint / 1000.0)',
    [now],
  )
  return rowCount
}

function columnsOf(windows: readonly Window[]): readonly unknown[] {
  return [
    windows.map(({ rule }) => rule),
    windows.map(({ principalKey }) => principalKey.toString('hex')),
    windows.map(({ unit }) => unit),
    windows.map(({ windowMs }) => windowMs),
  ]
}
