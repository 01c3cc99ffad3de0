import { type Document, isScalar } from 'yaml'
import { z } from 'zod'
import { nearestName } from '../domain/nearest.ts'
import { describeChoice } from './own-words.ts'

type Path = readonly PropertyKey[]

/** Something that a schema does not take, and where. */
export interface Described {
  readonly path: Path
  readonly message: string
}

interface Read {
  readonly schema: z.ZodType
  readonly document: Document
  /** What the document says, as the schema was given it. */
  readonly input: unknown
}

/** What is wrong with a document, for who wrote it: without any value of it, but for the names of entries. */
export function describeIssue(issue: z.core.$ZodIssue, read: Read): readonly Described[] {
  const { path } = issue
  const about = (message: string): Described[] => [{ path, message: `${formatPath(path, read.document)}${message}` }]
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => describeUnknown(path, key, read))
  if (issue.code === 'custom') return about(issue.message)
  if (path.length > 0 && valueAt(read.input, path) === undefined) return describeMissing(issue, read)
  if (issue.code !== 'invalid_union') return about(issue.message)

  const [meant, ...others] = issue.errors.filter(isMeant)
  if (meant && others.length === 0) {
    return meant.flatMap((inner) => describeIssue({ ...inner, path: [...path, ...inner.path] }, read))
  }
  const unknown = unknownKeys(path, read)
  if (unknown.length > 0) return unknown.map((key) => describeUnknown(path, key, read))
  if (issue.discriminator !== undefined) return about(describeChoice(namesOf(path, read), valueAt(read.input, path)))
  const purpose = purposeOf(path, read)
  return about(purpose === null ? issue.message : `cannot be read: ${purpose}`)
}

/** Which of several forms somebody had in mind: the one that has all keys, and is wrong further down only. */
function isMeant(issues: readonly z.core.$ZodIssue[]): boolean {
  return issues.every(({ code, path }) => code !== 'unrecognized_keys' && path.length > 0)
}

function describeMissing(issue: z.core.$ZodIssue, read: Read): readonly Described[] {
  const { path } = issue
  // Without the key that tells which form it is, nobody has looked at the others.
  const isUnread = issue.code === 'invalid_union' && issue.discriminator !== undefined
  const parent = path.slice(0, -1)
  const unknown = isUnread ? unknownKeys(parent, read) : []
  const known = knownKeys(parent, read)
  const described = unknown.map((key) => describeUnknown(parent, key, read))
  if (unknown.some((key) => nearestName(key, known) === path.at(-1))) return described
  const purpose = purposeOf(path, read)
  const message = `${formatPath(path, read.document)}is required${purpose === null ? '' : `: ${purpose}`}`
  return [...described, { path, message }]
}

function describeUnknown(path: Path, key: string, read: Read): Described {
  const known = knownKeys(path, read)
  const near = nearestName(key, known)
  const hint = near === null ? `known are ${[...known].sort().join(', ')}` : `did you mean ${near}?`
  return { path: [...path, key], message: `${formatPath(path, read.document)}unknown key ${key}; ${hint}` }
}

function unknownKeys(path: Path, read: Read): readonly string[] {
  const value = valueAt(read.input, path)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
  const known = knownKeys(path, read)
  return known.size === 0 ? [] : Object.keys(value).filter((key) => !known.has(key))
}

function valueAt(input: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key)
        ? (value as Record<PropertyKey, unknown>)[key] // an object that has the key
        : undefined,
    input,
  )
}

/** As it is written: what was substituted into it may be a secret. */
const SHOWABLE = /^["']?([\w.:/|-]{1,100})["']?$/

/** `upstreams.0 (billing).url: `, by the names of entries that have one. */
function formatPath(path: Path, document: Document): string {
  if (path.length === 0) return ''
  const words = path.map((key, index) => {
    if (typeof key !== 'number') return String(key)
    const name = ['name', 'issuer']
      .map((label) => document.getIn([...path.slice(0, index + 1), label], true))
      .map((node) => (isScalar(node) ? SHOWABLE.exec(node.source ?? '')?.[1] : undefined))
      .find((found) => found !== undefined)
    return name === undefined ? String(key) : `${key} (${name})`
  })
  return `${words.join('.')}: `
}

type Node = { [key: string]: unknown }

/** The keys that a schema knows at a path, over all branches of its unions that may be meant. */
function knownKeys(path: Path, read: Read): Set<string> {
  return new Set(nodesAt(path, read).flatMap((node) => Object.keys((node['properties'] as Node | undefined) ?? {})))
}

/** What the schema says that a value is for; null if it does not. */
function purposeOf(path: Path, read: Read): string | null {
  const found = nodesAt(path, read).find((node) => typeof node['description'] === 'string')
  return found ? String(found['description']) : null
}

/** The texts that a key may be, over all branches that may be meant. */
function namesOf(path: Path, read: Read): readonly string[] {
  return nodesAt(path, read).flatMap((node) => (typeof node['const'] === 'string' ? [node['const']] : []))
}

function nodesAt(path: Path, { schema, input }: Read): readonly Node[] {
  const root = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Node
  let nodes = branches(root, input)
  for (const [depth, key] of path.entries()) {
    const value = valueAt(input, path.slice(0, depth + 1))
    nodes = nodes.flatMap((node) => {
      const properties = node['properties'] as Node | undefined
      const next = properties?.[String(key)] ?? (typeof key === 'number' ? node['items'] : node['additionalProperties'])
      return typeof next === 'object' && next !== null ? branches(next as Node, value) : []
    })
  }
  return nodes
}

/** A node with its alternatives: those of the kind that the value says it is, or all where it is of none. */
function branches(node: Node, value: unknown): Node[] {
  const alternatives = [node['anyOf'], node['oneOf'], node['allOf']].filter(Array.isArray).flat() as Node[]
  const meant = alternatives.filter((alternative) => saysTheSame(alternative, value))
  const taken = meant.length === 0 ? alternatives : meant
  return [node, ...taken.flatMap((alternative) => branches(alternative, value))]
}

function saysTheSame(node: Node, value: unknown): boolean {
  return Object.entries((node['properties'] as Record<string, Node> | undefined) ?? {}).every(
    ([key, { const: only }]) => {
      const said = valueAt(value, [key])
      return only === undefined || said === undefined || said === only
    },
  )
}
