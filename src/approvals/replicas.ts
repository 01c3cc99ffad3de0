import type { Clock } from '../platform/clock.ts'
import type { Tx } from '../platform/database.ts'
import { newCallId } from '../platform/id.ts'

/** Milliseconds without a heartbeat after which a process counts as dead. Four beats may be missed. */
export const DEAD_AFTER_MS = 20_000

/** A call's id is made when it arrives; until its intent is written, nobody knows of it. */
const UNKNOWN_FOR_MS = 120_000

/** The smallest id a call made at this moment can have; ids begin with their time. Milliseconds since the epoch. */
export function firstCallId(atMs: number): string {
  return newCallId(atMs, '00000000-0000-4000-8000-000000000000')
}

/**
 * Says that this process lives, and up to which call it owes no outcome. `oldestCallId` is that of the calls it has
 * under way.
 */
export async function beat(
  tx: Tx,
  { replicaId, clock, oldestCallId }: { replicaId: string; clock: Clock; oldestCallId: string | null },
): Promise<void> {
  const horizon = firstCallId(clock.now() - UNKNOWN_FOR_MS)
  const lowWater = oldestCallId !== null && oldestCallId < horizon ? oldestCallId : horizon
  await tx.query(
    `INSERT INTO replica (id, low_water) VALUES ($1, $2)
     ON CONFLICT (id) DO UPDATE SET beat_at = clock_timestamp(), low_water = EXCLUDED.low_water,
       stopped_at = NULL, settled_at = NULL`,
    [replicaId, lowWater],
  )
}

/** Says that this process ended in order. What it still owes is written by another one. */
export async function sayGoodbye(tx: Tx, replicaId: string): Promise<void> {
  await tx.query('UPDATE replica SET stopped_at = clock_timestamp() WHERE id = $1', [replicaId])
}
