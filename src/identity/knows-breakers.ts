import type { Tx } from '../platform/database.ts'

/** The first schema that knows of circuit breakers; the release before runs without. */
export const BREAKER_SCHEMA = 11

export async function knowsBreakers(tx: Tx): Promise<boolean> {
  const { rowCount } = await tx.query('SELECT FROM countersign.migration WHERE version = $1', [BREAKER_SCHEMA])
  return rowCount > 0
}
