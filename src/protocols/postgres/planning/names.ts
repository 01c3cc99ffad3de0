import type { Relay } from '../relay/relay.ts'
import { forgetPortal, forgetStatement, type State } from './state.ts'

/**
 * What was prepared and declared in the session, and since when. `EXTRACT` gives a number: how a time is written depends
 * on settings.
 */
const NAMES = `SELECT 'prepared', name, EXTRACT(epoch FROM prepare_time)::pg_catalog.text, from_sql::pg_catalog.text
    FROM pg_catalog.pg_prepared_statements
  UNION ALL
  SELECT 'cursor', name, EXTRACT(epoch FROM creation_time)::pg_catalog.text, 'true' FROM pg_catalog.pg_cursors`

/** Since when each name is there, as the server says it. A statement that a message made has no time: no code can make one. */
type Births = ReadonlyMap<string, string>

const MESSAGE = 'by a message'

async function askNames(relay: Pick<Relay, 'ask'>): Promise<Births | null> {
  const rows = await relay.ask(NAMES, [])
  return (
    rows && new Map(rows.map(([kind, name, at, isSql]) => [`${kind} ${name}`, isSql === 'true' ? (at ?? '') : MESSAGE]))
  )
}

/**
 * Before code runs that cannot be seen: since when there is what it could replace. What is prepared or declared later in
 * the same batch is not known, and forgotten by `checkNames`.
 */
export async function noteNames(relay: Pick<Relay, 'ask'>, state: State): Promise<void> {
  const isKnown = [...namesOf(state)].every((key) => state.births.has(key) || isByMessage(state, key))
  if (isKnown) return
  const births = await askNames(relay)
  if (births) for (const [key, at] of births) state.births.set(key, at)
}

/**
 * After such code ran: forgets every name that does not stand for what it stood for before. A statement that a message
 * made is still that, or gone; anything else has to be as old as it was. The portal that ran the code, or that was made
 * behind it, is what it was: a server drops none that is active.
 *
 * @returns whether none of them stands for something else
 */
export async function checkNames(relay: Pick<Relay, 'ask'>, state: State): Promise<boolean> {
  const names = [...namesOf(state)]
  const births = names.length === 0 ? new Map<string, string>() : await askNames(relay)
  // It cannot be asked: nothing is certain until it can.
  if (births === null) return false
  let isAsBefore = true
  for (const key of names) {
    const since = births.get(key)
    const isActive = key === `cursor ${state.active}` && since !== undefined
    if (isActive || since === (isByMessage(state, key) ? MESSAGE : (state.births.get(key) ?? 'unknown'))) continue
    // What is gone does no harm: whoever names it is told so.
    if (since !== undefined) isAsBefore = false
    const name = key.slice(key.indexOf(' ') + 1)
    if (key.startsWith('cursor')) forgetPortal(state, name)
    else forgetStatement(state, name)
  }
  state.births.clear()
  for (const key of namesOf(state)) state.births.set(key, births.get(key) ?? '')
  state.active = null
  state.view = { ...state.view, hasCertainNames: true }
  return isAsBefore
}

/** The unnamed ones cannot be named by code. */
function* namesOf({ statements, portals, view }: State): Generator<string> {
  for (const name of new Set([...statements.keys(), ...view.prepared.keys()])) if (name !== '') yield `prepared ${name}`
  for (const name of new Set([...portals.keys(), ...view.cursors.keys()])) if (name !== '') yield `cursor ${name}`
}

function isByMessage({ statements }: State, key: string): boolean {
  return key.startsWith('prepared ') && statements.has(key.slice('prepared '.length))
}
