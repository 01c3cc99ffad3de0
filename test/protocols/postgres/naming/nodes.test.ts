import { loadModule, parseSync } from 'libpg-query'
import { beforeAll, describe, expect, it } from 'vitest'
import { readNodes } from '../../../../scripts/parser-nodes.ts'
import { NODES } from '../../../../src/protocols/postgres/naming/nodes.ts'
import { summarise } from '../../../../src/protocols/postgres/naming/summarise.ts'
import type { Mention, Summary } from '../../../../src/protocols/postgres/naming/summary.ts'
import { VERBS } from '../../../../src/protocols/postgres/naming/tags.ts'
import { Unnameable } from '../../../../src/protocols/postgres/naming/unnameable.ts'
import { CORPUS } from './corpus.ts'

type Tree = Record<string, unknown>

const fieldsOf = (tag: string) =>
  new Map((NODES[tag as keyof typeof NODES] ?? '').split(' ').map((field) => field.split(':') as [string, string]))

/** Every node of a tree, with what it takes to put another in its place. */
function* nodesOf(tag: string, node: Tree): Generator<{ tag: string; node: Tree }> {
  yield { tag, node }
  for (const [field, value] of Object.entries(node)) {
    const kind = fieldsOf(tag).get(field) ?? ''
    if (kind === '') continue
    for (const item of Array.isArray(value) ? value : [value]) {
      if (kind === '*') for (const [inner, child] of Object.entries(item as Tree)) yield* nodesOf(inner, child as Tree)
      else yield* nodesOf(kind, item as Tree)
    }
  }
}

function parse(sql: string): Tree {
  const [raw] = parseSync(sql).stmts ?? []
  return raw?.stmt as Tree
}

function rootOf(statement: Tree): { tag: string; node: Tree } {
  const [[tag, node] = ['', {}]] = Object.entries(statement)
  return { tag, node: node as Tree }
}

function mentionsOf({ mentions, effects }: Summary): readonly Mention[] {
  return [...mentions, ...effects.flatMap((effect) => (effect.does === 'prepare' ? mentionsOf(effect.summary) : []))]
}

function nameIn(list: unknown): string {
  const last = Array.isArray(list) ? (list.at(-1) as { String?: { sval?: string } } | undefined) : undefined
  return last?.String?.sval ?? ''
}

function isRefused(statement: Tree): boolean {
  try {
    summarise(statement)
    return false
  } catch (error) {
    return error instanceof Unnameable
  }
}

beforeAll(loadModule)

describe('the grammar of parse trees', () => {
  it('is the one of the installed parser', () => {
    expect({ ...NODES }).toEqual(readNodes())
  })

  it('has no node that the statements of the corpus do not reach', () => {
    // Wraps a statement; the library takes it off.
    const reached = new Set(['RawStmt'])
    for (const sql of CORPUS) {
      const { tag, node } = rootOf(parse(sql))
      for (const one of nodesOf(tag, node)) reached.add(one.tag)
    }
    expect(Object.keys(NODES).filter((tag) => !reached.has(tag))).toEqual([])
  })

  it.each(CORPUS)('names %s', (sql) => {
    const { tag, mentions } = summarise(parse(sql))
    const verbs = new Set([tag, ...mentions.map(({ verb }) => verb)])
    expect([...verbs].filter((verb) => !VERBS.includes(verb))).toEqual([])
  })

  it('mentions every relation, function and type of every statement, however deep', () => {
    const missed: string[] = []
    for (const sql of CORPUS) {
      const statement = parse(sql)
      const { tag, node } = rootOf(statement)
      const mentioned = new Set(mentionsOf(summarise(statement)).map(({ kind, name }) => `${kind} ${name}`))
      const nodes = [...nodesOf(tag, node)]
      // Names of a WITH stand for no relation, names in a locking clause are aliases; the relations of a foreign server are elsewhere.
      const ctes = new Set(nodes.map((one) => (one.tag === 'CommonTableExpr' ? one.node['ctename'] : null)))
      if (tag === 'ImportForeignSchemaStmt') continue
      for (const one of nodes) {
        const name = one.tag === 'RangeVar' ? String(one.node['relname']) : nameIn(one.node['funcname'])
        if (one.tag === 'RangeVar' && !ctes.has(name) && !mentioned.has(`relation ${name}`))
          missed.push(`${sql}: ${name}`)
        if (one.tag === 'FuncCall' && !mentioned.has(`function ${name}`)) missed.push(`${sql}: ${name}`)
        if (one.tag === 'ColumnDef' && one.node['typeName']) {
          const type = nameIn((one.node['typeName'] as Tree)['names'])
          if (!mentioned.has(`type ${type}`)) missed.push(`${sql}: ${type}`)
        }
      }
    }
    expect(missed).toEqual([])
  })

  it('refuses a field it does not know, in any node of any statement', () => {
    const passed: string[] = []
    for (const sql of CORPUS) {
      const statement = parse(sql)
      const { tag, node } = rootOf(statement)
      for (const one of nodesOf(tag, node)) {
        one.node['unheardOf'] = 1
        if (!isRefused(statement)) passed.push(`${sql}: ${one.tag}`)
        delete one.node['unheardOf']
      }
      expect(isRefused(statement)).toBe(false)
    }
    expect(passed).toEqual([])
  })

  it('refuses a node it does not know, wherever one of any kind may stand', () => {
    const passed: string[] = []
    for (const sql of CORPUS) {
      const statement = parse(sql)
      const { tag, node } = rootOf(statement)
      for (const one of nodesOf(tag, node)) {
        for (const [field, kind] of fieldsOf(one.tag)) {
          if (kind !== '*') continue
          const before = one.node[field]
          one.node[field] = Array.isArray(before) ? [...before, { UnheardOf: {} }] : { UnheardOf: {} }
          if (!isRefused(statement)) passed.push(`${sql}: ${one.tag}.${field}`)
          if (before === undefined) delete one.node[field]
          else one.node[field] = before
        }
      }
    }
    expect(passed).toEqual([])
  })

  it.each([
    ['a plan’s node', { Query: {} }],
    ['two nodes in one place', { SelectStmt: {}, DeleteStmt: {} }],
    ['nothing', {}],
    ['no statement', { ColumnRef: { fields: [] } }],
    ['text', 'SELECT 1'],
  ])('refuses %s as a statement', (_, statement) => {
    expect(() => summarise(statement)).toThrow('cannot name')
  })
})
