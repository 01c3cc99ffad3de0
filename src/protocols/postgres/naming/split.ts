import type { ParseResult } from 'libpg-query'
import { summarise } from './summarise.ts'
import type { Piece } from './summary.ts'
import { Unnameable, unknownNode } from './unnameable.ts'

/** The major version of the parser whose trees are known. */
const PARSER_MAJOR = 18

/** The session is followed from each to the next. */
const MAX_STATEMENTS = 500

/**
 * The statements of a message, each with where it is.
 *
 * @throws {import('./walk.ts').Unnameable}
 */
export function split(sql: string, tree: ParseResult): readonly Piece[] {
  if (Math.floor((tree.version ?? 0) / 10_000) !== PARSER_MAJOR) throw unknownNode('version')
  if ((tree.stmts?.length ?? 0) > MAX_STATEMENTS) {
    throw new Unnameable('54001', `Not executed. A message may hold ${MAX_STATEMENTS} statements.`, 'Split it.')
  }
  const total = Buffer.byteLength(sql)
  return (tree.stmts ?? []).map((raw) => {
    for (const field in raw) if (!RAW_FIELDS.has(field)) throw unknownNode(`RawStmt.${field}`)
    const start = raw.stmt_location ?? 0
    // No length: up to the end of the message.
    const bytes = raw.stmt_len || total - start
    return { start, bytes, summary: summarise(raw.stmt) }
  })
}

const RAW_FIELDS: ReadonlySet<string> = new Set(['stmt', 'stmt_location', 'stmt_len'])
