import { isWithin } from './hours.ts'
import type { Group, Party } from './principal.ts'
import { matchesSelector } from './selector.ts'
import type { Requirement } from './verdict.ts'

export type Voter = Party & { readonly groups: readonly Group[] }

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
  return isEntitled(requirement, person, moment) && isOpenAt(requirement, moment.at)
}

/** Whether it takes approvals at that moment. A denial it takes at any time. */
export function isOpenAt({ hours }: Requirement, at: number): boolean {
  return hours === undefined || isWithin(hours, at)
}
