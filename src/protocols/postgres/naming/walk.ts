import type { Found } from './found.ts'
import type { NameKind } from './statement.ts'
import { FIELDS, isNodeTag, isTree, type NodeTag, type Tree, textOf, untag } from './tree.ts'
import { unknownNode } from './unnameable.ts'

/** What a walk knows of the place it is at. */
export interface Place {
  readonly found: Found
  readonly visits: Visits
  /** What a relation that is met here is used for: `select`, or the tag of the definition around it. */
  readonly verb: string
  /** What every verb is replaced by: nothing under an EXPLAIN is done. */
  readonly as: string | null
  /** The tags of the locking clauses whose rows are taken here. */
  readonly locks: readonly string[]
  /** Names that stand for the queries of a WITH around this place. */
  readonly ctes: Ctes | null
  /** The column references that are returned as they are: see `returnedBy`. */
  readonly returned: ReadonlySet<Tree>
  /** Where CREATE SCHEMA makes what is not qualified, and looks first. */
  readonly schema: string | null
}

export interface Ctes {
  readonly name: string
  readonly outer: Ctes | null
}

export type Visit = (node: Tree, place: Place) => void
export type Visits = Readonly<Record<NodeTag, Visit>>

/** Visits a node whose kind is known from where it stands. */
export function visit(tag: string, node: unknown, place: Place): void {
  if (!isNodeTag(tag) || !isTree(node)) throw unknownNode(tag)
  place.visits[tag](node, place)
}

/** Visits what a field holds: a node, a list of them, or nothing. */
export function visitAny(value: unknown, place: Place): void {
  if (value === undefined || value === null) return
  if (Array.isArray(value)) {
    for (const item of value) visitAny(item, place)
    return
  }
  const tagged = untag(value)
  if (tagged) visit(tagged.tag, tagged.node, place)
}

/** Visits everything a node holds: what a node does that names nothing by itself. */
export function within(tag: NodeTag, except: readonly string[] = []): Visit {
  const inner = [...(FIELDS.get(tag) ?? [])].filter(([field, kind]) => kind !== '' && !except.includes(field))
  return (node, place) => {
    for (const [field, kind] of inner) {
      const value = node[field]
      if (value === undefined || value === null) continue
      if (kind === '*') visitAny(value, place)
      else for (const item of Array.isArray(value) ? value : [value]) visit(kind, item, place)
    }
  }
}

/** Notes that something is used. */
export function mention(
  place: Place,
  kind: NameKind | 'other' | 'global',
  name: { readonly schema: string | null; readonly name: string },
  how: { readonly verb?: string; readonly isMade?: boolean } = {},
): void {
  const verb = place.as ?? how.verb ?? place.verb
  const isMade = how.isMade ?? false
  const add = (schema: string | null) => {
    const one = { verb, kind, schema, name: name.name, isMade }
    place.found.mentions.set(JSON.stringify(one), one)
  }
  if (kind !== 'global' && name.schema === null && place.schema !== null) {
    add(place.schema)
    if (isMade) return
  }
  add(name.schema)
}

/** Notes that something may be changed, unless it is only planned. */
export function markWrite(place: Place): void {
  if (place.as === null) place.found.writes = true
}

export function mentionGlobal(place: Place, name: unknown, verb?: string): void {
  const text = textOf(name)
  if (text !== null) mention(place, 'global', { schema: null, name: text }, verb === undefined ? {} : { verb })
}

export function mentionRelation(
  place: Place,
  relation: unknown,
  how: { readonly verb?: string; readonly isMade?: boolean } = {},
): void {
  if (!isTree(relation)) throw unknownNode('RangeVar')
  const name = textOf(relation['relname'])
  if (name === null) throw unknownNode('RangeVar.relname')
  const isTemporary = relation['relpersistence'] === 't'
  const schema = textOf(relation['schemaname']) ?? (isTemporary ? 'pg_temp' : null)
  mention(place, 'relation', { schema, name }, how)
  if (how.isMade && schema?.startsWith('pg_temp')) {
    place.found.effects.push({ does: 'create_temporary', name })
  }
}
