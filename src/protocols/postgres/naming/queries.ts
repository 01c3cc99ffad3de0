import { isBounded } from './bounds.ts'
import { named, plain } from './expressions.ts'
import { LOCK_VERBS } from './tags.ts'
import { isTree, listOf, type NodeTag, nameOf, ofKind, stringsOf, type Tree, textOf } from './tree.ts'
import {
  type Ctes,
  markWrite,
  mention,
  mentionRelation,
  type Place,
  type Visit,
  visit,
  visitAny,
  within,
} from './walk.ts'

const PLAIN = [
  'RangeTableFunc',
  'RangeTableFuncCol',
  'InferClause',
  'OnConflictClause',
  'CTESearchClause',
  'CTECycleClause',
  'MergeWhenClause',
  'ReturningOption',
  'ReturningClause',
  'ReturnStmt',
] as const satisfies readonly NodeTag[]

const select = within('SelectStmt', ['withClause', 'intoClause', 'fromClause', 'lockingClause', 'larg', 'rarg'])
const insert = within('InsertStmt', ['relation', 'withClause'])
const update = within('UpdateStmt', ['relation', 'withClause'])
const remove = within('DeleteStmt', ['relation', 'withClause'])
const merge = within('MergeStmt', ['relation', 'withClause'])
const join = within('JoinExpr')
const sample = within('RangeTableSample')
const subselect = within('RangeSubselect')
const rangeFunction = within('RangeFunction')

/** What reads and writes rows. */
export const QUERIES = {
  ...plain(PLAIN),
  SelectStmt(node, outer) {
    const place = withCtes(node['withClause'], { ...outer, verb: 'select', locks: [] })
    const locks = [...new Set([...outer.locks, ...listOf(node['lockingClause']).flatMap(lockVerb)])]
    if (node['intoClause'] !== undefined) intoRelation(node['intoClause'], { ...place, verb: 'select into' })
    if (locks.length > 0) markWrite(place)
    visitAny(node['fromClause'], { ...place, locks })
    select(node, place)
    for (const side of ['larg', 'rarg']) {
      if (node[side] !== undefined) visit('SelectStmt', node[side], { ...place, locks })
    }
  },
  InsertStmt(node, outer) {
    const place = withCtes(node['withClause'], { ...outer, verb: 'select', locks: [] })
    writeTo(node['relation'], place, 'insert')
    const conflict = node['onConflictClause']
    if (isTree(conflict) && conflict['action'] === 'ONCONFLICT_UPDATE') {
      writeTo(node['relation'], place, 'update')
      place.found.isBounded = false
      assign(conflict['targetList'], place)
    }
    assign(node['cols'], place)
    insert(node, place)
  },
  UpdateStmt(node, outer) {
    const place = withCtes(node['withClause'], { ...outer, verb: 'select', locks: [] })
    writeTo(node['relation'], place, 'update')
    bound(node, place)
    assign(node['targetList'], place)
    update(node, place)
  },
  DeleteStmt(node, outer) {
    const place = withCtes(node['withClause'], { ...outer, verb: 'select', locks: [] })
    writeTo(node['relation'], place, 'delete')
    bound(node, place)
    remove(node, place)
  },
  MergeStmt(node, outer) {
    const place = withCtes(node['withClause'], { ...outer, verb: 'select', locks: [] })
    writeTo(node['relation'], place, 'merge')
    for (const clause of listOf(node['mergeWhenClauses'])) {
      const when = ofKind('MergeWhenClause', clause)
      const verb = MERGE_VERBS[String(when?.['commandType'])]
      if (verb) writeTo(node['relation'], place, verb)
      // It goes by a join: whether that limits anything is not told.
      if (verb === 'update' || verb === 'delete') place.found.isBounded = false
      assign(when?.['targetList'], place)
    }
    merge(node, place)
  },
  CommonTableExpr: within('CommonTableExpr'),
  WithClause: within('WithClause'),
  RangeVar(node, place) {
    const name = textOf(node['relname'])
    noteRow(node['alias'], place)
    noteRenamed(node['alias'], place)
    if (name !== null) place.found.rows.add(name)
    if (name !== null && node['schemaname'] === undefined && place.verb === 'select' && isCte(name, place.ctes)) return
    mentionRelation(place, node)
    // What the clause is limited to are aliases; that all of them are named is a mistake on the safe side.
    for (const verb of place.locks) mentionRelation(place, node, { verb })
  },
  JoinExpr(node, place) {
    // USING and NATURAL compare by an operator that is found by the search path.
    if (node['usingClause'] !== undefined || node['isNatural'] === true) named('=', place)
    for (const column of node['isNatural'] === true ? ['*'] : stringsOf(node['usingClause'])) {
      place.found.columns.add(column)
      place.found.uses.add(column)
    }
    noteRow(node['alias'], place)
    noteRenamed(node['alias'], place)
    join(node, place)
  },
  RangeSubselect(node, place) {
    noteRow(node['alias'], place)
    subselect(node, place)
  },
  RangeFunction(node, place) {
    place.found.hasFunctionRows = true
    noteRow(node['alias'], place)
    rangeFunction(node, place)
  },
  RangeTableSample(node, place) {
    mention(place, 'function', nameOf(stringsOf(node['method'])), { verb: 'call' })
    sample(node, place)
  },
  // Visited with the query it stands in: the relations it lists are aliases.
  LockingClause() {},
  IntoClause: intoRelation,
} satisfies Partial<Record<NodeTag, Visit>>

