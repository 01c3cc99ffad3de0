import { isInClosure, type Party, type Principal } from '../domain/principal.ts'
import type { Reviewer } from '../domain/selector.ts'
import type { Requirement, Verdict } from '../domain/verdict.ts'
import { NOTHING } from './decide.ts'

/** Whom the configuration names as a person's manager; null if it names none. */
export type ManagerOf = (person: Party) => Party | null

/**
 * Puts the owner's manager where a rule asks for `manager`. Where that cannot be told, or is somebody on the requesting
 * side, the hold is a denial: nobody could ever meet it, or not whom the rule means.
 */
export function nameManager(verdict: Verdict, principal: Principal, managerOf: ManagerOf): Verdict {
  if (verdict.effect !== 'hold' || !verdict.requirements.some(asksManager)) return verdict
  const manager = principal.owner && managerOf(principal.owner)
  if (!manager || isInClosure(principal, manager)) {
    const { policyVersion, decidingAction } = verdict
    const rules = verdict.requirements.filter(asksManager).map(({ rule }) => rule)
    return { ...NOTHING, effect: 'deny', basis: 'no_manager', rules, policyVersion, decidingAction }
  }
  return { ...verdict, requirements: verdict.requirements.map((requirement) => withManager(requirement, manager)) }
}

function asksManager({ reviewers, escalate }: Requirement): boolean {
  return [...reviewers, ...(escalate?.to ?? [])].some(({ kind }) => kind === 'manager')
}

function withManager(requirement: Requirement, party: Party): Requirement {
  const { reviewers, escalate } = requirement
  const name = (reviewer: Reviewer): Reviewer => (reviewer.kind === 'manager' ? { kind: 'manager', party } : reviewer)
  return {
    ...requirement,
    reviewers: reviewers.map(name),
    ...(escalate && { escalate: { ...escalate, to: escalate.to.map(name) } }),
  }
}
