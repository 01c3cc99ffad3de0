import { isDeepStrictEqual } from 'node:util'
import { MAX_NAME_BYTES } from '../naming/identifier.ts'
import { dependsOnSettings } from '../naming/namer.ts'
import {
  type Called,
  isUnnamed,
  type Named,
  type Namer,
  type SessionView,
  type Unresolved,
} from '../naming/statement.ts'
import { OWN_NAME } from '../relay/question.ts'
import type { Slot } from '../relay/slots.ts'
import type { Frontend } from '../wire/frontend.ts'
import type { Fault } from '../wire/report.ts'
import type { Batch, Sent } from './batch.ts'
import { meaningsOf } from './meaning.ts'
import {
  applyDone,
  applyRun,
  bytesHeld,
  copyState,
  forgetPortal,
  forgetStatement,
  lookAnew,
  notePortal,
  noteStatement,
  type Portal,
  type Prepared,
  quoteName,
  type State,
} from './state.ts'

/** One thing that a batch would do, or get ready to be done. */
export interface Doing {
  /** `prepare`: it is parsed or bound, and nothing of it runs in this batch. */
  readonly how: 'run' | 'prepare'
  readonly sql: string
  readonly named: readonly Named[]
  readonly bound: Portal | null
  /** Of the names by which it runs something. */
  readonly meanings: readonly Called[]
  readonly maxRows: number
  /** What its answers are noted by; null if it does not run. */
  readonly slot: Slot | null
}

/** A batch, understood: what it does, and what is to be noted as each of its messages is answered. */
export interface Plan {
  readonly doings: readonly Doing[]
  readonly slots: readonly Slot[]
  /** Before which of its messages the session has to be looked at again: what runs before them could change what they mean. */
  readonly cuts: readonly Cut[]
}

/** A place in a batch, and in the slots of its messages. */
export interface Cut {
  readonly sent: number
  readonly slots: number
}

export interface PlanParts {
  readonly namer: Namer
  /** As it is now. What a batch does is noted there only when it is done. */
  readonly state: State
  readonly maxHeldBytes: number
  readonly signal: AbortSignal
}

/** Says what a batch does. Nothing is forwarded by it; whatever it cannot name is a fault. */
export async function planBatch(batch: Batch, parts: PlanParts): Promise<Plan | Fault> {
  if (batch.kind === 'function_call') {
    return { code: '0A000', message: 'Not executed. A function call without SQL is not supported by this gateway.' }
  }
  const ahead = copyState(parts.state)
  const planned: Pick<Ahead, 'doings' | 'slots' | 'idle' | 'named'> = {
    doings: [],
    slots: [],
    idle: new Map(),
    named: new Map(),
  }
  const cuts: Cut[] = []
  for (const [index, sent] of batch.sent.entries()) {
    if (isInDoubt(sent, { ahead, ran: planned.doings })) {
      cuts.push({ sent: index, slots: planned.slots.length })
      // It is, or the rest is not sent.
      ahead.view = { ...ahead.view, hasCertainNames: true }
    }
    const fault = await planMessage(sent, { ...parts, ahead, ...planned })
    if (fault) return fault
  }
  return { doings: [...planned.doings, ...planned.idle.values()], slots: planned.slots, cuts }
}

/** Whether what ran before it in the batch may have changed what a message means: its name, or how its text is read. */
function isInDoubt({ message }: Sent, { ahead, ran }: { ahead: State; ran: readonly Doing[] }): boolean {
  const { hasCertainNames } = ahead.view
  if (message.type === 'parse') {
    return ran.some(({ named }) => named.some(mayHideCode)) && dependsOnSettings(message.sql)
  }
  // The unnamed ones cannot be named by code.
  if (message.type === 'bind') return !hasCertainNames && (message.statement !== '' || message.portal !== '')
  return message.type === 'execute' && !hasCertainNames && message.portal !== ''
}

interface Ahead extends PlanParts {
  /** The state as it will be where the batch has come to. */
  readonly ahead: State
  readonly doings: Doing[]
  readonly slots: Slot[]
  /** What was made ready and not run yet, by the statement or the portal. */
  readonly idle: Map<object, Doing>
  /** What statements were named as in this batch, and in which view. */
  readonly named: Map<string, { readonly view: SessionView; readonly names: readonly Named[] | Fault }>
}

/** A relation may be a view, or have triggers. */
function mayHideCode({ isOpaque, facts }: Named): boolean {
  return isOpaque || facts.tables.length > 0
}

