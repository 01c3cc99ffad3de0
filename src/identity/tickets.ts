import type { Tx } from '../platform/database.ts'

/** Uses up what is good once: a ticket, or a challenge. False if it was used before. `endsAt` in milliseconds since the epoch. */
export async function useUp(tx: Tx, { hash, endsAt }: { hash: Buffer; endsAt: number }): Promise<boolean> {
  const { rowCount } = await tx.query(
    'INSERT INTO used_ticket (id_hash, ends_at) VALUES ($1, $2) ON CONFLICT DO NOTHING',
    [hash, new Date(endsAt)],
  )
  return rowCount === 1
}

/** What is over by itself need not be remembered. */
export async function forgetUsed(tx: Tx): Promise<void> {
  await tx.query('DELETE FROM used_ticket WHERE ends_at < clock_timestamp()')
}
