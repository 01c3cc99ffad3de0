import { NODES } from './nodes.ts'
import { unknownNode } from './unnameable.ts'

/** A node's own fields. What they hold is checked where it is read: the tree comes out of JSON. */
export type Tree = { readonly [field: string]: unknown }

export type NodeTag = keyof typeof NODES

/** The fields of each node, with the kind of what they hold: nothing for a plain value, `*` for any node. */
export const FIELDS: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map(
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

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isNodeTag(tag: string): tag is NodeTag {
  return Object.hasOwn(NODES, tag)
}
