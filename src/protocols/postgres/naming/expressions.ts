import { listOf, type NodeTag, nameOf, ofKind, required, stringsOf, type Tree, textOf } from './tree.ts'
import { mention, type Place, type Visit, within } from './walk.ts'

/** What names nothing by itself: only what it holds does. */
const PLAIN = [
  'Integer',
  'Float',
  'Boolean',
  'String',
  'BitString',
  'List',
  'A_Const',
  'Alias',
  'GroupingFunc',
  'MergeSupportFunc',
  'NamedArgExpr',
  'BoolExpr',
  'CaseWhen',
  'RowExpr',
  'CoalesceExpr',
  'MinMaxExpr',
  'SQLValueFunction',
  'XmlExpr',
  'JsonFormat',
  'JsonReturning',
  'JsonValueExpr',
  'JsonIsPredicate',
  'JsonBehavior',
  'NullTest',
  'BooleanTest',
  'SetToDefault',
  'ParamRef',
  'A_Star',
  'A_Indices',
  'A_ArrayExpr',
  'ResTarget',
  'WindowDef',
  'GroupingSet',
  'XmlSerialize',
  'TypeCast',
  'JsonOutput',
  'JsonArgument',
  'JsonFuncExpr',
  'JsonTablePathSpec',
  'JsonTable',
  'JsonTableColumn',
  'JsonKeyValue',
  'JsonParseExpr',
  'JsonScalarExpr',
  'JsonSerializeExpr',
  'JsonObjectConstructor',
  'JsonArrayConstructor',
  'JsonArrayQueryConstructor',
  'JsonAggConstructor',
  'JsonObjectAgg',
  'JsonArrayAgg',
] as const satisfies readonly NodeTag[]

/** Operators that an expression's words stand for: the server looks them up by the search path like any other. */
const WORD_OPERATORS: Readonly<Record<string, readonly string[]>> = {
  BETWEEN: ['>=', '<='],
  'NOT BETWEEN': ['<', '>'],
  'BETWEEN SYMMETRIC': ['>=', '<='],
  'NOT BETWEEN SYMMETRIC': ['<', '>'],
}

const expression = within('A_Expr')
const call = within('FuncCall')
const currentOf = within('CurrentOfExpr')
const type = within('TypeName')
const sublink = within('SubLink')
const caseOf = within('CaseExpr')
const assignment = within('MultiAssignRef')
const sort = within('SortBy')
const indirection = within('A_Indirection')

/** What stands where a value does. */
export const EXPRESSIONS = {
  ...plain(PLAIN),
  ColumnRef(node, place) {
    const fields = listOf(node['fields'])
    const last = stringsOf(fields.slice(-1))[0]
    const { found } = place
    if (!place.returned.has(node)) found.uses.add(last ?? '*')
    if (last === undefined) found.columns.add('*')
    else if (fields.length === 1) found.bareColumns.add(last)
    else {
      found.columns.add(last)
      found.fields.add(last)
    }
  },
  A_Indirection(node, place) {
    for (const part of listOf(node['indirection'])) {
      const names = stringsOf(part)
      for (const name of names) {
        place.found.fields.add(name)
        place.found.valueFields.add(name)
      }
      for (const name of ofKind('A_Star', part) ? ['*'] : names) {
        place.found.columns.add(name)
        place.found.uses.add(name)
      }
    }
    indirection(node, place)
  },
  A_Expr(node, place) {
    operator(node['name'], place)
    expression(node, place)
  },
  SubLink(node, place) {
    if (node['operName'] !== undefined) operator(node['operName'], place)
    // `x IN (SELECT …)` is `x = ANY (SELECT …)`.
    else if (node['subLinkType'] === 'ANY_SUBLINK') named('=', place)
    sublink(node, { ...place, verb: 'select', locks: [] })
  },
  CaseExpr(node, place) {
    if (node['arg'] !== undefined) named('=', place)
    caseOf(node, place)
  },
  SortBy(node, place) {
    if (node['useOp'] !== undefined) operator(node['useOp'], place)
    sort(node, place)
  },
  CollateClause: within('CollateClause'),
  MultiAssignRef(node, place) {
    // `(a, b) = (SELECT …)` holds the query once for each column.
    if (node['colno'] === 1) assignment(node, place)
  },
  TypeName(node, place) {
    const names = stringsOf(node['names'])
    // `t.c%TYPE` is the type of a column.
    const parts = node['pct_type'] === true ? names.slice(0, -1) : names
    if (parts.length > 0) mention({ ...place, as: null }, 'type', nameOf(parts), { verb: 'use type' })
    type(node, place)
  },
  FuncCall(node, place) {
    const name = nameOf(stringsOf(node['funcname']))
    mention({ ...place, as: null }, 'function', name, { verb: 'call' })
    if (name.name === 'set_config') setConfig(node, place)
    call(node, place)
  },
  CurrentOfExpr(node, place) {
    place.found.effects.push({ does: 'take_current', name: required(node, 'cursor_name') })
    currentOf(node, place)
  },
} satisfies Partial<Record<NodeTag, Visit>>

/** An operator by its name as the parser gives it: one word, or OPERATOR(schema.name). */
export function operator(name: unknown, place: Place): void {
  const parts = stringsOf(name)
  const [word] = parts
  if (parts.length === 1 && word !== undefined && Object.hasOwn(WORD_OPERATORS, word)) {
    for (const sign of WORD_OPERATORS[word] ?? []) named(sign, place)
  } else if (parts.length > 0) {
    mention({ ...place, as: null }, 'operator', nameOf(parts), { verb: 'call' })
  }
}

/** `set_config` with a constant name does what SET does; with any other it may set anything. */
function setConfig(node: Tree, place: Place): void {
  const [name, value, local] = listOf(node['args'])
  const setting = constantOf(name)
  if (setting === null) {
    place.found.isOpaque = true
    return
  }
  const given = constantOf(value)
  const isLocal = ofKind('A_Const', local)?.['boolval'] !== undefined && isTrue(local)
  // Under its own name in lower case: settings are found without regard to case.
  place.found.effects.push({
    does: 'set',
    name: setting.toLowerCase(),
    // What is computed is no value that could be told to be harmless.
    value: given === null ? [] : [given],
    isLocal,
  })
}

function isTrue(value: unknown): boolean {
  const constant = ofKind('A_Const', value)?.['boolval']
  return typeof constant === 'object' && constant !== null && 'boolval' in constant && constant.boolval === true
}

/** A constant as text; null for anything else. */
export function constantOf(value: unknown): string | null {
  const constant = ofKind('A_Const', value)
  if (!constant) return null
  const { sval, ival, fval, boolval } = constant as Record<string, { [field: string]: unknown } | undefined>
  if (sval) return typeof sval['sval'] === 'string' ? sval['sval'] : ''
  if (ival) return String(ival['ival'] ?? 0)
  if (fval) return textOf(fval['fval'])
  if (boolval) return String(boolval['boolval'] ?? false)
  return null
}

/** An operator that is meant without being written. */
export function named(sign: string, place: Place): void {
  mention({ ...place, as: null }, 'operator', { schema: null, name: sign }, { verb: 'call' })
}

/** Visits for nodes that name nothing by themselves. */
export function plain<const Tag extends NodeTag>(tags: readonly Tag[]): Readonly<Record<Tag, Visit>> {
  // Every tag of the list becomes a key: what `fromEntries` cannot tell.
  return Object.fromEntries(tags.map((tag) => [tag, within(tag)])) as Record<Tag, Visit>
}
