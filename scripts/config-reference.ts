import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { slack } from '../src/channels/slack/index.ts'
import { configSchema } from '../src/config.ts'
import { http } from '../src/protocols/http/index.ts'
import { postgres } from '../src/protocols/postgres/index.ts'

/*
 * The tables of docs/configuration.md, made of the schema that reads countersign.yaml. What stands above the mark is
 * written by hand and kept. `node scripts/config-reference.ts` prints the page, `--write` writes it.
 */

const PAGE = fileURLToPath(new URL('../docs/configuration.md', import.meta.url))
export const MARK = '<!-- From here on made by scripts/config-reference.ts. -->'

/** What is read of a JSON Schema (draft 2020-12), as zod writes it. */
export interface Node {
  readonly type?: string | readonly string[]
  readonly title?: string
  readonly description?: string
  readonly default?: unknown
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly format?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Node>>
  readonly additionalProperties?: boolean | Node
  readonly items?: Node
  readonly anyOf?: readonly Node[]
  readonly oneOf?: readonly Node[]
}

/** The schema of countersign.yaml as `countersign config schema` prints it. */
export function readSchema(): Node {
  const schema = configSchema({ protocols: [http, postgres], channels: [slack] })
  // zod's own type of a JSON Schema allows more than what is read here.
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node
}

interface Row {
  readonly path: string
  readonly node: Node
  readonly isRequired: boolean
  /** One of several that exclude each other. */
  readonly isChoice?: boolean
}

/** The whole page: its head by hand, its tables from the schema. */
export function describeConfiguration(page: string): string {
  const end = page.indexOf(MARK)
  if (end === -1) throw new Error(`docs/configuration.md lacks the line ${MARK}`)
  const root = readSchema()
  const top = Object.entries(root.properties ?? {})
  const overview = top.map(([path, node]) => ({ path, node, isRequired: isRequired(root, path) }))
  const sections = top.filter(([, node]) => rowsBelow(node, '').length > 0).map(([path, node]) => section(path, node))
  return [page.slice(0, end) + MARK, '## All keys', table(overview, linkTo(sections)), ...sections.map(print)].join(
    '\n\n',
  )
}

interface Section {
  readonly path: string
  readonly intro: string
  readonly parts: readonly { readonly heading: string | null; readonly rows: readonly Row[] }[]
}

function section(path: string, node: Node): Section {
  const kinds = kindsOf(node)
  const parts =
    kinds.length > 0
      ? kinds.map(({ name, node: kind }) => ({ heading: `protocol: ${name}`, rows: rowsBelow(kind, `${path}[]`) }))
      : [{ heading: null, rows: rowsBelow(node, path) }]
  return { path, intro: `${sentence(node.description)}.`, parts }
}

/** The entries of a list that are told apart by their protocol, each with keys of its own; none for any other node. */
function kindsOf({ items }: Node): readonly { readonly name: string; readonly node: Node }[] {
  return (items?.oneOf ?? []).flatMap((node) => {
    const name = node.properties?.['protocol']?.const
    return name === undefined ? [] : [{ name: String(name), node }]
  })
}

function print({ path, intro, parts }: Section): string {
  const tables = parts.map(({ heading, rows }) =>
    [...(heading === null ? [] : [`### ${heading}`]), table(rows, (row) => `\`${row.path}\``)].join('\n\n'),
  )
  return [`## ${path}`, intro, ...tables].join('\n\n')
}

function linkTo(sections: readonly Section[]): (row: Row) => string {
  const paths = new Set(sections.map(({ path }) => path))
  return ({ path }) => (paths.has(path) ? `[\`${path}\`](#${path})` : `\`${path}\``)
}

