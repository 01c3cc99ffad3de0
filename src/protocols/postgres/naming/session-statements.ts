import { constantOf, plain } from './expressions.ts'
import { returnedBy } from './returned.ts'
import { tagOf } from './tags.ts'
import {
  emptyFound,
  isTree,
  listOf,
  markWrite,
  mentionGlobal,
  mentionRelation,
  type NodeTag,
  ofKind,
  optionOf,
  type Place,
  stringsOf,
  summaryOf,
  type Tree,
  textOf,
  Unnameable,
  unknownNode,
  untag,
  type Visit,
  visit,
  visitAny,
  within,
} from './walk.ts'

const PLAIN = ['VacuumRelation'] as const satisfies readonly NodeTag[]

const copy = within('CopyStmt')
const explain = within('ExplainStmt', ['query'])
const declare = within('DeclareCursorStmt')
const execute = within('ExecuteStmt')
const createAs = within('CreateTableAsStmt', ['into'])
const vacuum = within('VacuumStmt')
const lock = within('LockStmt')
const set = within('VariableSetStmt')
const callProcedure = within('CallStmt')
const block = within('DoStmt')
const transaction = within('TransactionStmt')

/** Statements about the session, and those that hold another statement. */
export const SESSION_STATEMENTS = {
  ...plain(PLAIN),
  RawStmt: within('RawStmt'),
  CopyStmt(node, place) {
    const isProgram = node['is_program'] === true
    const isFrom = node['is_from'] === true
    const file = textOf(node['filename'])
    if (isProgram) place.found.copyProgram = file ?? ''
    else if (file !== null) place.found.files.add(file)
    else place.found.effects.push({ does: isFrom ? 'copy_in' : 'copy_out' })
    if (isProgram || isFrom || file !== null) markWrite(place)
    if (isProgram) place.found.isOpaque = true
    const relation = node['relation']
    if (relation !== undefined) {
      // What the server asks of the role: INSERT for a copy into a table, SELECT for one out of it.
      mentionRelation(place, relation, { verb: isFrom ? 'insert' : 'select' })
      const columns = stringsOf(node['attlist'])
      for (const column of columns.length > 0 ? columns : ['*']) place.found.columns.add(column)
    }
    copy(node, place)
    // Acts of their own: a rule that allows copying the relation allows neither.
    if (file !== null) mentionGlobal(place, file, isProgram ? 'copy program' : 'copy file')
  },
  VariableSetStmt: set,
  VariableShowStmt(node, place) {
    mentionGlobal(place, node['name'])
  },
  TransactionStmt: transaction,
  ExplainStmt(node, place) {
    explain(node, place)
    const before = place.found.effects.length
    visitAny(node['query'], isAnalyzed(node) ? place : { ...place, as: 'explain' })
    // A cursor is explained, not opened: one of the same name stays what it was.
    const inner = place.found.effects.splice(before)
    place.found.effects.push(...inner.filter(({ does }) => does !== 'declare'))
  },
  DeclareCursorStmt(node, place) {
    mentionGlobal(place, node['portalname'])
    place.found.effects.push({ does: 'declare', name: required(node, 'portalname') })
    declare(node, place)
  },
  ClosePortalStmt(node, place) {
    const name = textOf(node['portalname'])
    mentionGlobal(place, name)
    place.found.effects.push({ does: 'close', name })
  },
  FetchStmt(node, place) {
    const name = required(node, 'portalname')
    mentionGlobal(place, name)
    place.found.fetches.add(name)
    place.found.effects.push({ does: 'fetch', name })
  },
  PrepareStmt(node, place) {
    const name = required(node, 'name')
    mentionGlobal(place, name)
    visitAny(node['argtypes'], place)
    const found = emptyFound()
    const inner = untag(node['query'])
    const tag = inner ? tagOf(inner.tag, inner.node) : null
    if (!inner || tag === null) throw unknownNode('PrepareStmt.query')
    visit(inner.tag, inner.node, { ...place, found, verb: tag, returned: returnedBy(inner.tag, inner.node) })
    const hasWhere = found.isBounded ?? false
    place.found.effects.push({ does: 'prepare', name, summary: summaryOf(found, { tag, isDdl: false, hasWhere }) })
  },
  ExecuteStmt(node, place) {
    const name = required(node, 'name')
    mentionGlobal(place, name)
    place.found.executes.push({ name, as: place.as })
    if (place.as === null) place.found.effects.push({ does: 'execute', name })
    execute(node, place)
  },
  DeallocateStmt(node, place) {
    const name = textOf(node['name'])
    mentionGlobal(place, name)
    place.found.effects.push({ does: 'deallocate', name })
  },
  DiscardStmt(node, place) {
    const what = DISCARDED[String(node['target'] ?? 'DISCARD_ALL')]
    if (!what) throw unknownNode('DiscardStmt.target')
    place.found.effects.push({ does: 'discard', what })
  },
  ListenStmt(node, place) {
    mentionGlobal(place, node['conditionname'])
    place.found.effects.push({ does: 'listen', name: required(node, 'conditionname') })
  },
  UnlistenStmt(node, place) {
    const name = textOf(node['conditionname'])
    mentionGlobal(place, name)
    place.found.effects.push({ does: 'unlisten', name })
  },
  NotifyStmt(node, place) {
    markWrite(place)
    mentionGlobal(place, node['conditionname'])
  },
  CallStmt(node, place) {
    place.found.isOpaque = true
    markWrite(place)
    callProcedure(node, place)
  },
  DoStmt(node, place) {
    place.found.isOpaque = true
    markWrite(place)
    const language = stringsOf(optionOf(node['args'], 'language'))[0] ?? 'plpgsql'
    mentionGlobal(place, language)
    place.found.languages.add(language)
    block(node, place)
  },
  CreateTableAsStmt(node, place) {
    const into = node['into']
    if (!isTree(into)) throw unknownNode('CreateTableAsStmt.into')
    markWrite(place)
    mentionRelation(place, into['rel'], { isMade: true })
    intoParts(into, place)
    createAs(node, place)
  },
  LockStmt(node, place) {
    // ACCESS SHARE (1) is what every SELECT takes.
    if (node['mode'] !== 1) markWrite(place)
    lock(node, place)
  },
  VacuumStmt(node, place) {
    markWrite(place)
    vacuum(node, place)
  },
  CheckPointStmt() {},
  LoadStmt(node, place) {
    place.found.isOpaque = true
    markWrite(place)
    place.found.files.add(required(node, 'filename'))
    mentionGlobal(place, node['filename'])
  },
  ConstraintsSetStmt: within('ConstraintsSetStmt'),
} satisfies Partial<Record<NodeTag, Visit>>

