import type { Hidden } from '../catalog/hidden.ts'
import type { Named } from '../naming/statement.ts'
import type { Doing } from '../planning/plan.ts'

/** What only reads, so that what it reads can be told from its result. */
const READS: ReadonlySet<string> = new Set(['select', 'declare cursor', 'fetch', 'move', 'execute', 'prepare'])

/** Why a batch could give away what is masked, as a sentence without its end; null if it cannot. */
export function findGiveaway(doings: readonly Doing[], hidden: Hidden): string | null {
  for (const { named } of doings) {
    for (const one of named) {
      const why = giveaway(one, hidden)
      if (why !== null) return why
    }
  }
  return null
}

function giveaway({ tag, facts, isOpaque, uses }: Named, hidden: Hidden): string | null {
  const { names, relations, readers, writers } = hidden
  if (isOpaque || facts.is_ddl) return 'It runs, or defines, what could read a masked column unseen'
  const [secret] = facts.secrets
  if (secret !== undefined) return `${secret} may hold values of a masked column`
  const reader = facts.tables.find((table) => readers.has(table))
  if (reader !== undefined) return `${reader} is a view, or has a rule, that may read a masked column`
  const isRead = READS.has(tag) && !facts.writes
  // An error that a change raises shows whole rows.
  const written = isRead ? undefined : facts.tables.find((table) => relations.has(table) || writers.has(table))
  if (written !== undefined) return `${written} has, or leads to, a masked column: it can only be read, and by SELECT`
  const relation = facts.tables.find((table) => relations.has(table))
  if (relation === undefined) return null
  const used = uses.find((column) => column === '*' || names.has(column))
  if (used === undefined) return null
  return used === '*'
    ? `It uses ${relation}, which has a masked column, as whole rows or under other names`
    : `It does more with a column ${used} than to return it, and that is masked`
}