/** Every key under a node, depth first. Siblings of one shape (the keys of each purpose) are taken apart once. */
export function rowsBelow(node: Node, path: string): readonly Row[] {
  if (node.type === 'array' && node.items) return rowsBelow(node.items, `${path}[]`)
  const alternatives = node.anyOf ?? node.oneOf ?? []
  if (alternatives.length > 0) {
    return alternatives.flatMap((each) =>
      rowsBelow(each, path).map((row) => (isChoice(row, { path, alternatives }) ? { ...row, isChoice: true } : row)),
    )
  }
  const properties = Object.entries(node.properties ?? {})
  const shapes = Map.groupBy(properties, ([, child]) => shapeOf(child))
  return properties.flatMap(([key, child]) => {
    const own: Row = { path: join(path, key), node: child, isRequired: isRequired(node, key) }
    const alike = shapes.get(shapeOf(child)) ?? []
    if (alike.length < 2 || child.properties === undefined) return [own, ...rowsBelow(child, own.path)]
    const isLast = alike.at(-1)?.[0] === key
    return isLast ? [own, ...rowsBelow(child, join(path, '*'))] : [own]
  })
}

/** Whether a key stands right under one alternative of several. */
function isChoice(row: Row, { path, alternatives }: { path: string; alternatives: readonly Node[] }): boolean {
  return alternatives.length > 1 && !row.path.slice(path.length + 1).includes('.')
}

function shapeOf(node: Node): string {
  return JSON.stringify({ ...node, description: null })
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`
}

function isRequired({ required = [] }: Node, key: string): boolean {
  return required.includes(key)
}

function table(rows: readonly Row[], nameOf: (row: Row) => string): string {
  const lines = rows.map((row) => {
    const cells = [nameOf(row), describeType(row.node), describeDefault(row), sentence(row.node.description)]
    return `| ${cells.map(escapeCell).join(' | ')} |`
  })
  return ['| key | type | default | meaning |', '|---|---|---|---|', ...lines].join('\n')
}

/** For a cell of a table: outside of code `<` would begin a tag. */
function escapeCell(cell: string): string {
  const parts = cell.split(/(`[^`]*`)/)
  const safe = parts.map((part) => (part.startsWith('`') ? part : part.replaceAll('<', '&lt;')))
  return safe.join('').replaceAll('|', '\\|').replaceAll('\n', ' ')
}

function describeDefault({ node, isRequired, isChoice = false }: Row): string {
  if (isChoice) return 'one of them'
  if (isRequired) return 'required'
  const value = node.default
  if (value === undefined) return ''
  if (Array.isArray(value)) return value.length === 0 ? 'none' : `\`[${value.join(', ')}]\``
  if (typeof value === 'object' && value !== null) return ''
  return `\`${String(value)}\``
}

function describeType(node: Node): string {
  const alternatives = node.anyOf ?? node.oneOf ?? []
  if (alternatives.length > 1) return either([...new Set(alternatives.map(describeAlternative))])
  if (alternatives[0]) return describeType(alternatives[0])
  if (node.title !== undefined) return node.title
  if (node.const !== undefined) return `\`${String(node.const)}\``
  if (node.enum) return either(node.enum.map((value) => `\`${String(value)}\``))
  if (Array.isArray(node.type)) return either(node.type.map((type: string) => describeType({ type })))
  switch (node.type ?? 'string') {
    case 'array':
      return `list of ${describeItems(node.items ?? {})}`
    case 'object':
      return typeof node.additionalProperties === 'object'
        ? `map to ${describeType(node.additionalProperties)}`
        : 'keys'
    case 'boolean':
      return '`true` or `false`'
    case 'integer':
      return `whole number, ${node.minimum} to ${node.maximum}`
    case 'string':
      return node.format === 'uri' ? 'URL' : 'text'
    case 'number':
      return 'number'
    default:
      return 'text'
  }
}

/** An alternative that is an object is told by the keys it needs. */
function describeAlternative(node: Node): string {
  const keys = Object.keys(node.properties ?? {})
  return keys.length > 0 ? either((node.required ?? keys).map((key) => `\`${key}\``)) : describeType(node)
}

function describeItems(node: Node): string {
  const type = describeType(node)
  return type === 'keys' || node.oneOf ? 'entries' : type.replace(/^text$/, 'texts')
}

function either(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

function sentence(text = ''): string {
  return text.replace(/\.$/, '')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = `${describeConfiguration(readFileSync(PAGE, 'utf8'))}\n`
  if (process.argv.includes('--write')) writeFileSync(PAGE, page)
  else process.stdout.write(page)
}