const intoParts = within('IntoClause', ['rel'])

const DISCARDED: Readonly<Record<string, 'all' | 'plans' | 'sequences' | 'temp'>> = {
  DISCARD_ALL: 'all',
  DISCARD_PLANS: 'plans',
  DISCARD_SEQUENCES: 'sequences',
  DISCARD_TEMP: 'temp',
}

/** What SET, RESET and the statements of transactions do to the session: only where they stand by themselves. */
export function noteEffects(kind: string, node: Tree, place: Place): void {
  if (kind === 'VariableSetStmt') noteSetting(node, place)
  if (kind === 'TransactionStmt') noteTransaction(node, place)
}

function noteSetting(node: Tree, place: Place): void {
  const { effects, roles } = place.found
  const isLocal = node['is_local'] === true
  if (node['kind'] === 'VAR_RESET_ALL') {
    effects.push({ does: 'reset_all' })
    return
  }
  const name = required(node, 'name').toLowerCase()
  mentionGlobal(place, name)
  if (node['kind'] === 'VAR_SET_MULTI') {
    for (const option of listOf(node['args'])) {
      const setting = textOf(ofKind('DefElem', option)?.['defname'])
      if (setting !== null) effects.push({ does: 'set', name: setting, value: null, isLocal })
    }
    return
  }
  const values = listOf(node['args']).map(constantOf)
  const value = node['kind'] === 'VAR_SET_VALUE' ? values.filter((one) => one !== null) : null
  if ((name === 'role' || name === 'session_authorization') && value?.[0] !== undefined) roles.add(value[0])
  effects.push({ does: 'set', name, value: value && value.length === values.length ? value : null, isLocal })
}

