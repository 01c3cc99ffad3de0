import type { z } from 'zod'
import { nearestName } from '../domain/nearest.ts'

const TYPES: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'a mapping, with keys of its own',
  record: 'a mapping, with keys of its own',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
}
const FORMATS: Readonly<Record<string, string>> = {
  url: 'a URL like https://idp.example.com',
  datetime: 'a time like 2026-01-01T12:00:00Z',
}

/**
 * What whoever wrote a value has to write instead, where its schema has no words for it; undefined leaves it to zod. The
 * value is never in it: it may be a secret.
 */
export function describeInOwnWords(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === 'invalid_type') return describeType(issue.expected, issue.input)
  if (issue.code === 'invalid_value') return describeChoice(issue.values.map(String), issue.input)
  if (issue.code === 'too_small') return describeBound(issue.origin, Number(issue.minimum), 'at least')
  if (issue.code === 'too_big') return describeBound(issue.origin, Number(issue.maximum), 'at most')
  if (issue.code !== 'invalid_format') return undefined
  const format = FORMATS[issue.format]
  return format && `must be ${format}`
}

export function describeChoice(names: readonly string[], input: unknown): string {
  const near = typeof input === 'string' ? nearestName(input, names) : null
  const must = names.length === 1 ? `must be ${names[0]}` : `must be one of ${names.join(', ')}`
  return near === null ? must : `${must}; did you mean ${near}?`
}

function describeType(expected: string, input: unknown): string | undefined {
  const type = TYPES[expected]
  if (type === undefined) return undefined
  const isScalar = ['string', 'number', 'boolean'].includes(typeof input)
  if (expected === 'array' && isScalar) return 'must be a list: put it in [ ]'
  if (expected === 'string' && isScalar) return 'must be a text: put it in quotes'
  return `must be ${type}`
}

function describeBound(origin: string, bound: number, atMost: 'at least' | 'at most'): string | undefined {
  if (origin === 'number' || origin === 'int') return `must be ${atMost} ${bound}`
  const units = { string: 'characters', array: 'entries' }[origin]
  if (units === undefined) return undefined
  return atMost === 'at least' && bound === 1 ? 'must not be empty' : `must have ${atMost} ${bound} ${units}`
}
