import { formatParty } from '../domain/principal.ts'
import type { Tx } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import { APPROVAL_COLUMNS, type ApprovalRow } from './row.ts'
import { withVotes } from './store.ts'

/** Who voted on these approvals, by the name that the identity provider gave them then. What was forged is left out. */
export async function namesAtVotes(
  { database, keys }: { database: Tx; keys: Pick<Keys, 'mac'> },
  ids: readonly string[],
): Promise<readonly { readonly approval: string; readonly reviewer: string; readonly name: string }[]> {
  if (ids.length === 0) return []
  const { rows } = await database.query<ApprovalRow>(`SELECT ${APPROVAL_COLUMNS} FROM approval WHERE id = ANY ($1)`, [
    ids,
  ])
  const held = await withVotes(database, keys, rows)
  return held.flatMap(({ row, votes }) =>
    votes.flatMap((vote) =>
      vote.name === null ? [] : [{ approval: row.id, reviewer: formatParty(vote), name: vote.name }],
    ),
  )
}
