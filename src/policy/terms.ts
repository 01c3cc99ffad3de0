import { createHash } from 'node:crypto'
import { canonicalJson } from '../domain/canonical.ts'
import { type Hours, parseDays, parseTimeOfDay } from '../domain/hours.ts'
import { type ImpactTerms, parseTolerance } from '../domain/impact.ts'
import type { GrantPermit } from '../domain/permit.ts'
import { parseQualified } from '../domain/qualified.ts'
import { parseReviewer, parseSelector, type Reviewer, type Selector } from '../domain/selector.ts'
import { parseDuration } from '../domain/units.ts'
import type { AssuranceNeed, Limit, Mask, Requirement, RuleRef } from '../domain/verdict.ts'
import { parseLimit } from './limit.ts'
import type { ApprovalTerms, Rule } from './schema.ts'

/*
 * What the words of a rule stand for. They were checked when the file was read: no fallback here is ever reached.
 */

/** What a rule leaves out is left out: an approval's record is the same as that of a release that knew less. */
export function toRequirement(ref: RuleRef, rule: Pick<Rule, 'message'> | Rule, approval: ApprovalTerms): Requirement {
  const { exclude, deny_quorum: denyQuorum, hours, remind, escalate, assurance, grant, override } = approval
  return {
    rule: ref,
    reviewers: toReviewers(approval.reviewers),
    quorum: approval.quorum ?? 1,
    expiresMs: approval.expires === undefined ? null : parseDuration(approval.expires),
    isReasonRequired: approval.reason_required ?? false,
    ...(rule.message !== undefined && { message: rule.message }),
    ...(exclude && { exclude: toSelectors(exclude) }),
    ...(denyQuorum !== undefined && denyQuorum > 1 && { denyQuorum }),
    ...(hours && { hours: toHours(hours) }),
    ...(remind && { remindMs: toAscending(remind.flatMap((text) => parseDuration(text) ?? [])) }),
    ...(escalate && {
      escalate: { afterMs: parseDuration(escalate.after) ?? 0, to: toReviewers(escalate.to) },
    }),
    ...(assurance && { assurance: toAssurance(assurance, approval.max_age) }),
    ...(grant && 'effect' in rule && { grant: toPermit(ref, rule, grant) }),
    ...(override && { override: toSelectors(override) }),
  }
}

export function toImpact({ sample = 0, tolerance }: NonNullable<Rule['impact']>): ImpactTerms {
  const parsed = tolerance === undefined ? null : parseTolerance(tolerance)
  return { sample, tolerances: parsed ? [parsed] : [] }
}

const FRESH_MS = 5 * 60_000

function toAssurance(kind: NonNullable<ApprovalTerms['assurance']>, maxAge: string | undefined): AssuranceNeed {
  if (kind === 'passkey') return { kind }
  return { kind, maxAgeMs: (maxAge === undefined ? null : parseDuration(maxAge)) ?? FRESH_MS }
}

/** The hash is of all that the rule says: whoever granted something granted it under these very words. */
function toPermit(ref: RuleRef, rule: Rule, grant: NonNullable<ApprovalTerms['grant']>): GrantPermit {
  return {
    mostMs: parseDuration(grant.for) ?? 0,
    mostUses: grant.uses,
    covers: grant.covers ?? 'call',
    ruleHash: createHash('sha256')
      .update(canonicalJson({ policy: ref.policy, rule }))
      .digest('hex'),
    ...(rule.resources && { resources: rule.resources }),
    ...(rule.when !== undefined && { when: rule.when }),
  }
}

function toHours({ days, from, to, zone }: NonNullable<ApprovalTerms['hours']>): Hours {
  return {
    days: toAscending(days.flatMap((text) => parseDays(text) ?? [])),
    from: parseTimeOfDay(from) ?? 0,
    to: parseTimeOfDay(to) ?? 0,
    zone,
  }
}

function toAscending(numbers: readonly number[]): readonly number[] {
  return [...new Set(numbers)].sort((a, b) => a - b)
}

export function toLimit(rule: RuleRef, text: string, requirement: Requirement | null): readonly Limit[] {
  const limit = parseLimit(text)
  if (!limit) return []
  const anyone = { rule, reviewers: [{ kind: 'any' as const }], quorum: 1, expiresMs: null, isReasonRequired: false }
  return [{ rule, ...limit, requirement: requirement ?? anyone }]
}

export function toMask(rule: RuleRef, text: string): Mask {
  const [schema = '', relation = '', column = ''] = parseQualified(text) ?? []
  return { rule, schema, relation, column }
}

export function toSelectors(texts: readonly string[]): readonly Selector[] {
  return texts.map(parseSelector).filter((selector) => selector !== null)
}

function toReviewers(texts: readonly string[]): readonly Reviewer[] {
  return texts.map(parseReviewer).filter((reviewer) => reviewer !== null)
}
