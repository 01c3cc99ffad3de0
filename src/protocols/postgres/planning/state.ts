import { advance } from '../naming/advance.ts'
import { runsAtCommit } from '../naming/resolve.ts'
import type { Cursor, Effect, Meaning, Named, SessionView, Unresolved } from '../naming/statement.ts'
import { meaningsOf, NOTHING_GIVEN } from './meaning.ts'

/** A statement that a Parse message made. */
export interface Prepared {
  readonly sql: string
  readonly parameterTypes: readonly number[]
  /** For SQL that names it; null for the unnamed one, and for an empty one. */
  readonly unresolved: Unresolved | null
}

/** A portal that a Bind message made: what an Execute of it runs. */
export interface Portal extends Meaning {
  readonly named: readonly Named[]
}

/**
 * What a session has become by what was done in it: by the upstream's answers, never by what was merely asked for. A
 * copy of it goes ahead while a batch is judged.
 */
export interface State {
  readonly statements: Map<string, Prepared>
  readonly portals: Map<string, Portal>
  /** What naming sees. */
  view: SessionView
  /** Whether the upstream tells of a changed search_path by itself (since PostgreSQL 18). */
  readonly isPathReported: boolean
  /** Whether the open transaction may have changed the catalog, which nobody else sees yet. */
  hasOwnCatalog: boolean
  /** Whose rights are in force, as the upstream said it last. */
  role: string
  /** The settings that were set, but for those that are followed by themselves; what they are now, the upstream says. */
  settings: ReadonlySet<string>
  /** Whether code that cannot be seen ran: it may have set what nobody can list. */
  hasUnseenSettings: boolean
  /** How times are read, as the upstream said it last. */
  times: ReadonlyMap<string, string>
  /** Since when there is what SQL has prepared and declared, as far as it was asked for: see names.ts. */
  readonly births: Map<string, string>
  /** The portal or cursor that was made or ran last; null for none with a name. */
  active: string | null
}

export function copyState({ statements, portals, births, ...rest }: State): State {
  return { ...rest, statements: new Map(statements), portals: new Map(portals), births: new Map(births) }
}

/** Notes a statement that succeeded, which a portal has run or a simple query. */
export function applyDone(state: State, done: Named, portal: Portal | null): void {
  const before = state.view
  state.view = advance(before, done)
  if (done.facts.is_ddl || done.isOpaque) state.hasOwnCatalog = true
  if (done.isOpaque) state.hasUnseenSettings = true
  state.active = null
  for (const effect of done.effects) {
    applyEffect(state, effect)
    if (effect.does !== 'declare') continue
    const opened = { ...NOTHING_GIVEN, ...portal, sql: done.text, meanings: meaningsOf([done], before) }
    noteCursor(state, effect.name, { ...done, opened })
  }
}

/**
 * Asks anew, before the next batch, where names are found: what was defined may have brought a schema of temporary
 * relations, and what hides behind a relation may have set the path.
 */
export function lookAnew(state: State, { facts }: Named): void {
  if (facts.is_ddl || (facts.tables.length > 0 && !state.isPathReported)) forgetPath(state)
}

/**
 * Notes that something ran which came to no end, or only prepared something: code that cannot be seen may have committed
 * what it did, and what it prepares outlives an error.
 */
export function applyRun(state: State, { isOpaque }: Named): void {
  state.active = null
  if (!isOpaque) return
  forgetPath(state)
  state.hasOwnCatalog = true
  state.hasUnseenSettings = true
  state.view = { ...state.view, hasCertainNames: false }
}

/** What was made by messages, and is made or dropped by SQL. */
function applyEffect(state: State, effect: Effect): void {
  switch (effect.does) {
    case 'prepare':
    case 'deallocate':
      dropStatements(state, effect.name)
      state.births.delete(`prepared ${effect.name}`)
      return
    case 'declare':
      state.portals.delete(effect.name)
      state.births.delete(`cursor ${effect.name}`)
      state.active = effect.name
      return
    case 'fetch':
      state.active = effect.name
      return
    case 'close':
      if (effect.name === null) state.portals.clear()
      else state.portals.delete(effect.name)
      return
    case 'rollback_to':
      // Those that were made since are gone; which these are is not told.
      state.portals.clear()
      return
    case 'discard':
      if (effect.what !== 'all') return
      dropStatements(state, null)
      state.portals.clear()
      return
    case 'set':
      if (FOLLOWED.has(effect.name) || state.settings.has(effect.name)) return
      state.settings = new Set([...state.settings, effect.name])
      return
    case 'begin':
    case 'commit':
    case 'rollback':
    case 'savepoint':
    case 'release':
    case 'reset_all':
    case 'execute':
    case 'listen':
    case 'unlisten':
    case 'copy_in':
    case 'copy_out':
    case 'create_temporary':
    case 'take_current':
      return
  }
}

