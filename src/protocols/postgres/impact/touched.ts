import type { Named, Namer, SessionView } from '../naming/statement.ts'
import type { Doing } from '../planning/plan.ts'

/** One statement of a batch that runs. */
export interface Running {
  readonly doing: Doing
  /** Which statement of its message. */
  readonly nth: number
  readonly named: Named
}

/** The statements that a batch runs, in their order. */
export function runningOf(doings: readonly Doing[]): readonly Running[] {
  return doings.flatMap((doing) =>
    doing.how === 'run' ? doing.named.map((named, nth) => ({ doing, nth, named })) : [],
  )
}

/** How the rows of a statement are known, or to be asked for; else why not, in words for a reviewer. */
export type Touched =
  | { readonly rows: number }
  | { readonly ask: Exclude<Awaited<ReturnType<Namer['rowQuery']>>, { readonly rows: number } | null> }
  | { readonly why: string }

/** What changes rows, and says in the end how many. */
const COUNTED: ReadonlySet<string> = new Set(['insert', 'update', 'delete'])
/** Whatever else may stand in a batch whose rows are counted: it ends no transaction, divides none, and commits nothing. */
const HARMLESS: ReadonlySet<string> = new Set([...COUNTED, 'select', 'merge', 'begin', 'start transaction', 'show'])

const CHANGES: ReadonlySet<string> = new Set([...COUNTED, 'merge'])

/** Whether a statement changes rows, by itself or in what stands in it. */
export function changesRows({ named }: Running): boolean {
  return named.acts.some(({ verb }) => CHANGES.has(verb))
}

/**
 * How the rows that one statement of a batch touches can be known before it runs: as things stand before the batch, and
 * by nothing but functions and operators that only read. What it then really touches must not be lost either: it has to
 * come back with the end of the batch, before anything is committed.
 */
export async function touchedBy(
  running: readonly Running[],
  index: number,
  { namer, view, signal }: { namer: Namer; view: SessionView; signal: AbortSignal },
): Promise<Touched> {
  const one = running[index]
  if (!one || !COUNTED.has(one.named.tag)) return { why: 'it is no INSERT, UPDATE or DELETE by itself' }
  const other = running.find(({ named }) => !HARMLESS.has(named.tag))
  if (other) return { why: `it stands in one message with ${other.named.tag}` }
  if (running.slice(0, index).some(({ named }) => named.isOpaque)) {
    return { why: 'a statement before it in the same message calls functions that are not known only to read' }
  }
  const query = await namer.rowQuery(one.named.text, signal)
  if (query === null) return { why: 'no query for its rows can be made of it' }
  // Without RETURNING it runs to its end, whatever number of rows it is asked for (PostgreSQL, 54.2.3).
  if (query.returns && one.doing.maxRows > 0) return { why: 'its rows are fetched in portions' }
  if ('rows' in query) return query
  const why = await whyUnsafe(query.sample, { namer, view, signal })
  return why === null ? { ask: query } : { why }
}

/** Why a query must not run before anyone approved; null if it may. */
async function whyUnsafe(
  sql: string,
  { namer, view, signal }: { namer: Namer; view: SessionView; signal: AbortSignal },
): Promise<string | null> {
  const names = await namer.name(sql, view, signal)
  if (!('length' in names)) return 'the query for its rows cannot be read'
  const [query, ...more] = names
  if (!query || more.length > 0 || query.tag !== 'select') return 'the query for its rows cannot be read'
  return whyNotOnlyRead(query)
}

/** Why planning or running this statement might do more than read what anyone may read; null if it cannot. */
function whyNotOnlyRead({ facts, isOpaque, effects, acts }: Named): string | null {
  if (isOpaque || acts.some(({ verb }) => verb === 'call')) {
    return 'it calls functions or operators that are not known only to read'
  }
  if (facts.secrets.length > 0) return 'it reads a catalog that holds secrets'
  if (effects.length > 0 || acts.some(({ verb }) => verb !== 'select' && verb !== 'use type')) {
    return 'the query for its rows does more than read'
  }
  return null
}
