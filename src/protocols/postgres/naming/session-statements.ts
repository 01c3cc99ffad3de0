import { plain } from './expressions.ts'
import { emptyFound, summaryOf } from './found.ts'
import { intoRelation } from './queries.ts'
import { returnedBy } from './returned.ts'
import { tagOf } from './tags.ts'
import {
  isTree,
  listOf,
  type NodeTag,
  ofKind,
  optionOf,
  required,
  stringsOf,
  type Tree,
  textOf,
  untag,
} from './tree.ts'
import { unknownNode } from './unnameable.ts'
import { markWrite, mentionGlobal, mentionRelation, type Visit, visit, visitAny, within } from './walk.ts'

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
    const isHeld = (Number(node['options'] ?? 0) & HOLD) !== 0
    place.found.effects.push({ does: 'declare', name: required(node, 'portalname'), isHeld })
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
    intoRelation(into, place)
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

/** parsenodes.h, CURSOR_OPT_HOLD. */
const HOLD = 0x20

const DISCARDED: Readonly<Record<string, 'all' | 'plans' | 'sequences' | 'temp'>> = {
  DISCARD_ALL: 'all',
  DISCARD_PLANS: 'plans',
  DISCARD_SEQUENCES: 'sequences',
  DISCARD_TEMP: 'temp',
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
