import { createHash } from 'node:crypto'
import type { Action, Actions } from '../../../domain/action.ts'
import { lengthPrefixed } from '../../../domain/bytes.ts'
import { canonicalJson } from '../../../domain/canonical.ts'
import { type Principal, principalKey } from '../../../domain/principal.ts'
import { TIME_SETTINGS } from '../catalog/holders.ts'
import type { Settings } from '../catalog/settings.ts'
import type { Meaning, SessionView } from '../naming/statement.ts'
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
  /** The settings that its client began with, which a RESET brings back. */
  readonly began: ReadonlyMap<string, string>
  /** What the client has set besides; null where that could not be asked. */
  readonly settings: Settings | null
  readonly view: Pick<SessionView, 'searchPath' | 'inTransaction'>
  /** The call, where no other is surely the same: see `isOnlyItself`. */
  readonly only: string | null
}

/**
 * What a batch says, and nothing else of it: statements with their parameters, row limits and formats. Names of prepared
 * statements and portals are a connection's own: a retry has others. Where SQL speaks of one, what it stands for is said.
 */
export function canonicalBytes(doings: readonly Doing[]): Buffer {
  return lengthPrefixed('countersign postgres batch v2', doings.flatMap(partsOf))
}

function partsOf({ how, sql, bound, maxRows, meanings }: Doing): (string | Uint8Array)[] {
  const meant = [String(meanings.length), ...meanings.flatMap(partsOfMeaning)]
  return [how, sql, String(maxRows), ...meant, ...(bound ? partsGiven(bound) : ['unbound'])]
}

function partsOfMeaning(meaning: Meaning): (string | Uint8Array)[] {
  const { sql, meanings } = meaning
  return [sql, ...partsGiven(meaning), String(meanings.length), ...meanings.flatMap(partsOfMeaning)]
}

function partsGiven({ parameterTypes, formats, values, resultFormats }: Meaning): (string | Uint8Array)[] {
  const kinds = JSON.stringify([parameterTypes, formats, resultFormats, values.map((value) => value === null)])
  return [kinds, ...values.map((value) => value ?? '')]
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
  const { principal, door, upstream, target, database, role, began, settings, view, only } = binding
  // The schema of temporary relations has another number on every connection.
  const path = view.searchPath?.map((schema) => schema.replace(/^pg_temp_[0-9]+$/, 'pg_temp')) ?? null
  const first = [...began].filter(([name]) => name !== 'application_name').sort()
  const times = TIME_SETTINGS.map((name) => binding.times.get(name) ?? null)
  const state = JSON.stringify([database, role, path, view.inTransaction, times, first, settings, only])
  return [principalKey(principal), door, upstream, target, state]
}

function sha256(label: string, parts: readonly (string | Uint8Array)[]): Buffer {
  return createHash('sha256').update(lengthPrefixed(label, parts)).digest()
}
