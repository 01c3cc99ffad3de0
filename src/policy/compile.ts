import type { FactSchema } from '../domain/action.ts'
import { type BreakerTerms, describeTrip } from '../domain/breaker.ts'
import { parseDuration } from '../domain/units.ts'
import { formatRule } from '../domain/verdict.ts'
import type { Problem } from '../platform/yaml.ts'
import { createLanguage, type Language, type Program } from './expression.ts'
import { parseLimit } from './limit.ts'
import { type Criteria, createLookup, type Lookup } from './lookup.ts'
import type { Breaker, Rule } from './schema.ts'
import type { CompiledBreaker, CompiledRule, PolicySet } from './set.ts'
import type { PolicySource } from './source.ts'
import { suggest } from './suggest.ts'
import { toImpact, toLimit, toMask, toRequirement, toSelectors } from './terms.ts'

/** What of a configuration the policies are checked against. */
export interface CompileContext {
  readonly upstreams: readonly {
    readonly name: string
    readonly protocol: string
    readonly labels: Readonly<Record<string, string>>
  }[]
  /** By protocol. */
  readonly facts: Readonly<Record<string, FactSchema>>
  /** By protocol; null for one whose verbs cannot be listed. */
  readonly verbs?: Readonly<Record<string, readonly string[] | null>>
  /** The protocols whose answers are rows of columns. */
  readonly withRows?: ReadonlySet<string>
}

/** Checks every rule against the upstreams it can match, and makes the set that decides. */
export function compile(source: PolicySource, context: CompileContext): PolicySet | readonly Problem[] {
  const problems: Problem[] = []
  const languages = new Map<string, Language>()

  function languageOf(protocol: string): Language {
    const known = languages.get(protocol)
    if (known) return known
    const created = createLanguage(context.facts[protocol] ?? {})
    languages.set(protocol, created)
    return created
  }

  function tellOf(kind: 'rule' | 'breaker', policy: string, name: string): Tell {
    return (path, message, linesBelow = 0) => {
      const { file, line } = source.locate(policy, name, path)
      problems.push({ file, line: line === 0 ? 0 : line + linesBelow, message: `${kind} "${name}": ${message}` })
    }
  }

  const rules = source.policies.flatMap(({ name: policy, rules: written }) =>
    written.map((rule) => {
      const tell = tellOf('rule', policy, rule.name)
      return compileRule({ policy, rule, context, languageOf, tell })
    }),
  )
  const breakers = source.policies.flatMap(({ name: policy, breakers: written = [] }) =>
    written.map((breaker) => {
      const tell = tellOf('breaker', policy, breaker.name)
      return compileBreaker({ policy, rule: breaker, context, tell })
    }),
  )
  if (problems.length > 0) return problems
  return {
    version: 0,
    hash: source.hash,
    rules,
    lookups: lookupsOf(context, rules),
    breakers: new Map(breakers.map((breaker) => [formatRule(breaker.ref), breaker])),
    breakerLookups: lookupsOf(context, breakers),
  }
}

function lookupsOf<Rule extends Criteria>(
  { upstreams }: CompileContext,
  rules: readonly Rule[],
): ReadonlyMap<string, Lookup<Rule>> {
  return new Map(
    upstreams.map(({ name }) => [
      name,
      createLookup(rules.filter((rule) => rule.upstreams === null || rule.upstreams.has(name))),
    ]),
  )
}

type Tell = (path: readonly PropertyKey[], message: string, linesBelow?: number) => void

interface TargetParts {
  readonly policy: string
  readonly rule: Pick<Rule, 'name' | 'principals' | 'upstreams' | 'verbs' | 'resources'>
  readonly context: CompileContext
  readonly tell: Tell
}

interface RuleParts extends TargetParts {
  readonly rule: Rule
  languageOf(protocol: string): Language
}

function compileRule(parts: RuleParts): CompiledRule {
  const { policy, rule } = parts
  const ref = { policy, rule: rule.name }
  const { protocols, criteria } = compileTarget(parts)
  checkRows(parts, protocols)
  const requirement = rule.approval ? toRequirement(ref, rule, rule.approval) : null
  checkImpact(parts, protocols)
  return {
    ref,
    effect: rule.effect,
    ...criteria,
    condition: compileCondition(parts, protocols),
    message: rule.message ?? null,
    requirement: rule.effect === 'hold' ? requirement : null,
    limits: (rule.limits ?? []).flatMap((text) => toLimit(ref, text, requirement)),
    masks: (rule.mask ?? []).map((text) => toMask(ref, text)),
    maxDurationMs: rule.max_duration === undefined ? null : parseDuration(rule.max_duration),
    impact: rule.impact ? toImpact(rule.impact) : null,
  }
}

