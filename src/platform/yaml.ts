import { type Document, isAlias, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml'
import type { z } from 'zod'
import { describeIssue } from './describe-issue.ts'
import { describeInOwnWords } from './own-words.ts'

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
    /** Keys that are read as if they were not there; `*` is every entry of a list. */
    readonly leaveOut?: readonly (readonly string[])[]
  },
): Parsed<z.output<Schema>> {
  const { file, schema, substitute, leaveOut = [] } = how
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: false, prettyErrors: false })
  const lineAt = (offset: number | undefined): number => (offset === undefined ? 0 : lines.linePos(offset).line)
  const lineOf = (path: readonly PropertyKey[]): number => lineAt(nearestOffset(document, path))

  const problems = describeSyntax(document, text).map(
    ({ at, message }): Problem => ({ file, line: lineAt(at), message }),
  )
  if (problems.length === 0) for (const path of leaveOut) remove(document, path)
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

  const input: unknown = document.toJS({ maxAliasCount: 0 }) ?? {}
  const result = schema.safeParse(input, { error: describeInOwnWords })
  if (result.success) return { ok: true, value: result.data, lineOf }
  const described = firstOfAll(result.error.issues).flatMap((issue) =>
    describeIssue(issue, { schema, document, input }),
  )
  return { ok: false, problems: described.map(({ path, message }) => ({ file, line: lineOf(path), message })) }
}

/** Of a value of a wrong type nothing else is told: a list is also too short where a text stands in its place. */
function firstOfAll(issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] {
  const mistyped = new Set(issues.filter(({ code }) => code === 'invalid_type').map(({ path }) => path.join('.')))
  return issues.filter(({ code, path }) => code === 'invalid_type' || !mistyped.has(path.join('.')))
}

function remove(document: Document, path: readonly (string | number)[]): void {
  const star = path.indexOf('*')
  if (star === -1) {
    if (document.hasIn(path)) document.deleteIn(path)
    return
  }
  const list = document.getIn(path.slice(0, star), true)
  if (!isSeq(list)) return
  for (const index of list.items.keys()) remove(document, [...path.slice(0, star), index, ...path.slice(star + 1)])
}

function describeSyntax({ errors }: Document, text: string): readonly { at: number; message: string }[] {
  const unquoted = errors.find(({ pos: [at] }) => at > 0 && text.slice(at - 1, at + 1) === '${')
  // What else is wrong there follows from it.
  if (unquoted) return [{ at: unquoted.pos[0], message: 'put quotes around ${…} inside { } or [ ]' }]
  return errors.map(({ pos, message }) => ({ at: pos[0], message }))
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
