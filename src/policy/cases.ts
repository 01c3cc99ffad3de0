import { z } from 'zod'
import type { Action, Actions, FactSchema, Needs } from '../domain/action.ts'
import { type Group, type Principal, parseParty } from '../domain/principal.ts'
import { formatMask, formatRule, type Unsure, type Verdict } from '../domain/verdict.ts'
import { type Problem, parseYaml } from '../platform/yaml.ts'
import type { CompileContext } from './compile.ts'
import { type DecideInput, decide } from './decide.ts'
import { type Explanation, explain } from './explain.ts'
import { slashFault } from './pattern.ts'
import type { PolicySet } from './set.ts'
import { suggest } from './suggest.ts'

const party = z
  .string()
  .max(500)
  .refine((text) => parseParty(text) !== null, 'must be "<issuer URL>|<subject>"')

const group = z
  .string()
  .regex(/^[^/]+\/.+$/, 'must be "<issuer>/<group>": groups belong to the issuer that asserted them')

const principalSchema = z.strictObject({
  is: party.describe('Who calls: the issuer and the subject of its token.'),
  groups: z.array(group).default([]),
  on_behalf_of: party.exactOptional(),
  actors: z.array(party).default([]),
  owner: party.exactOptional(),
  client: z.string().exactOptional(),
})

const actionShape = {
  verb: z.string().min(1),
  resource: z
    .string()
    .min(1)
    .superRefine((text, context) => {
      const fault = slashFault(text)
      if (fault) context.addIssue({ code: 'custom', message: fault })
    }),
  facts: z.record(z.string(), z.unknown()).default({}),
}

const expectSchema = z.strictObject({
  effect: z.enum(['allow', 'hold', 'deny', 'unsure']),
  rules: z.array(z.string()).exactOptional().describe('Exactly the rules that give the effect, as `policy/rule`.'),
  basis: z.enum(['rule', 'no_rule', 'condition_failed', 'suspended', 'breaker']).exactOptional(),
  needs: z.array(z.string()).exactOptional().describe('With `unsure`: what would have to be fetched.'),
  message: z.string().exactOptional(),
  masks: z.array(z.string()).exactOptional().describe('Exactly the columns that are masked, as rules write them.'),
})

const callShape = {
  principal: z.union([z.string(), principalSchema]).describe('One of `principals` by name, or written out.'),
  upstream: z.string(),
  verb: actionShape.verb.exactOptional(),
  resource: actionShape.resource.exactOptional(),
  facts: actionShape.facts,
  actions: z
    .array(z.strictObject(actionShape))
    .min(1)
    .exactOptional()
    .describe('Instead of verb, resource and facts: a call of several actions.'),
  have: z.array(z.string()).exactOptional().describe('What was fetched already; everything if left out.'),
  suspended: z.boolean().default(false),
  tripped: z
    .array(z.string())
    .default([])
    .describe('Circuit breakers that hold what the caller does, as `policy/name`.'),
  now: z.iso.datetime().default('2026-01-01T12:00:00Z'),
}
const caseSchema = z.strictObject({ name: z.string().min(1), ...callShape, expect: expectSchema })

const principals = z.record(z.string(), principalSchema).default({})
const describedSchema = z.strictObject({ principals, ...callShape })

const fileSchema = z.strictObject({
  principals,
  cases: z.array(caseSchema).min(1),
})

type Call = Omit<z.infer<typeof caseSchema>, 'name' | 'expect'>
type Principals = z.infer<typeof fileSchema>['principals']

export interface CaseResult {
  readonly file: string
  readonly line: number
  readonly name: string
  readonly verdict: Verdict | Unsure
  /** What is not as expected; null if all is. */
  readonly fault: string | null
}

