import { isWithin } from './hours.ts'
import type { Group, Party } from './principal.ts'
import { matchesSelector } from './selector.ts'
import type { Requirement } from './verdict.ts'

export type Voter = Party & {
  readonly groups: readonly Group[]
  /** For whom a grant stands: the hashes of the rules that it is about. Without it a yes counts for every rule. */
  readonly grantedRules?: ReadonlySet<string>
}

/** Milliseconds since the epoch, both by the store's clock. */
export interface Moment {
  readonly openedAt: number
  readonly at: number
}

/**
 * Whether the requirement names this person at that moment: one of its selectors, or of those it has escalated to by
 * then, and none that it excludes.
 */
export function isEntitled(requirement: Requirement, person: Voter, { openedAt, at }: Moment): boolean {
  const { reviewers, exclude = [], escalate } = requirement
  if (exclude.some((selector) => matchesSelector(selector, person))) return false
  if (reviewers.some((selector) => matchesSelector(selector, person))) return true
  const isEscalated = escalate !== undefined && at >= openedAt + escalate.afterMs
  return isEscalated && escalate.to.some((selector) => matchesSelector(selector, person))
}

/** Whether a yes of this person at that moment counts for the requirement. */
export function mayApprove(requirement: Requirement, person: Voter, moment: Moment): boolean {
  return isEntitled(requirement, person, moment) && isOpenAt(requirement, moment.at) && isGranted(requirement, person)
}

/**
 * Whether a yes of this person may stand in place of the quorum of all these requirements. At any hour; whom a
 * requirement excludes it excludes here too.
 */
export function mayOverride(requirements: readonly Requirement[], person: Voter): boolean {
  return (
    requirements.length > 0 &&
    requirements.every(
      ({ override = [], exclude = [] }) =>
        override.some((selector) => matchesSelector(selector, person)) &&
        !exclude.some((selector) => matchesSelector(selector, person)),
    )
  )
}

/** Whether it takes approvals at that moment. A denial it takes at any time. */
export function isOpenAt({ hours }: Requirement, at: number): boolean {
  return hours === undefined || isWithin(hours, at)
}

function isGranted({ grant }: Requirement, { grantedRules }: Voter): boolean {
  return grantedRules === undefined || (grant !== undefined && grantedRules.has(grant.ruleHash))
}