function planMessage({ message }: Sent, on: Ahead): Promise<Fault | null> | Fault | null {
  const misnamed = faultInNames(namesIn(message), on.ahead.view)
  if (misnamed) return misnamed
  switch (message.type) {
    case 'query':
      return planQuery(message.sql, on)
    case 'parse':
      return planParse(message, on)
    case 'bind':
      return planBind(message, on)
    case 'execute':
      return planExecute(message, on)
    case 'describe': {
      on.slots.push({ kind: `describe_${message.what}`, isSilent: false })
      return null
    }
    case 'close':
      return planClose(message, on)
    case 'sync':
      on.slots.push({ kind: 'sync', isSilent: false })
      return null
    case 'flush':
      return null
    case 'function_call':
    case 'password':
    case 'terminate':
    case 'copy_data':
    case 'copy_done':
    case 'copy_fail':
      throw new TypeError(`a batch does not hold a ${message.type}`)
  }
}

/** Of the statements and portals that a message speaks of. */
function namesIn(message: Frontend): readonly string[] {
  if (message.type === 'parse') return [message.statement]
  if (message.type === 'bind') return [message.portal, message.statement]
  if (message.type === 'execute') return [message.portal]
  return message.type === 'describe' || message.type === 'close' ? [message.name] : []
}

function faultInNames(names: readonly string[], { serverEncoding }: SessionView): Fault | null {
  if (names.some((name) => name.startsWith(OWN_NAME))) return OWN
  // How many bytes it has there is not known.
  if (serverEncoding !== 'UTF8' && names.some((name) => /\P{ASCII}/u.test(name))) return FOREIGN
  return names.some((name) => Buffer.byteLength(name) > MAX_NAME_BYTES) ? LONG : null
}

async function planQuery(sql: string, on: Ahead): Promise<Fault | null> {
  const named = await nameIt(sql, on)
  if (!('length' in named)) return named
  const { state } = on
  const slot: Slot = {
    kind: 'query',
    isSilent: false,
    completed(index) {
      // A simple query takes the unnamed ones with it.
      forgetStatement(state, '')
      forgetPortal(state, '')
      const done = named[index]
      if (!done) return
      applyDone(state, done, null)
      lookAnew(state, done)
    },
    failed(index) {
      const tried = named[index]
      if (tried) applyRun(state, tried)
    },
  }
  if (named.some(isKept) && bytesHeld(state) + sql.length > on.maxHeldBytes) return FULL
  const meanings = meaningsOf(named, on.ahead.view)
  if (named.length > 0) on.doings.push({ how: 'run', sql, named, bound: null, meanings, maxRows: 0, slot })
  on.slots.push(slot)
  return null
}

/** A statement that is parsed, bound and run in one batch is named once, as long as nothing in between changed the session. */
async function nameIt(
  sql: string,
  { ahead: { view }, named, namer, signal }: Ahead,
): Promise<readonly Named[] | Fault> {
  const known = named.get(sql)
  if (known?.view === view) return known.names
  const names = await namer.name(sql, view, signal)
  named.set(sql, { view, names })
  return names
}

type Message<Type extends Frontend['type']> = Extract<Frontend, { readonly type: Type }>

async function planParse({ statement, sql, parameterTypes }: Message<'parse'>, on: Ahead): Promise<Fault | null> {
  const named = await nameIt(sql, on)
  if (!('length' in named)) return named
  let unresolved: Unresolved | null = null
  if (statement !== '') {
    const made = await on.namer.prepare(sql, on.signal)
    if (made !== null && isUnnamed(made)) return made
    unresolved = made && { ...made, parameterTypes }
  }
  const prepared: Prepared = { sql, parameterTypes, unresolved }
  const meanings = meaningsOf(named, on.ahead.view)
  const note = (state: State) => noteStatement(state, statement, prepared)
  note(on.ahead)
  if (bytesHeld(on.ahead) > on.maxHeldBytes) return FULL
  const { state } = on
  on.slots.push({ kind: 'parse', isSilent: false, completed: () => note(state) })
  if (named.length > 0)
    on.idle.set(prepared, { how: 'prepare', sql, named, bound: null, meanings, maxRows: 0, slot: null })
  return null
}

