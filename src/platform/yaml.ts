import { type Document, isAlias, isNode, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import { z } from 'zod'
import { nearestName } from '../domain/nearest.ts'

/** Something wrong in a file, where a person finds it. */
export interface Problem {
  readonly file: string
  /** Counted from 1; 0 if it is the file as a whole. */
  readonly line: number
  readonly message: string
}

export function formatProblem({ file, line, message }: Problem): string {
  return line === 0 ? `${file}: ${message}` : `${file}:${line}: ${message}`
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T; lineOf(path: readonly PropertyKey[]): number }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/**
 * Reads YAML 1.2 strictly, against a schema: duplicate keys, aliases, unknown keys and wrong types are problems with
 * their line, and an unknown key's problem names the nearest known one. Values never appear in a message: they may be
 * secrets.
 */
export function parseYaml<Schema extends z.ZodType>(
  text: string,
  how: {
    readonly file: string
    readonly schema: Schema
    /** Rewrites string values before they are checked; an error it throws becomes a problem. */
    readonly substitute?: (value: string) => string
    /** A key that is read as if it were not there. */
    readonly leaveOut?: readonly string[]
  },
): Parsed<z.output<Schema>> {
  const { file, schema, substitute, leaveOut } = how
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: false, prettyErrors: false })
  const lineAt = (offset: number | undefined): number => (offset === undefined ? 0 : lines.linePos(offset).line)
  const lineOf = (path: readonly PropertyKey[]): number => lineAt(nearestOffset(document, path))

  const problems: Problem[] = document.errors.map((error) => ({
    file,
    line: lineAt(error.pos[0]),
    message: error.message,
  }))
  if (leaveOut && problems.length === 0 && document.hasIn(leaveOut)) document.deleteIn(leaveOut)
  visit(document, {
    Alias: (_key, node) => {
      problems.push({ file, line: lineAt(node.range?.[0]), message: 'aliases (*name) are not read here' })
    },
    Scalar: (key, node) => {
      if (key === 'key' || !substitute || typeof node.value !== 'string') return
      try {
        node.value = substitute(node.value)
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        problems.push({ file, line: lineAt(node.range?.[0]), message })
      }
    },
  })
  if (problems.length > 0) return { ok: false, problems }

  const result = schema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {})
  if (result.success) return { ok: true, value: result.data, lineOf }
  const described = result.error.issues.flatMap((issue) => describeIssue(issue, schema))
  return { ok: false, problems: described.map(({ path, message }) => ({ file, line: lineOf(path), message })) }
}

function describeIssue(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
): readonly { path: readonly PropertyKey[]; message: string }[] {
  const at = issue.path.length === 0 ? '' : `${issue.path.map(String).join('.')}: `
  if (issue.code !== 'unrecognized_keys') return [{ path: issue.path, message: `${at}${issue.message}` }]
  const known = knownKeys(schema, issue.path)
  return issue.keys.map((key) => {
    const near = nearestName(key, known)
    const hint = near === null ? `known are ${[...known].sort().join(', ')}` : `did you mean ${near}?`
    return { path: [...issue.path, key], message: `${at}unknown key ${key}; ${hint}` }
  })
}

/** The keys that a schema knows at a path, over all branches of its unions. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): Set<string> {
  type Node = { [key: string]: unknown }
  const root = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node
  const branches = (node: Node): Node[] => {
    const alternatives = [node['anyOf'], node['oneOf'], node['allOf']].filter(Array.isArray).flat() as Node[]
    return [node, ...alternatives.flatMap(branches)]
  }
  let nodes = branches(root)
  for (const key of path) {
    nodes = nodes.flatMap((node) => {
      const properties = node['properties'] as Node | undefined
      const next = properties?.[String(key)] ?? (typeof key === 'number' ? node['items'] : node['additionalProperties'])
      return typeof next === 'object' && next !== null ? branches(next as Node) : []
    })
  }
  return new Set(nodes.flatMap((node) => Object.keys((node['properties'] as Node | undefined) ?? {})))
}

/** Where the value at a path stands, or the nearest thing above it that exists. */
function nearestOffset(document: Document, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const key = path[length - 1]
    const parent = length === 0 ? document.contents : document.getIn(path.slice(0, length - 1), true)
    if (length > 0 && isNode(parent) && 'items' in parent) {
      const pair = parent.items.find(
        (item) =>
          typeof item === 'object' && item !== null && 'key' in item && isScalar(item.key) && item.key.value === key,
      ) as { key: { range?: [number, number, number] | null } } | undefined
      if (pair?.key.range) return pair.key.range[0]
    }
    const node = document.getIn(path.slice(0, length), true)
    if (isNode(node) && !isAlias(node) && node.range) return node.range[0]
  }
  return undefined
}
