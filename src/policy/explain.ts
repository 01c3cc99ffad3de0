import type { Action } from '../domain/action.ts'
import { matchesSelector } from '../domain/selector.ts'
import { type Effect, formatMask, formatRule, type RuleRef, type Unsure, type Verdict } from '../domain/verdict.ts'
import { type DecideInput, decide } from './decide.ts'
import { explainFault } from './expression.ts'
import { isMatch } from './pattern.ts'
import { createScope } from './scope.ts'
import type { CompiledRule, PolicySet } from './set.ts'

/**
 * What one rule makes of one action: it `matches`; its condition is false, failed, or reads what is not at hand; or the
 * first criterion by which it is about something else.
 */
export type RuleResult =
  | 'matches'
  | 'condition_false'
  | 'condition_failed'
  | 'unsure'
  | 'other_upstream'
  | 'other_verb'
  | 'other_resource'
  | 'other_principal'

export interface RuleFinding {
  readonly rule: RuleRef
  readonly effect: Effect
  readonly result: RuleResult
  /** Why a condition failed, or what it needs. */
  readonly detail: string | null
  /** Whether it is one of those that gave the verdict. */
  readonly isDeciding: boolean
}

export interface Explanation {
  readonly verdict: Verdict | Unsure
  readonly actions: readonly {
    readonly verb: string
    readonly resource: string
    /** Those that decide first, then those that match, then those whose condition kept them out, then the rest. */
    readonly rules: readonly RuleFinding[]
  }[]
}

/** Why a described call gets the verdict it gets, rule by rule. Slow: for people, not for calls. */
export function explain(set: PolicySet, input: DecideInput): Explanation {
  const verdict = decide(set, input)
  const deciding = new Set(verdict.effect === 'unsure' ? [] : verdict.rules.map(formatRule))
  return {
    verdict,
    actions: input.actions.map((action) => ({
      verb: action.verb,
      resource: action.resource,
      rules: set.rules
        .map((rule) => {
          const { result, detail } = examine(rule, input, action)
          const took = result === 'matches' || result === 'condition_failed'
          return {
            rule: rule.ref,
            effect: rule.effect,
            result,
            detail,
            isDeciding: took && deciding.has(formatRule(rule.ref)),
          }
        })
        .sort((a, b) => rank(a) - rank(b)),
    })),
  }
}

function examine(rule: CompiledRule, input: DecideInput, action: Action): Pick<RuleFinding, 'result' | 'detail'> {
  const { principal, upstream, have } = input
  const is = (result: RuleResult, detail: string | null = null) => ({ result, detail })
  if (rule.upstreams && !rule.upstreams.has(upstream.name)) return is('other_upstream')
  if (rule.verbs && !rule.verbs.includes(action.verb)) return is('other_verb')
  if (rule.resources && !rule.resources.some((pattern) => isMatch(pattern, action.resource)))
    return is('other_resource')
  if (rule.principals && !rule.principals.some((selector) => matchesSelector(selector, principal))) {
    return is('other_principal')
  }
  if (!rule.condition) return is('matches')

  const program = rule.condition.programs.get(upstream.protocol)
  if (!program) return is('condition_failed', `it was not checked for ${upstream.protocol}`)
  const missing = [...program.needs].filter((need) => !have.has(need))
  if (missing.length > 0) return is('unsure', `it reads ${missing.join(', ')}, which is not known yet`)
  try {
    return is(program.isTrue(createScope(input, action)) ? 'matches' : 'condition_false', rule.condition.text)
  } catch (error) {
    return is('condition_failed', explainFault(error))
  }
}

const RANKS: Readonly<Record<RuleResult, number>> = {
  condition_failed: 1,
  matches: 2,
  unsure: 3,
  condition_false: 4,
  other_principal: 5,
  other_resource: 6,
  other_verb: 7,
  other_upstream: 8,
}

function rank({ isDeciding, result }: RuleFinding): number {
  return isDeciding ? 0 : RANKS[result]
}

const REASONS: Readonly<Record<RuleResult, string>> = {
  matches: 'matches, and would say',
  condition_false: 'does not apply: its condition is false',
  condition_failed: 'cannot be evaluated, which is a deny',
  unsure: 'cannot be told yet',
  other_upstream: 'is about another upstream',
  other_verb: 'is about another verb',
  other_resource: 'is about another resource',
  other_principal: 'is about another principal',
}

const BASES: Readonly<Record<Verdict['basis'], (rules: string) => string>> = {
  rule: (rules) => `by rule ${rules}`,
  no_rule: () => 'no rule allows it',
  condition_failed: (rules) => `the condition of ${rules} could not be evaluated`,
  unreadable: () => 'what a rule reads of it cannot be read',
  suspended: () => 'the agent, or someone it acts for, is suspended',
  no_manager: () => 'the manager of the owner, whom a rule asks, is not known',
  breaker: (rules) => `rules allow it, and the circuit breaker ${rules} has tripped`,
}

/** Why a verdict is what it is, in words; with the rules, if it is by rule. */
export function describeBasis({ basis, rules }: Verdict): string {
  return BASES[basis](rules.map(formatRule).join(', '))
}

/** The explanation as lines of text. */
export function formatExplanation({ verdict, actions }: Explanation): readonly string[] {
  const lines: string[] = []
  if (verdict.effect === 'unsure') lines.push(`unsure: needs ${[...verdict.needs].join(', ')}`)
  else {
    lines.push(`${verdict.effect}: ${describeBasis(verdict)}`)
    if (verdict.message !== null) lines.push(`  "${verdict.message}"`)
    for (const mask of verdict.masks) lines.push(`  masks ${formatMask(mask)} (${formatRule(mask.rule)})`)
  }
  for (const { verb, resource, rules } of actions) {
    lines.push('', `${verb} ${resource}`)
    for (const finding of rules) lines.push(`  ${formatFinding(finding)}`)
  }
  return lines
}

function formatFinding({ rule, effect, result, detail, isDeciding }: RuleFinding): string {
  const name = formatRule(rule)
  if (isDeciding && result === 'matches') return `${name}: decides: ${effect}`
  const reason = result === 'matches' ? `${REASONS.matches} ${effect}` : REASONS[result]
  return `${name}: ${reason}${detail === null || result === 'matches' ? '' : ` (${detail})`}`
}
