import type { Action, Actions, Need, Needs } from '../domain/action.ts'
import type { Upstream } from '../domain/call.ts'
import type { ImpactTerms } from '../domain/impact.ts'
import type { Principal } from '../domain/principal.ts'
import { parseRule, type Requirement, type RuleRef, type Unsure, type Verdict } from '../domain/verdict.ts'
import { createScope } from './scope.ts'
import type { CompiledRule, PolicySet } from './set.ts'

/** Everything a decision depends on, beside the policy. */
export interface DecideInput {
  readonly principal: Principal
  readonly isSuspended: boolean
  /** The circuit breakers that have tripped for the agent and hold what it does, as `policy/name`. */
  readonly heldBy: readonly string[]
  readonly upstream: Pick<Upstream, 'name' | 'protocol' | 'labels'>
  readonly callId: string
  readonly actions: Actions
  /** What was fetched already, so that its facts are as complete as they can be. */
  readonly have: Needs
  /** Milliseconds since the epoch. */
  readonly now: number
}

/**
 * What policy says of a call. Pure: the same input gives the same answer, and nothing is read or waited for.
 *
 * `deny` beats `hold` beats `allow`, among the rules that match an action and among the actions of a call; an action
 * that no rule matches is denied. A condition that throws is a deny, whatever the effect of its rule. It is unsure only
 * while a rule that matches upstream, verb, resource and principal reads facts that are not at hand, and what is at
 * hand does not deny already. For an agent that breakers hold, an allow becomes a hold.
 */
export function decide(set: PolicySet, input: DecideInput): Verdict | Unsure {
  const base = { ...NOTHING, policyVersion: set.version }
  if (input.isSuspended) return { ...base, effect: 'deny', basis: 'suspended' }

  const needs = new Set<Need>()
  const findings: Finding[] = []
  for (const [index, action] of input.actions.entries()) {
    const finding = judgeAction(set, input, action)
    const denial = denialOf(finding)
    if (denial) return { ...base, ...denial, decidingAction: index }
    for (const need of finding.needs) needs.add(need)
    findings.push(finding)
  }
  const holding = findings.findIndex(({ holds }) => holds.length > 0)
  const holds = unique(findings.flatMap((finding) => finding.holds))
  const allows = unique(findings.flatMap((finding) => finding.allows))
  const passing = [...holds, ...allows]
  if (needs.size > 0) {
    const open = unique(findings.flatMap((finding) => finding.open))
    const masks = unique([...passing, ...open]).flatMap((rule) => rule.masks)
    return { effect: 'unsure', needs, masks, policyVersion: set.version }
  }
  const terms = {
    masks: passing.flatMap((rule) => rule.masks),
    maxDurationMs: passing.reduce<number | null>((least, rule) => shorter(least, rule.maxDurationMs), null),
  }
  const breakers = input.heldBy.map((name) => requirementOf(set, name))
  if (holding !== -1) {
    const requirements = holds.flatMap((rule) => (rule.requirement ? [rule.requirement] : []))
    return {
      ...base,
      ...terms,
      effect: 'hold',
      basis: 'rule',
      rules: holds.map(refOf),
      message: firstMessage(holds),
      // Of an agent that is held each call is looked at: what was granted before lets none go.
      requirements: breakers.length === 0 ? requirements : requirements.map(withoutGrant),
      ...impactOf(holds),
      decidingAction: holding,
    }
  }
  const [first] = breakers
  if (first) {
    const message = first.message ?? null
    const rules = breakers.map(({ rule }) => rule)
    return {
      ...base,
      ...terms,
      ...impactOf(allows),
      effect: 'hold',
      basis: 'breaker',
      rules,
      message,
      requirements: breakers,
    }
  }
  return {
    ...base,
    ...terms,
    effect: 'allow',
    basis: 'rule',
    rules: allows.map(refOf),
    message: firstMessage(allows),
    limits: allows.flatMap((rule) => rule.limits),
    ...impactOf(allows),
  }
}