function noteTransaction(node: Tree, place: Place): void {
  const { effects } = place.found
  const name = textOf(node['savepoint_name'])
  mentionGlobal(place, name ?? textOf(node['gid']))
  const chained = node['chain'] === true
  switch (node['kind']) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START':
      effects.push({ does: 'begin' })
      return
    case 'TRANS_STMT_COMMIT':
    case 'TRANS_STMT_PREPARE':
      effects.push({ does: 'commit' })
      break
    case 'TRANS_STMT_ROLLBACK':
      effects.push({ does: 'rollback' })
      break
    case 'TRANS_STMT_SAVEPOINT':
      effects.push({ does: 'savepoint', name: name ?? '' })
      return
    case 'TRANS_STMT_RELEASE':
      effects.push({ does: 'release', name: name ?? '' })
      return
    case 'TRANS_STMT_ROLLBACK_TO':
      effects.push({ does: 'rollback_to', name: name ?? '' })
      return
    case 'TRANS_STMT_COMMIT_PREPARED':
    case 'TRANS_STMT_ROLLBACK_PREPARED':
      markWrite(place)
      return
    default:
      throw unknownNode('TransactionStmt.kind')
  }
  if (chained) effects.push({ does: 'begin' })
}

/** EXPLAIN runs the statement with ANALYZE, in whatever words that is said; anything that is not a plain no is a yes. */
function isAnalyzed(node: Tree): boolean {
  return listOf(node['options']).some((item) => {
    const option = ofKind('DefElem', item)
    if (textOf(option?.['defname'])?.toLowerCase() !== 'analyze') return false
    const value = option?.['arg']
    const word = stringsOf(value)[0]?.toLowerCase()
    const isNumberZero = ofKind('Integer', value) !== null && !ofKind('Integer', value)?.['ival']
    return !(word === 'false' || word === 'off' || isNumberZero)
  })
}

export function required(node: Tree, field: string): string {
  const text = textOf(node[field])
  if (text === null) throw unknownNode(field)
  return text
}

/** Refuses what changes how the next bytes are read: the upstream would see other statements than the gateway judged. */
export function refuseParseChanges(effects: readonly { readonly does: string }[]): void {
  for (const effect of effects) {
    if (effect.does !== 'set' || !('name' in effect) || !('value' in effect)) continue
    const allowed = typeof effect.name === 'string' ? PARSE_SETTINGS[effect.name] : undefined
    if (!allowed || effect.value === null) continue
    const [value] = Array.isArray(effect.value) ? effect.value : []
    if (typeof value === 'string' && allowed.has(value.toLowerCase())) continue
    throw new Unnameable(
      '0A000',
      `Not executed. ${effect.name} cannot be changed through the gateway.`,
      "Statements are read as UTF8 with standard_conforming_strings on; write E'…' where a backslash is meant.",
    )
  }
}

const PARSE_SETTINGS: Readonly<Record<string, ReadonlySet<string>>> = {
  standard_conforming_strings: new Set(['on', 'true', 'yes', '1', 't', 'y', 'tr', 'tru', 'ye']),
  client_encoding: new Set(['utf8', 'utf-8', 'unicode', "'utf8'"]),
  names: new Set(['utf8', 'utf-8', 'unicode']),
}