function compileBreaker(parts: TargetParts & { readonly rule: Breaker }): CompiledBreaker {
  const { policy, rule: breaker } = parts
  const terms: BreakerTerms = {
    ref: { policy, rule: breaker.name },
    counts: breaker.counts,
    moreThan: breaker.more_than,
    windowMs: parseDuration(breaker.within) ?? 0,
    effect: breaker.then,
  }
  const { approval } = breaker
  const message = sayTripped(terms)
  return {
    ...terms,
    ...compileTarget(parts).criteria,
    requirement: approval ? toRequirement(terms.ref, { message }, approval) : null,
  }
}

/** Told to the agent, and shown on the card. */
function sayTripped(terms: BreakerTerms): string {
  return `A circuit breaker has tripped for this agent: ${describeTrip(terms)}. Each of its calls is held until a person resumes it.`
}

/** What it is about, and the protocols of the upstreams that it can meet. */
function compileTarget(parts: TargetParts): { readonly protocols: readonly string[]; readonly criteria: Criteria } {
  const { rule, context, tell } = parts
  const named = rule.upstreams
  const reachable = context.upstreams.filter(({ name }) => named === undefined || named.includes(name))
  const protocols = [...new Set(reachable.map(({ protocol }) => protocol))]

  const known = context.upstreams.map(({ name }) => name)
  for (const [index, name] of (named ?? []).entries()) {
    if (!known.includes(name)) tell(['upstreams', index], `unknown upstream "${name}"${suggest(name, known)}`)
  }
  checkVerbs(parts, protocols)
  const criteria = {
    upstreams: named ? new Set(named) : null,
    verbs: rule.verbs === undefined || rule.verbs.includes('*') ? null : rule.verbs,
    resources: rule.resources ?? null,
    principals: rule.principals ? toSelectors(rule.principals) : null,
  }
  return { protocols, criteria }
}

/** A verb that no reachable protocol has would make a rule that never matches: a typing error, and a deny lost. */
function checkVerbs({ rule, context, tell }: TargetParts, protocols: readonly string[]): void {
  const known: string[] = []
  for (const protocol of protocols) {
    const verbs = context.verbs?.[protocol]
    if (!verbs) return
    known.push(...verbs)
  }
  if (protocols.length === 0) return
  for (const [index, verb] of (rule.verbs ?? []).entries()) {
    if (verb !== '*' && !known.includes(verb)) tell(['verbs', index], `unknown verb "${verb}"${suggest(verb, known)}`)
  }
}

/** What a protocol could not do is not promised by a rule that can meet it. */
function checkRows({ rule, context, tell }: RuleParts, protocols: readonly string[]): void {
  const without = protocols.find((protocol) => !context.withRows?.has(protocol))
  if (without === undefined) return
  const where = `answers of an upstream of protocol ${without}`
  const hint = 'name the upstreams that the rule is for'
  if (rule.mask) tell(['mask'], `${where} have no columns to mask; ${hint}`)
  for (const [index, text] of (rule.limits ?? []).entries()) {
    if (parseLimit(text)?.unit === 'rows') tell(['limits', index], `${where} have no rows to count; ${hint}`)
  }
}

/** Where no rows are counted, it would be a promise that nobody keeps. */
function checkImpact(
  { rule, context, tell }: TargetParts & { readonly rule: Rule },
  protocols: readonly string[],
): void {
  if (!rule.impact || protocols.length === 0) return
  if (protocols.some((protocol) => context.facts[protocol]?.['rows'])) return
  tell(['impact'], 'impact: no upstream that this rule can match tells the number of rows')
}

/** Each protocol has other facts, so a condition is checked against every one that the rule can meet. */
function compileCondition(
  { rule, context, languageOf, tell }: RuleParts,
  protocols: readonly string[],
): CompiledRule['condition'] {
  const text = rule.when
  if (text === undefined) return null
  const programs = new Map<string, Program>()
  const told = new Set<string>()
  for (const protocol of protocols.length > 0 ? protocols : Object.keys(context.facts)) {
    const program = languageOf(protocol).compile(text)
    if (!Array.isArray(program)) {
      // `Array.isArray` does not tell a readonly array from the rest of a union.
      programs.set(protocol, program as Program)
      continue
    }
    for (const { offset, message } of program) {
      if (told.has(message)) continue
      told.add(message)
      const where = protocols.length > 1 ? ` (for an upstream of protocol ${protocol})` : ''
      tell(['when'], `when: ${message}${where}`, linesAbove(text, offset))
    }
  }
  return { text, programs }
}

/** Lines from the key's value to the place: a text of several lines begins on the line after its `|`. */
function linesAbove(text: string, offset: number): number {
  return text.includes('\n') ? text.slice(0, offset).split('\n').length : 0
}
