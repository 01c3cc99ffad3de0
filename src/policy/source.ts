import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Json } from '../domain/json.ts'
import type { Problem } from '../platform/yaml.ts'
import { type Policy, policySchema } from './schema.ts'

const MOST_CANONICAL_BYTES = 8 * 1024 * 1024
const MOST_RULES = 5000
/** One call may have to be counted for each of them. */
const MOST_BREAKERS = 100

/** All policies of a directory, or of the store, before they are compiled for a configuration. */
export interface PolicySource {
  /** The same bytes for the same policies, whatever their files, order, comments and layout. */
  readonly canonical: Buffer
  /** Hex SHA-256 of the canonical bytes. */
  readonly hash: string
  /** By name. */
  readonly policies: readonly Policy[]
  /** Where a part of a rule, or of a breaker, was written. */
  locate(policy: string, rule: string, path: readonly PropertyKey[]): { readonly file: string; readonly line: number }
}

const formatSchema = z.strictObject({ format: z.literal(1), policies: z.array(policySchema) })

/** Makes one source of all policies; their names and their rules are in code-unit order from here on. */
export function createSource(
  policies: readonly Policy[],
  locate: PolicySource['locate'],
): PolicySource | readonly Problem[] {
  const sorted = policies.map(inOrder).sort(byName)
  const rules = sorted.reduce((count, policy) => count + policy.rules.length, 0)
  const breakers = sorted.reduce((count, policy) => count + (policy.breakers?.length ?? 0), 0)
  const file = 'policies'
  if (breakers > MOST_BREAKERS) {
    return [{ file, line: 0, message: `${breakers} breakers in all; at most ${MOST_BREAKERS}` }]
  }
  if (rules > MOST_RULES) return [{ file, line: 0, message: `${rules} rules in all; at most ${MOST_RULES}` }]

  // What zod let through is JSON: texts, numbers, booleans, arrays and plain objects.
  const canonical = Buffer.from(canonicalJson({ format: 1, policies: sorted } as unknown as Json), 'utf8')
  if (canonical.length > MOST_CANONICAL_BYTES)
    return [{ file, line: 0, message: 'the policies are too large together' }]
  return { canonical, hash: createHash('sha256').update(canonical).digest('hex'), policies: sorted, locate }
}

/** Reads canonical bytes back, as the store keeps them. */
export function readSource(canonical: Buffer): PolicySource | readonly Problem[] {
  const file = 'published policies'
  let data: unknown
  try {
    data = JSON.parse(canonical.toString('utf8'))
  } catch {
    return [{ file, line: 0, message: 'cannot be read' }]
  }
  const parsed = formatSchema.safeParse(data)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    return [{ file, line: 0, message: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'cannot be read'}` }]
  }
  return createSource(parsed.data.policies, (policy) => ({ file: `published policy "${policy}"`, line: 0 }))
}

function inOrder({ breakers, ...policy }: Policy): Policy {
  const rules = [...policy.rules].sort(byName)
  return { ...policy, rules, ...(breakers && { breakers: [...breakers].sort(byName) }) }
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0
}

function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  // The type guard above does not remove readonly arrays from the union.
  const fields = Object.entries(value as { readonly [key: string]: Json }).filter(([, field]) => field !== undefined)
  fields.sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`
}
