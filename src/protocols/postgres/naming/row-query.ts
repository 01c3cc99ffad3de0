import { isDeepStrictEqual } from 'node:util'
import { parseSync, type ScanToken, scanSync } from 'libpg-query'
import type { RowQuery } from './statement.ts'
import { isTree, listOf, ofKind, type Tree, untag } from './tree.ts'

/**
 * A query for the rows that an UPDATE or DELETE would change, or that an INSERT would make; null for any other statement,
 * for one with another change in it, and for one whose parts cannot be told apart. It is put together from the statement's
 * own text, piece by piece, and then read again: unless its tree holds the very condition, relations and queries of the
 * statement's, there is none.
 *
 * A row that a join meets several times is changed once, so what stands in USING or FROM is looked for with EXISTS. What
 * triggers and foreign keys do besides is not counted.
 */
export function rowQueryOf(sql: string): RowQuery | null {
  const statement = onlyStatement(sql)
  if (!statement) return null
  const { tag, node } = statement
  // What the statement ends with says nothing of the rows that a WITH of it changes.
  if (holdsChange(node)) return null
  const returns = node['returningClause'] !== undefined
  if (ofKind('CurrentOfExpr', node['whereClause'])) return { rows: 1, returns }
  const values = tag === 'InsertStmt' ? valuesOf(node) : null
  if (values !== null) return { rows: values, returns }

  const draft = draftOf(tag, node, createText(sql))
  if (!draft) return null
  const count = `SELECT pg_catalog.count(*) FROM (${draft.text}\n) AS "_countersign"`
  const sample = `SELECT pg_catalog.row_to_json("_countersign".*) FROM (${draft.text}\n) AS "_countersign"`
  if (![count, sample].every((query) => isDeepStrictEqual(innerQuery(query), draft.tree))) return null
  return { count, sample, returns, parameters: [...parametersIn(draft.tree)].sort((a, b) => a - b) }
}

const CHANGES = ['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt'] as const

function holdsChange(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(holdsChange)
  if (!isTree(value)) return false
  return CHANGES.some((tag) => ofKind(tag, value) !== null) || Object.values(value).some(holdsChange)
}

interface Draft {
  readonly text: string
  /** What has to come out when it is read. */
  readonly tree: unknown
}

function draftOf(tag: string, node: Tree, text: Text): Draft | null {
  if (tag === 'DeleteStmt') return draftChange(node, text, DELETE)
  if (tag === 'UpdateStmt') return draftChange(node, text, UPDATE)
  if (tag === 'InsertStmt') return draftInsert(node, text)
  return null
}

/** The words of a statement that changes rows, in their order. */
interface Wording {
  readonly verb: string
  /** What parts the verb from the rest. */
  readonly mark: string
  /** Whether what is changed stands before the mark; else it stands behind it. */
  readonly isTargetFirst: boolean
  /** What brings in other relations, and where its tree has them. */
  readonly beside: string
  readonly joined: string
}

const DELETE: Wording = { verb: 'DELETE', mark: 'FROM', isTargetFirst: false, beside: 'USING', joined: 'usingClause' }
const UPDATE: Wording = { verb: 'UPDATE', mark: 'SET', isTargetFirst: true, beside: 'FROM', joined: 'fromClause' }

function draftChange(node: Tree, text: Text, words: Wording): Draft | null {
  const verb = text.find(words.verb)
  const mark = text.find(words.mark, verb)
  if (!verb || !mark) return null
  const returning = text.find('RETURNING', mark)
  const where = text.find('WHERE', mark)
  const beside = text.find(words.beside, mark, where ?? returning)

  // A WITH, and comments.
  const before = text.between(null, verb)
  const target = words.isTargetFirst ? text.between(verb, mark) : text.between(mark, beside ?? where ?? returning)
  const condition = where ? `\nWHERE ${text.between(where, returning)}` : ''
  const others = beside && text.between(beside, where ?? returning)
  const whole = others === null ? condition : `\nWHERE EXISTS (SELECT FROM ${others}${condition}\n)`

  const whereClause = withoutPlaces(node['whereClause'])
  const own = whereClause === undefined ? {} : { whereClause }
  const subselect = { SelectStmt: selectOf({ fromClause: node[words.joined], ...own }) }
  const exists = { SubLink: { subLinkType: 'EXISTS_SUBLINK', subselect } }
  return {
    text: `${before}SELECT * FROM ${target}${whole}`,
    tree: selectOf({
      targetList: [{ ResTarget: { val: { ColumnRef: { fields: [{ A_Star: {} }] } } } }],
      fromClause: [{ RangeVar: node['relation'] }],
      ...(others === null ? own : { whereClause: exists }),
      ...(node['withClause'] === undefined ? {} : { withClause: node['withClause'] }),
    }),
  }
}