async function planBind(message: Message<'bind'>, on: Ahead): Promise<Fault | null> {
  const { portal, statement, formats, values, resultFormats } = message
  const prepared = on.ahead.statements.get(statement)
  // What SQL has prepared can be bound as well: it does what EXECUTE of it does.
  const sql = prepared?.sql ?? (on.ahead.view.prepared.has(statement) ? `EXECUTE ${quoteName(statement)}` : null)
  if (sql === null) {
    const which = statement === '' ? 'unnamed prepared statement' : `prepared statement "${statement}"`
    return { code: '26000', message: `${which} does not exist` }
  }
  // To bind is to plan: functions that are said to be immutable run then.
  const named = await nameIt(sql, on)
  if (!('length' in named)) return named
  const made: Portal = {
    sql,
    named,
    parameterTypes: prepared?.parameterTypes ?? [],
    formats,
    values,
    resultFormats,
    meanings: meaningsOf(named, on.ahead.view),
  }
  const note = (state: State) => notePortal(state, portal, made)
  note(on.ahead)
  if (bytesHeld(on.ahead) > on.maxHeldBytes) return FULL
  const { state } = on
  const run = () => {
    for (const each of named) applyRun(state, each)
  }
  on.slots.push({
    kind: 'bind',
    isSilent: false,
    completed() {
      note(state)
      run()
      state.active = portal === '' ? null : portal
    },
    failed: run,
  })
  if (prepared) on.idle.delete(prepared)
  if (named.length > 0)
    on.idle.set(made, { how: 'prepare', sql, named, bound: made, meanings: made.meanings, maxRows: 0, slot: null })
  return null
}

async function planExecute({ portal, maxRows }: Message<'execute'>, on: Ahead): Promise<Fault | null> {
  const bound = on.ahead.portals.get(portal) ?? null
  // A cursor that SQL has declared is a portal, too: more of it is what FETCH gets.
  const sql = bound?.sql ?? (on.ahead.view.cursors.has(portal) ? `FETCH ALL IN ${quoteName(portal)}` : null)
  if (sql === null) return { code: '34000', message: `portal "${portal}" does not exist` }
  const named = await nameIt(sql, on)
  if (!('length' in named)) return named
  if (bound) on.idle.delete(bound)
  // A query is what its names meant when it was bound, anything else what they mean now.
  const either = bound && !isSame(bound.named, named) ? [...bound.named, ...named] : named
  const now = meaningsOf(named, on.ahead.view)
  const meanings = bound && !isDeepStrictEqual(bound.meanings, now) ? [...bound.meanings, ...now] : now
  const { state } = on
  const note = (noted: State) => {
    for (const each of named) applyDone(noted, each, bound)
    // The cursor that SQL names in an unnamed portal is noted already.
    if (portal !== '') noted.active = portal
  }
  note(on.ahead)
  if (named.some(isKept) && bytesHeld(on.ahead) > on.maxHeldBytes) return FULL
  const slot: Slot = {
    kind: 'execute',
    isSilent: false,
    completed() {
      note(state)
      for (const each of named) lookAnew(state, each)
    },
    failed() {
      for (const each of named) applyRun(state, each)
    },
  }
  if (either.length > 0) on.doings.push({ how: 'run', sql, named: either, bound, meanings, maxRows, slot })
  on.slots.push(slot)
  return null
}

/** Whether the session knows it, or what it makes, by a name from then on. */
function isKept({ effects }: Named): boolean {
  return effects.some(({ does }) => does === 'prepare' || does === 'declare')
}

function isSame(bound: readonly Named[], now: readonly Named[]): boolean {
  if (bound === now) return true
  return isDeepStrictEqual(
    bound.map(({ acts }) => acts),
    now.map(({ acts }) => acts),
  )
}

function planClose({ what, name }: Message<'close'>, on: Ahead): null {
  const note = (state: State) => (what === 'portal' ? forgetPortal(state, name) : forgetStatement(state, name))
  note(on.ahead)
  const { state } = on
  on.slots.push({ kind: 'close', isSilent: false, completed: () => note(state) })
  return null
}

const OWN: Fault = { code: '42939', message: `Not executed. Names that begin with ${OWN_NAME} are the gateway's own.` }
const LONG: Fault = {
  code: '42622',
  message: `Not executed. The name of a prepared statement or of a portal has at most ${MAX_NAME_BYTES} bytes.`,
}
const FOREIGN: Fault = {
  code: '0A000',
  message:
    'Not executed. The encoding of this database is not UTF8: names of prepared statements and portals are in ASCII.',
}
const FULL: Fault = {
  code: '53200',
  message: 'Not executed. The prepared statements and portals of this session are too large.',
  hint: 'Close some of them, or DEALLOCATE ALL.',
}
