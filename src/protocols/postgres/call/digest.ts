import { createHash } from 'node:crypto'
import type { Action, Actions } from '../../../domain/action.ts'
import { lengthPrefixed } from '../../../domain/bytes.ts'
import { canonicalJson } from '../../../domain/canonical.ts'
import { type Principal, principalKey } from '../../../domain/principal.ts'
import { TIME_SETTINGS } from '../catalog/holders.ts'
import type { SessionView, Unresolved } from '../naming/statement.ts'
import type { Doing } from '../planning/plan.ts'

/** What a call is bound to besides what it says. */
export interface Binding {
  readonly principal: Principal
  /** What comes in by one is answered by it, and made again by it: none attaches to what waits at the other. */
  readonly door: 'wire' | 'query'
  readonly upstream: string
  /** Host, port and the gateway's user there. */
  readonly target: string
  readonly database: string
  /** Whose rights are in force: what SET ROLE said last. */
  readonly role: string
  /** How times are read: see `TIME_SETTINGS`. */
  readonly times: ReadonlyMap<string, string>
  readonly view: Pick<SessionView, 'searchPath' | 'inTransaction' | 'prepared' | 'cursors'>
}

/**
 * What a batch says, and nothing else of it: statements with their parameters, row limits and formats. Names of prepared
 * statements and portals are a connection's own: a retry has others.
 */
export function canonicalBytes(doings: readonly Doing[], { view }: Pick<Binding, 'view'>): Buffer {
  return lengthPrefixed(
    'countersign postgres batch v1',
    doings.flatMap((doing) => partsOf(doing, view)),
  )
}

function partsOf({ how, sql, bound, maxRows, named }: Doing, view: Binding['view']): (string | Uint8Array)[] {
  const meanings = named.flatMap(({ effects }) => effects.flatMap((effect) => meaningOf(effect, view)))
  const parts: (string | Uint8Array)[] = [how, sql, String(maxRows), String(meanings.length), ...meanings]
  if (!bound) return [...parts, 'unbound']
  const { parameterTypes, formats, values, resultFormats } = bound
  return [
    ...parts,
    JSON.stringify([parameterTypes, formats, resultFormats, values.map((value) => value === null)]),
    ...values.map((value) => value ?? ''),
  ]
}

type Effect = Doing['named'][number]['effects'][number]

/** What a name that SQL executes or fetches by stands for in this session. */
function meaningOf(effect: Effect, { prepared, cursors }: Binding['view']): string[] {
  const text = (of: Unresolved | undefined) => (of === undefined ? 'nothing' : JSON.stringify(of.text))
  if (effect.does === 'execute') return [text(prepared.get(effect.name))]
  if (effect.does === 'fetch') return [cursors.get(effect.name)?.text ?? 'nothing']
  return []
}

/** SHA-256 over what is forwarded, what gives it its meaning, and everyone it is forwarded for. */
export function digestOf(canonical: Uint8Array, actions: Actions, binding: Binding): Buffer {
  return sha256('countersign postgres call v1', [
    ...bound(binding),
    canonicalJson(actions.map(withoutClaims)),
    canonical,
  ])
}

/** What a connection says of itself changes nothing of what is done, and the next one of the same agent may say another thing. */
function withoutClaims({ facts, ...action }: Action) {
  const { application_name: _name, user: _user, ...rest } = facts
  return { ...action, facts: rest }
}

/** The same for whoever tries again: what a call is found by. */
export function matchKeyOf(canonical: Uint8Array, binding: Binding): Buffer {
  return sha256('countersign postgres match v1', [...bound(binding), canonical])
}

function bound(binding: Binding): (string | Uint8Array)[] {
  const { principal, door, upstream, target, database, role, view } = binding
  // The schema of temporary relations has another number on every connection.
  const path = view.searchPath?.map((schema) => schema.replace(/^pg_temp_[0-9]+$/, 'pg_temp')) ?? null
  const times = TIME_SETTINGS.map((name) => binding.times.get(name) ?? null)
  const state = JSON.stringify([database, role, path, view.inTransaction, times])
  return [principalKey(principal), door, upstream, target, state]
}

function sha256(label: string, parts: readonly (string | Uint8Array)[]): Buffer {
  return createHash('sha256').update(lengthPrefixed(label, parts)).digest()
}