/** Runs the cases of one test file. They use the upstreams, and their labels, of the configuration at hand. */
export function runCases(parts: {
  readonly file: string
  readonly text: string
  readonly set: PolicySet
  readonly context: CompileContext
}): readonly CaseResult[] | { readonly problems: readonly Problem[] } {
  const { file, text, set, context } = parts
  const parsed = parseYaml(text, { file, schema: fileSchema })
  if (!parsed.ok) return { problems: parsed.problems }

  const problems: Problem[] = []
  const results: CaseResult[] = []
  for (const [index, one] of parsed.value.cases.entries()) {
    const line = parsed.lineOf(['cases', index])
    const input = toInput(one, parsed.value.principals, { set, context })
    if (typeof input === 'string') problems.push({ file, line, message: `case "${one.name}": ${input}` })
    else {
      const verdict = decide(set, input)
      const fault = compare(verdict, one.expect)
      const reasons = fault === null ? [] : findFailures(set, input)
      results.push({ file, line, name: one.name, verdict, fault: fault && [fault, ...reasons].join(': ') })
    }
  }
  return problems.length > 0 ? { problems } : results
}

/** Explains one call that is described like a case. */
export function runDescribed(parts: {
  readonly file: string
  readonly text: string
  readonly set: PolicySet
  readonly context: CompileContext
}): Explanation | readonly Problem[] {
  const { file, text, set, context } = parts
  const parsed = parseYaml(text, { file, schema: describedSchema })
  if (!parsed.ok) return parsed.problems
  const input = toInput(parsed.value, parsed.value.principals, { set, context })
  return typeof input === 'string' ? [{ file, line: 0, message: input }] : explain(set, input)
}

/** The rules that decided none of the cases. */
export function uncovered(set: PolicySet, results: readonly CaseResult[]): readonly string[] {
  const covered = new Set(
    results.flatMap(({ verdict }) => (verdict.effect === 'unsure' ? [] : verdict.rules.map(formatRule))),
  )
  return set.rules.map(({ ref }) => formatRule(ref)).filter((name) => !covered.has(name))
}

/** The decision that a case describes; a text says what is wrong with it. */
function toInput(
  one: Call,
  principals: Principals,
  { set, context }: { set: PolicySet; context: CompileContext },
): DecideInput | string {
  const described =
    typeof one.principal === 'string' ? new Map(Object.entries(principals)).get(one.principal) : one.principal
  if (!described) {
    const form = 'principal: { is: "https://idp.example.com|agent-1" }'
    return `no principal is called "${String(one.principal)}": describe it, ${form}, or name it under principals:`
  }
  const known = context.upstreams.map(({ name }) => name)
  const upstream = context.upstreams.find(({ name }) => name === one.upstream)
  if (!upstream) return `no upstream is called "${one.upstream}"${suggest(one.upstream, known)}`
  const facts = context.facts[upstream.protocol] ?? {}
  const faulty = one.tripped.find((name) => !set.breakers.get(name)?.requirement)
  if (faulty !== undefined)
    return `no circuit breaker "${faulty}" holds calls${suggest(faulty, [...set.breakers.keys()])}`

  const acts =
    one.actions ?? (one.verb && one.resource ? [{ verb: one.verb, resource: one.resource, facts: one.facts }] : [])
  const actions = acts.map((action): Action => ({ ...action, upstream: upstream.name, protocol: upstream.protocol }))
  if (!isActions(actions)) return 'says neither "verb" and "resource" nor "actions"'
  const unknown = actions.flatMap((action) => Object.keys(action.facts)).find((name) => !Object.hasOwn(facts, name))
  if (unknown !== undefined)
    return `${upstream.protocol} has no fact "${unknown}"${suggest(unknown, Object.keys(facts))}`
  const impossible = findImpossible(actions, context.verbs?.[upstream.protocol] ?? null, facts)
  if (impossible !== null) return impossible

  return {
    principal: toPrincipal(described),
    isSuspended: one.suspended,
    heldBy: one.tripped,
    upstream,
    callId: '01890a5d-ac96-774b-bcce-b302099a8057',
    actions,
    have: one.have ? new Set(one.have) : everyNeed(facts),
    now: Date.parse(one.now),
  }
}