function draftInsert(node: Tree, text: Text): Draft | null {
  const verb = text.find('INSERT')
  const into = text.find('INTO', verb)
  const select = text.first(['SELECT', 'WITH', 'TABLE'], into)
  const query = ofKind('SelectStmt', node['selectStmt'])
  if (!verb || !select || !query) return null
  const prefix = node['withClause'] === undefined ? '' : text.between(null, verb)
  if (prefix !== '' && query['withClause'] !== undefined) return null
  const end = text.find('RETURNING', select)
  const conflict = text.find('CONFLICT', select, end)
  const on = conflict && text.before(conflict)
  const isClause = node['onConflictClause'] !== undefined
  return {
    text: `${prefix}${text.between(select, isClause ? on : end, { isFirstIncluded: true })}`,
    tree: withoutPlaces({ ...query, ...(prefix === '' ? {} : { withClause: node['withClause'] }) }),
  }
}

function selectOf(fields: Tree): unknown {
  return withoutPlaces({ ...fields, limitOption: 'LIMIT_OPTION_DEFAULT', op: 'SETOP_NONE' })
}

/** The number of rows that are written out; null if they come from a query. */
function valuesOf(node: Tree): number | null {
  if (node['selectStmt'] === undefined) return 1
  const lists = ofKind('SelectStmt', node['selectStmt'])?.['valuesLists']
  const query = ofKind('SelectStmt', node['selectStmt'])
  // VALUES may have a LIMIT of its own.
  const isPlain = query?.['limitCount'] === undefined && query?.['limitOffset'] === undefined
  return Array.isArray(lists) && isPlain ? lists.length : null
}

function onlyStatement(sql: string): ReturnType<typeof untag> {
  const { stmts = [] } = parseSync(sql)
  return stmts.length === 1 ? untag(stmts[0]?.stmt) : null
}

/** What stands in the parentheses of the one FROM of a query, without places. */
function innerQuery(sql: string): unknown {
  const outer = onlyStatement(sql)
  const [item, ...more] = listOf(outer?.node['fromClause'])
  const inner = ofKind('RangeSubselect', item)?.['subquery']
  if (outer?.tag !== 'SelectStmt' || more.length > 0 || outer.node['whereClause'] !== undefined) return null
  return withoutPlaces(ofKind('SelectStmt', inner))
}

const PLACES: ReadonlySet<string> = new Set(
  'location name_location list_start list_end rexpr_list_start rexpr_list_end stmt_location stmt_len'.split(' '),
)

function withoutPlaces(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPlaces)
  if (!isTree(value)) return value
  const kept = Object.entries(value).filter(([field]) => !PLACES.has(field))
  return Object.fromEntries(kept.map(([field, inner]) => [field, withoutPlaces(inner)]))
}

function parametersIn(value: unknown, found = new Set<number>()): Set<number> {
  if (Array.isArray(value)) for (const inner of value) parametersIn(inner, found)
  else if (isTree(value)) {
    const number = ofKind('ParamRef', value)?.['number']
    if (typeof number === 'number') found.add(number)
    for (const inner of Object.values(value)) parametersIn(inner, found)
  }
  return found
}

/** The text of a statement by its words outside of all parentheses. */
interface Text {
  /** The first such keyword behind one word and before another. */
  find(keyword: string, after?: ScanToken | null, before?: ScanToken | null): ScanToken | null
  first(keywords: readonly string[], after: ScanToken | null): ScanToken | null
  /** The word before this one. */
  before(token: ScanToken): ScanToken | null
  /** What stands between two words; a null one is the beginning, or the end. */
  between(from: ScanToken | null, to: ScanToken | null, how?: { isFirstIncluded: boolean }): string
}

function createText(sql: string): Text {
  const bytes = Buffer.from(sql)
  const words: ScanToken[] = []
  let depth = 0
  for (const token of scanSync(sql).tokens) {
    if (token.tokenName === 'SQL_COMMENT' || token.tokenName === 'C_COMMENT') continue
    if (token.text === ')' || token.text === ']') depth -= 1
    if (depth === 0) words.push(token)
    if (token.text === '(' || token.text === '[') depth += 1
  }

  function first(keywords: readonly string[], after: ScanToken | null, before: ScanToken | null): ScanToken | null {
    const found = words.findIndex((word, index) => {
      if (word.start < (after?.end ?? 0) || word.end > (before?.start ?? bytes.length)) return false
      if (word.keywordName === 'NO_KEYWORD' || !keywords.includes(word.text.toUpperCase())) return false
      // `IS DISTINCT FROM` compares.
      return !(keywords.includes('FROM') && words[index - 1]?.text.toUpperCase() === 'DISTINCT')
    })
    return words[found] ?? null
  }

  return {
    find: (keyword, after = null, before = null) => first([keyword], after, before),
    first: (keywords, after) => first(keywords, after, null),
    before: (token) => words[words.indexOf(token) - 1] ?? null,
    between(from, to, { isFirstIncluded } = { isFirstIncluded: false }) {
      const start = (isFirstIncluded ? from?.start : from?.end) ?? 0
      return bytes.toString('utf8', start, to?.start ?? bytes.length)
    },
  }
}
