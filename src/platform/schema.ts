import type { Tx } from './database.ts'

/** Whether the store's schema has come so far: a release runs with that of the one before, too. */
export type HasSchema = (tx: Tx, version: number) => Promise<boolean>

/** Asks until it has, and never again: a schema does not go back. */
export function createSchemaCheck(): HasSchema {
  let known = 0
  return async (tx, version) => {
    if (known >= version) return true
    const { rows } = await tx.query<{ version: number | null }>(
      'SELECT max(version) AS version FROM countersign.migration',
    )
    known = rows[0]?.version ?? 0
    return known >= version
  }
}