/** Why no call of that protocol ever does such a thing; null if one may. */
function findImpossible(actions: Actions, verbs: readonly string[] | null, facts: FactSchema): string | null {
  for (const { protocol, verb, resource } of actions) {
    if (verbs && !verbs.includes(verb)) return `${protocol} has no verb "${verb}"${suggest(verb, verbs)}`
    // Where calls have a path, it is the resource.
    if (Object.hasOwn(facts, 'path') && !resource.startsWith('/')) {
      return `a resource of ${protocol} begins with a slash; write "/${resource}"`
    }
  }
  return null
}

function isActions(actions: readonly Action[]): actions is Actions {
  return actions.length > 0
}

function toPrincipal(described: z.infer<typeof principalSchema>): Principal {
  const { is, groups, on_behalf_of: onBehalfOf, actors, owner, client } = described
  const [who, ...prior] = [is, ...actors].map(parseParty).filter((found) => found !== null)
  return {
    issuer: who?.issuer ?? '',
    subject: who?.subject ?? '',
    onBehalfOf: onBehalfOf === undefined ? null : parseParty(onBehalfOf),
    actors: prior,
    owner: owner === undefined ? null : parseParty(owner),
    groups: groups.map(toGroup),
    client: client ?? null,
    expiresAt: Number.MAX_SAFE_INTEGER,
  }
}

function toGroup(text: string): Group {
  const slash = text.indexOf('/')
  return { issuerName: text.slice(0, slash), name: text.slice(slash + 1) }
}

function everyNeed(facts: FactSchema): Needs {
  return new Set(Object.values(facts).flatMap(({ need }) => (need === undefined ? [] : [need])))
}

function compare(verdict: Verdict | Unsure, expected: z.infer<typeof expectSchema>): string | null {
  const got = formatVerdict(verdict)
  if (verdict.effect !== expected.effect) return `expected ${expected.effect}, got ${got}`
  if (verdict.effect === 'unsure') {
    return expected.needs && !isSame(expected.needs, [...verdict.needs])
      ? `expected to need ${expected.needs.join(', ')}, got ${got}`
      : null
  }
  if (expected.rules && !isSame(expected.rules, verdict.rules.map(formatRule))) {
    return `expected ${expected.effect} by ${expected.rules.join(', ')}, got ${got}`
  }
  if (expected.basis && expected.basis !== verdict.basis) return `expected the basis ${expected.basis}, got ${got}`
  if (expected.message !== undefined && expected.message !== verdict.message) {
    return `expected the message "${expected.message}", got ${verdict.message === null ? 'none' : `"${verdict.message}"`}`
  }
  const masks = [...new Set(verdict.masks.map(formatMask))]
  if (expected.masks && !isSame(expected.masks, masks)) {
    return `expected ${listMasks(expected.masks)}, got ${listMasks(masks)}`
  }
  return null
}

function listMasks(masks: readonly string[]): string {
  return masks.length === 0 ? 'no masks' : `the masks ${masks.join(', ')}`
}

/** Why the conditions that failed did, each once. */
function findFailures(set: PolicySet, input: DecideInput): readonly string[] {
  const findings = explain(set, input).actions.flatMap(({ rules }) => rules)
  const failed = findings.filter(({ result, isDeciding }) => result === 'condition_failed' && isDeciding)
  return [...new Set(failed.flatMap(({ detail }) => detail ?? []))]
}

function formatVerdict(verdict: Verdict | Unsure): string {
  if (verdict.effect === 'unsure') return `unsure, needing ${[...verdict.needs].join(', ')}`
  const rules = verdict.rules.map(formatRule).join(', ')
  return rules === '' ? `${verdict.effect} (${verdict.basis})` : `${verdict.effect} (${verdict.basis}) by ${rules}`
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return JSON.stringify([...a].sort()) === JSON.stringify([...b].sort())
}