/** Rows are shown only if every rule permits it; of a tolerance that one rule gives, another that says nothing takes nothing. */
function impactOf(rules: readonly CompiledRule[]): { readonly impact?: ImpactTerms } {
  const stated = rules.flatMap(({ impact }) => (impact ? [impact] : []))
  if (stated.length === 0) return {}
  const sample = stated.length < rules.length ? 0 : Math.min(...stated.map((terms) => terms.sample))
  return { impact: { sample, tolerances: stated.flatMap(({ tolerances }) => tolerances) } }
}

/** What a breaker asks for; any one reviewer, where the policy has it no more. */
function requirementOf(set: PolicySet, name: string): Requirement {
  const known = set.breakers.get(name)?.requirement
  if (known) return { ...known, breaker: 'asks' }
  const message = 'A circuit breaker has tripped for this agent. Each of its calls is held until a person resumes it.'
  const anyone = { reviewers: [{ kind: 'any' as const }], quorum: 1, expiresMs: null, isReasonRequired: false }
  return { rule: parseRule(name), ...anyone, message, breaker: 'asks' }
}

function withoutGrant({ grant, ...requirement }: Requirement): Requirement {
  return grant ? { ...requirement, breaker: 'bars_grant' } : requirement
}

/** What a verdict says where no rule gave it. */
export const NOTHING = {
  rules: [],
  message: null,
  requirements: [],
  limits: [],
  masks: [],
  maxDurationMs: null,
  decidingAction: 0,
} as const

interface Finding {
  readonly denies: readonly CompiledRule[]
  readonly failed: readonly CompiledRule[]
  readonly holds: readonly CompiledRule[]
  readonly allows: readonly CompiledRule[]
  /** The other matching rules: they read what is not at hand. */
  readonly open: readonly CompiledRule[]
  /** What that is. */
  readonly needs: Needs
}

function judgeAction(set: PolicySet, input: DecideInput, action: Action): Finding {
  const { principal, upstream, have } = input
  const { verb, resource } = action
  const found = { deny: [] as CompiledRule[], hold: [] as CompiledRule[], allow: [] as CompiledRule[] }
  const failed: CompiledRule[] = []
  const open: CompiledRule[] = []
  const needs = new Set<Need>()
  const matching = set.lookups.get(upstream.name)?.find({ verb, resource, principal }) ?? []

  let scope: ReturnType<typeof createScope> | null = null
  for (const rule of matching) {
    if (!rule.condition) {
      found[rule.effect].push(rule)
      continue
    }
    const program = rule.condition.programs.get(upstream.protocol)
    if (program && !isCovered(program.needs, have)) {
      for (const need of program.needs) if (!have.has(need)) needs.add(need)
      open.push(rule)
      continue
    }
    try {
      scope ??= createScope(input, action)
      if (!program) failed.push(rule)
      else if (program.isTrue(scope)) found[rule.effect].push(rule)
    } catch {
      // Whatever went wrong, nobody knows whether the rule applies.
      failed.push(rule)
    }
  }
  return { denies: found.deny, failed, holds: found.hold, allows: found.allow, open, needs }
}

/** The verdict of an action that is denied whatever else may become known; null if it is not. */
function denialOf(finding: Finding): Pick<Verdict, 'effect' | 'basis' | 'rules' | 'message'> | null {
  const { denies, failed, holds, allows, needs } = finding
  if (denies.length > 0) {
    return { effect: 'deny', basis: 'rule', rules: [...denies, ...failed].map(refOf), message: firstMessage(denies) }
  }
  if (failed.length > 0) {
    const message = firstMessage(failed.filter(({ effect }) => effect === 'deny'))
    return { effect: 'deny', basis: 'condition_failed', rules: failed.map(refOf), message }
  }
  if (holds.length + allows.length + needs.size > 0) return null
  return { effect: 'deny', basis: 'no_rule', rules: [], message: null }
}

function isCovered(needs: Needs, have: Needs): boolean {
  for (const need of needs) if (!have.has(need)) return false
  return true
}

function refOf(rule: CompiledRule): RuleRef {
  return rule.ref
}

function firstMessage(rules: readonly CompiledRule[]): string | null {
  return rules.find(({ message }) => message !== null)?.message ?? null
}

function shorter(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.min(a, b)
}

function unique(rules: readonly CompiledRule[]): readonly CompiledRule[] {
  return [...new Set(rules)]
}
