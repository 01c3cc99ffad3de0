import { asSummary } from './resolve.ts'
import type { Effect, Named, SessionView } from './statement.ts'

/** Settings that decide where a name is found. */
const PATH_SETTINGS: ReadonlySet<string> = new Set(['search_path', 'role', 'session_authorization'])
/** Schemas appear, disappear or change their name: the effective path with them. */
const SCHEMA_TAGS: ReadonlySet<string> = new Set(['create schema', 'drop schema', 'alter schema', 'drop owned'])
/** What uses a name without making or altering what it stands for. */
const USES: ReadonlySet<string> = new Set(['select', 'call', 'use type', 'references', 'insert', 'update', 'delete'])

/**
 * The session as it may be once a statement ran, for those that follow it before the upstream can be asked again: at
 * worst, never at best. Whoever can ask builds a new view instead, with `searchPath` as the upstream says it and no
 * `shadows`.
 */
export function advance(view: SessionView, statement: Named): SessionView {
  let next = view
  for (const effect of statement.effects) next = apply(next, effect, statement)
  if (statement.isOpaque || SCHEMA_TAGS.has(statement.tag)) next = { ...next, searchPath: null, hasLocalPath: true }
  if (statement.isOpaque) next = { ...next, hasCertainNames: false }
  if (!statement.facts.is_ddl) return next
  const changed = asSummary(statement.unresolved.summary)
    .mentions.filter(({ kind, verb }) => kind !== 'global' && !USES.has(verb))
    .map(({ name }) => name)
  return { ...next, shadows: new Set([...next.shadows, ...changed]) }
}

function apply(view: SessionView, effect: Effect, statement: Named): SessionView {
  switch (effect.does) {
    case 'begin':
      return { ...view, inTransaction: true }
    case 'commit':
    case 'rollback': {
      const searchPath = view.hasLocalPath ? null : view.searchPath
      return { ...view, inTransaction: false, searchPath, hasLocalPath: false }
    }
    case 'rollback_to':
      return view.hasLocalPath ? { ...view, searchPath: null } : view
    case 'set':
      return PATH_SETTINGS.has(effect.name) ? { ...view, searchPath: null, hasLocalPath: true } : view
    case 'reset_all':
      return { ...view, searchPath: null, hasLocalPath: true }
    case 'discard':
      if (effect.what !== 'all') return view
      return { ...view, searchPath: null, hasLocalPath: true, prepared: new Map(), cursors: new Map() }
    case 'prepare':
      return { ...view, prepared: new Map(view.prepared).set(effect.name, effect.statement) }
    case 'deallocate':
      return { ...view, prepared: without(view.prepared, effect.name) }
    case 'declare':
      return { ...view, cursors: new Map(view.cursors).set(effect.name, statement) }
    case 'close':
      return { ...view, cursors: without(view.cursors, effect.name) }
    case 'create_temporary':
      return { ...view, shadows: new Set([...view.shadows, effect.name]) }
    case 'savepoint':
    case 'release':
    case 'execute':
    case 'fetch':
    case 'take_current':
    case 'listen':
    case 'unlisten':
    case 'copy_in':
    case 'copy_out':
      return view
  }
}

function without<Value>(map: ReadonlyMap<string, Value>, name: string | null): ReadonlyMap<string, Value> {
  if (name === null) return new Map()
  const rest = new Map(map)
  rest.delete(name)
  return rest
}
