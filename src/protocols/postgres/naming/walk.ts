import { NODES } from './nodes.ts'
import type { NameKind } from './statement.ts'
import type { Mention, Summary, SummaryEffect } from './summary.ts'

/** A node's own fields. What they hold is checked where it is read: the tree comes out of JSON. */
export type Tree = { readonly [field: string]: unknown }

export type NodeTag = keyof typeof NODES

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

/** What a walk gathers. */
export interface Found {
  /** Under what makes each one different: an operator is mentioned thirty thousand times in a long sum. */
  readonly mentions: Map<string, Mention>
  readonly fields: Set<string>
  readonly columns: Set<string>
  /** Columns that are used otherwise than to return them. */
  readonly uses: Set<string>
  /** Names that a column reference of one name may mean as a whole row. */
  readonly rows: Set<string>
  readonly bareColumns: Set<string>
  readonly roles: Set<string>
  readonly languages: Set<string>
  readonly files: Set<string>
  readonly executes: { name: string; as: string | null }[]
  readonly fetches: Set<string>
  readonly effects: SummaryEffect[]
  /** Whether each UPDATE and DELETE has a condition; undefined while none was met. */
  isBounded: boolean | undefined
  copyProgram: string
  writes: boolean
  isOpaque: boolean
}

/** The statement gets no names: the parser knows something that naming does not, or it may not be sent at all. */
export class Unnameable extends Error {
  readonly code: string
  readonly hint: string | undefined
  constructor(code: string, message: string, hint?: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

/** As many as a table can have columns (PostgreSQL, appendix K). What is named is sorted and sent more than once. */
const MAX_NAMES = 1_600

const FIELDS: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map(
  Object.entries(NODES).map(([tag, fields]) => [
    tag,
    new Map(
      fields
        .split(' ')
        .filter((field) => field !== '')
        .map((field) => {
          const colon = field.indexOf(':')
          return [field.slice(0, colon), field.slice(colon + 1)]
        }),
    ),
  ]),
)

/**
 * Refuses a tree that holds anything the grammar does not: a newer parser's node or field would else be passed over
 * unseen.
 *
 * @throws {Unnameable}
 */
export function check(tag: string, node: unknown): void {
  const fields = FIELDS.get(tag)
  if (!fields || !isTree(node)) throw unknownNode(tag)
  for (const field in node) {
    const kind = fields.get(field)
    if (kind === undefined) throw unknownNode(`${tag}.${field}`)
    const value = node[field]
    if (kind === '') {
      if (typeof value === 'object') throw unknownNode(`${tag}.${field}`)
    } else if (kind === '*') checkAny(value)
    else for (const item of Array.isArray(value) ? value : [value]) check(kind, item)
  }
}

function checkAny(value: unknown): void {
  if (Array.isArray(value)) for (const item of value) checkAny(item)
  else {
    const tagged = untag(value)
    if (tagged) check(tagged.tag, tagged.node)
  }
}

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

/** The one tag of a node and what is under it; null for the empty object that stands for a missing one in a list. */
export function untag(value: unknown): { readonly tag: string; readonly node: Tree } | null {
  if (!isTree(value)) throw unknownNode('value')
  const [tag, ...more] = Object.keys(value)
  if (tag === undefined) return null
  const node = value[tag]
  if (more.length > 0 || !isTree(node)) throw unknownNode(tag)
  return { tag, node }
}

/** The node under a tag, if the value is one of that kind. */
export function ofKind(tag: NodeTag, value: unknown): Tree | null {
  if (!isTree(value)) return null
  const node = value[tag]
  return isTree(node) ? node : null
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

export function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

/** The text of a field that the grammar always fills. */
export function required(node: Tree, field: string): string {
  const text = textOf(node[field])
  if (text === null) throw unknownNode(field)
  return text
}

/** The texts of a list of `String` nodes, of a `List` of them, or of one; other nodes are left out. */
export function stringsOf(value: unknown): readonly string[] {
  const list = ofKind('List', value)?.['items'] ?? value
  return (Array.isArray(list) ? list : [list]).flatMap((item) => {
    const text = ofKind('String', item)?.['sval']
    return typeof text === 'string' ? [text] : []
  })
}

/** The value of an option by its name. */
export function optionOf(options: unknown, name: string): unknown {
  for (const item of listOf(options)) {
    const option = ofKind('DefElem', item)
    if (option?.['defname'] === name) return option['arg']
  }
  return undefined
}

/** The last two parts of a name. A third one before them is the database, which the server checks to be the current one. */
export function nameOf(parts: readonly string[]): { readonly schema: string | null; readonly name: string } {
  const name = parts.at(-1)
  if (name === undefined) throw unknownNode('name')
  return { schema: parts.at(-2) ?? null, name }
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

export function emptyFound(): Found {
  return {
    mentions: new Map(),
    fields: new Set(),
    columns: new Set(),
    uses: new Set(),
    rows: new Set(),
    bareColumns: new Set(),
    roles: new Set(),
    languages: new Set(),
    files: new Set(),
    executes: [],
    fetches: new Set(),
    effects: [],
    isBounded: undefined,
    copyProgram: '',
    writes: false,
    isOpaque: false,
  }
}

/** The plain data of what was found. */
export function summaryOf(found: Found, more: Pick<Summary, 'tag' | 'isDdl' | 'hasWhere'>): Summary {
  const columns = new Set(found.columns)
  const uses = new Set(found.uses)
  for (const name of found.bareColumns) {
    columns.add(found.rows.has(name) ? '*' : name)
    if (found.rows.has(name)) uses.add('*')
  }
  if (Math.max(columns.size, found.mentions.size, found.fields.size) > MAX_NAMES) {
    throw new Unnameable(
      '54001',
      `Not executed. The statement has more than ${MAX_NAMES} names of one kind.`,
      'Split it.',
    )
  }
  return {
    ...more,
    mentions: [...found.mentions.values()],
    fields: [...found.fields],
    columns: [...columns],
    uses: [...uses],
    roles: [...found.roles],
    languages: [...found.languages],
    files: [...found.files],
    copyProgram: found.copyProgram,
    writes: found.writes,
    isOpaque: found.isOpaque,
    effects: found.effects,
    executes: found.executes,
    fetches: [...found.fetches],
  }
}

export function unknownNode(what: string): Unnameable {
  return new Unnameable('0A000', `Not executed. The gateway cannot name this statement (${what.slice(0, 60)}).`)
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isNodeTag(tag: string): tag is NodeTag {
  return Object.hasOwn(NODES, tag)
}