const MERGE_VERBS: Readonly<Record<string, string>> = {
  CMD_INSERT: 'insert',
  CMD_UPDATE: 'update',
  CMD_DELETE: 'delete',
}

/**
 * Visits the queries of a WITH and returns the place where their names are known. Without RECURSIVE each knows those
 * before it only (PostgreSQL, SELECT, "WITH Clause"): an earlier one that names a later one means a relation.
 */
function withCtes(clause: unknown, place: Place): Place {
  if (!isTree(clause)) return place
  const queries = listOf(clause['ctes']).map((item) => ofKind('CommonTableExpr', item))
  const names = queries.map((query) => textOf(query?.['ctename']) ?? '')
  const all = { ...place, ctes: names.reduce<Ctes | null>((outer, name) => ({ name, outer }), place.ctes) }
  if (clause['recursive'] === true) {
    visit('WithClause', clause, all)
    return all
  }
  let ctes = place.ctes
  for (const [index, item] of listOf(clause['ctes']).entries()) {
    visitAny(item, { ...place, ctes })
    ctes = { name: names[index] ?? '', outer: ctes }
  }
  return all
}

function isCte(name: string, ctes: Ctes | null): boolean {
  for (let one = ctes; one; one = one.outer) if (one.name === name) return true
  return false
}

/** The target of a change is never a WITH's query, whatever its name. */
function writeTo(relation: unknown, place: Place, verb: string): void {
  markWrite(place)
  if (isTree(relation)) {
    noteRow(relation['alias'], place)
    const name = textOf(relation['relname'])
    if (name !== null) place.found.rows.add(name)
  }
  mentionRelation(place, relation, { verb })
}

function bound(node: Tree, place: Place): void {
  place.found.isBounded = (place.found.isBounded ?? true) && isBounded(node['whereClause'])
}

/** The columns that are written. */
function assign(targets: unknown, place: Place): void {
  for (const item of listOf(targets)) {
    const name = textOf(ofKind('ResTarget', item)?.['name'])
    if (name !== null) place.found.columns.add(name)
    for (const inner of listOf(ofKind('ResTarget', item)?.['indirection'])) visitAny(inner, place)
  }
}

function noteRow(alias: unknown, place: Place): void {
  const name = isTree(alias) ? textOf(alias['aliasname']) : null
  if (name !== null) place.found.rows.add(name)
}

/** Under names of its own a column is not told from another any more. */
function noteRenamed(alias: unknown, place: Place): void {
  if (isTree(alias) && listOf(alias['colnames']).length > 0) place.found.uses.add('*')
}

function lockVerb(clause: unknown): readonly string[] {
  const verb = LOCK_VERBS[String(ofKind('LockingClause', clause)?.['strength'])]
  return verb === undefined ? [] : [verb]
}

export function intoRelation(into: unknown, place: Place): void {
  if (!isTree(into)) return
  markWrite(place)
  mentionRelation(place, into['rel'], { isMade: true })
  intoParts(into, place)
}

const intoParts = within('IntoClause', ['rel'])
