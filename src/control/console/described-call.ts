import { z } from 'zod'
import type { CallCase } from '../desk.ts'

const line = z
  .string()
  .max(2000)
  .default('')
  .transform((text) => text.trim())

/** A call that somebody describes in the form of the policy page, as they wrote it. */
export const describedCall = z.object({
  principal: line,
  groups: z
    .string()
    .max(4000)
    .default('')
    .transform((text) => text.replaceAll('\r\n', '\n')),
  on_behalf_of: line,
  owner: line,
  upstream: line,
  verb: line,
  resource: line,
  facts: z.string().max(8000).default(''),
})
export type DescribedCall = z.output<typeof describedCall>

export const NOTHING_DESCRIBED: DescribedCall = describedCall.parse({})

/** As a case of a policy's test file describes a call; a text says why it cannot be one. */
export function toCase(call: DescribedCall, nowMs: number): CallCase | string {
  const facts = readFacts(call.facts)
  if (!facts) return 'Facts: must be a JSON object, as {"body": {"amount": 500}}'
  const groups = call.groups
    .split('\n')
    .map((text) => text.trim())
    .filter((text) => text !== '')
  return {
    principal: {
      is: call.principal,
      groups,
      ...(call.on_behalf_of !== '' && { on_behalf_of: call.on_behalf_of }),
      ...(call.owner !== '' && { owner: call.owner }),
    },
    upstream: call.upstream,
    verb: call.verb,
    resource: call.resource,
    facts,
    now: new Date(nowMs).toISOString(),
  }
}

function readFacts(text: string): Readonly<Record<string, unknown>> | null {
  if (text.trim() === '') return {}
  try {
    const parsed: unknown = JSON.parse(text)
    const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
    // A JSON object has these members and no others.
    return isObject ? (parsed as Readonly<Record<string, unknown>>) : null
  } catch {
    return null
  }
}

/** The fields of the form, by where a case has what is written into them. */
const LABELS: readonly (readonly [at: RegExp, label: string])[] = [
  [/^principal\.is: /, 'Who calls'],
  [/^principal\.groups\.\d+: /, 'Groups'],
  [/^principal\.on_behalf_of: /, 'On behalf of'],
  [/^principal\.owner: /, 'Owner'],
  [/^upstream: /, 'Upstream'],
  [/^verb: /, 'Verb'],
  [/^resource: /, 'Resource'],
  [/^facts[^:]*: /, 'Facts'],
]

/** What is wrong with a described call, by the names that whoever fills in the form sees. */
export function byLabel(fault: string): string {
  const [at, label] = LABELS.find(([pattern]) => pattern.test(fault)) ?? []
  return at && label ? fault.replace(at, () => `${label}: `) : fault
}