/** In lower case. What a connection calls itself changes nothing of what it does. */
const FOLLOWED: ReadonlySet<string> = new Set([
  'application_name',
  'client_encoding',
  'datestyle',
  'intervalstyle',
  'names',
  'role',
  'search_path',
  'session_authorization',
  'standard_conforming_strings',
  'timezone',
])

/** The two ways to prepare share their names, but for the unnamed statement, which SQL does not know. */
function dropStatements({ statements }: State, name: string | null): void {
  if (name !== null) statements.delete(name)
  else for (const each of [...statements.keys()]) if (each !== '') statements.delete(each)
}

export function forgetPath(state: State): void {
  state.view = { ...state.view, searchPath: null }
}

export function noteStatement(state: State, name: string, prepared: Prepared): void {
  state.statements.set(name, prepared)
  // SQL knows none without a name.
  if (!prepared.unresolved && !state.view.prepared.has(name)) return
  const all = new Map(state.view.prepared)
  if (prepared.unresolved) all.set(name, prepared.unresolved)
  else all.delete(name)
  state.view = { ...state.view, prepared: all }
}

export function forgetStatement(state: State, name: string): void {
  state.statements.delete(name)
  if (!state.view.prepared.has(name)) return
  const all = new Map(state.view.prepared)
  all.delete(name)
  state.view = { ...state.view, prepared: all }
}

export function notePortal(state: State, name: string, portal: Portal): void {
  state.portals.set(name, portal)
  state.births.delete(`cursor ${name}`)
  const [named] = portal.named
  // SQL can fetch from one that has a name.
  if (name !== '' && named) noteCursor(state, name, { ...named, opened: portal })
}

function noteCursor(state: State, name: string, cursor: Cursor): void {
  state.view = { ...state.view, cursors: new Map(state.view.cursors).set(name, cursor) }
}

export function forgetPortal(state: State, name: string): void {
  state.portals.delete(name)
  if (!state.view.cursors.has(name)) return
  const all = new Map(state.view.cursors)
  all.delete(name)
  state.view = { ...state.view, cursors: all }
}

/**
 * No portal outlives its transaction. A cursor may: it is computed by then, and runs nothing any more. One that did not is
 * missed by the upstream.
 */
export function endTransaction(state: State): void {
  for (const name of [...state.portals.keys()]) forgetPortal(state, name)
  for (const [name, cursor] of state.view.cursors) {
    if (!runsAtCommit(cursor)) continue
    applyRun(state, cursor)
    state.view = { ...state.view, cursors: new Map(state.view.cursors).set(name, { ...cursor, isOpaque: false }) }
  }
  state.hasOwnCatalog = false
  if (state.view.hasLocalPath) state.view = { ...state.view, searchPath: null, hasLocalPath: false }
}

/** Bytes that a session's statements and portals take here, so that they can be bounded. */
export function bytesHeld({ statements, portals, settings, view }: State): number {
  let bytes = view.cursors.size * 1024
  for (const name of settings) bytes += name.length + 64
  for (const { text } of view.prepared.values()) bytes += text.length + 1024
  for (const { sql } of statements.values()) bytes += sql.length + 256
  // A portal that has a name is a cursor as well.
  const opened = new Set<Meaning>(portals.values())
  for (const cursor of view.cursors.values()) if (cursor.opened) opened.add(cursor.opened)
  for (const { sql, values } of opened) {
    bytes += sql.length + 256
    for (const value of values) bytes += (value?.length ?? 0) + 64
  }
  return bytes
}

/** A name as SQL has it. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
