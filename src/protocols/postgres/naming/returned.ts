import { listOf, ofKind, stringsOf, type Tree, textOf } from './tree.ts'

/**
 * The column references of a query whose values go into its result as they are and decide nothing: neither which rows
 * there are nor their order. Those of the query's own list only: in a UNION, under a DISTINCT or a GROUP BY, or where the
 * order is told by a place in the list, there are none.
 */
export function returnedBy(kind: string, node: Tree): ReadonlySet<Tree> {
  if (kind === 'DeclareCursorStmt') {
    const query = ofKind('SelectStmt', node['query'])
    return query ? returnedBy('SelectStmt', query) : NONE
  }
  const isPlain = kind === 'SelectStmt' && (node['op'] ?? 'SETOP_NONE') === 'SETOP_NONE'
  if (!isPlain || listOf(node['distinctClause']).length > 0 || listOf(node['groupClause']).length > 0) return NONE
  const sorted = listOf(node['sortClause']).map((item) => ofKind('SortBy', item)?.['node'])
  if (sorted.some((item) => ofKind('A_Const', item))) return NONE

  // A name by itself is first looked for among those that the list gives.
  const sortNames = new Set(sorted.flatMap((item) => stringsOf(ofKind('ColumnRef', item)?.['fields'])))
  return new Set(
    listOf(node['targetList']).flatMap((item) => {
      const target = ofKind('ResTarget', item)
      const column = ofKind('ColumnRef', target?.['val'])
      const name = textOf(target?.['name'])
      return column && !(name !== null && sortNames.has(name)) ? [column] : []
    }),
  )
}

const NONE: ReadonlySet<Tree> = new Set()
