import type { LogEntry } from './entries.ts'

/** Who voted, by the name that the identity provider gave them then. */
interface NamedVoter {
  readonly approval: string
  /** `issuer|subject` */
  readonly reviewer: string
  readonly name: string
}

export type NamesAtVotes = (approvals: readonly string[]) => Promise<readonly NamedVoter[]>

/**
 * The names of the entries' reviewers, by the entries' numbers. An entry whose reviewer was erased has none: the name is
 * not told by another way.
 */
export async function nameReviewers(
  namesAtVotes: NamesAtVotes,
  entries: readonly LogEntry[],
): Promise<ReadonlyMap<number, string>> {
  const decided = entries.filter(({ approvalId, reviewer }) => approvalId !== null && reviewer !== null)
  const approvals = new Set(decided.map(({ approvalId }) => approvalId ?? ''))
  if (approvals.size === 0) return new Map()
  const voters = await namesAtVotes([...approvals])
  const names = new Map(voters.map(({ approval, reviewer, name }) => [`${approval} ${reviewer}`, name]))
  return new Map(
    decided.flatMap(({ seq, approvalId, reviewer }) => {
      const name = names.get(`${approvalId} ${reviewer}`)
      return name === undefined ? [] : [[seq, name] as const]
    }),
  )
}
