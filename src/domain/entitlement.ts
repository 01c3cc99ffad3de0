import type { Absentee } from './delegation.ts'
import { isWithin } from './hours.ts'
import { type Group, isSameParty, type Party, type Person } from './principal.ts'
import { matchesSelector, type Reviewer } from './selector.ts'
import type { AssuranceNeed, Requirement } from './verdict.ts'

export type Voter = Party & {
  readonly groups: readonly Group[]
  /** For whom a grant stands: the hashes of the rules that it is about. Without it a yes counts for every rule. */
  readonly grantedRules?: ReadonlySet<string>
  /** Who is away and is stood in for: where they are named themselves, and nowhere else. */
  readonly standsFor?: Absentee
}

/** Somebody who says yes, and how they were authenticated for it. */
export type Approver = Voter & Pick<Person, 'assurance' | 'authenticatedAt'>

/** How far apart the clocks of the store and of an identity provider may be. */
const SKEW_MS = 60_000

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
  const isEscalated = escalate !== undefined && at >= openedAt + escalate.afterMs
  const asked = isEscalated ? [...reviewers, ...escalate.to] : reviewers
  if (asked.some((selector) => matchesSelector(selector, person))) return true
  const { standsFor } = person
  if (!standsFor || exclude.some((selector) => matchesSelector(selector, standsFor))) return false
  return asked.some((reviewer) => isNamedBy(reviewer, standsFor))
}

/** As a person, not through a group: a delegate is given no group, and whoever is in one may decide anyway. */
function isNamedBy(reviewer: Reviewer, person: Party): boolean {
  if (reviewer.kind !== 'party' && reviewer.kind !== 'manager') return false
  return reviewer.party !== null && isSameParty(reviewer.party, person)
}

/** Whether a yes of this person at that moment counts for the requirement. */
export function mayApprove(requirement: Requirement, person: Approver, moment: Moment): boolean {
  return (
    isEntitled(requirement, person, moment) &&
    isOpenAt(requirement, moment.at) &&
    isSureEnough(requirement, person, moment.at) &&
    isGranted(requirement, person)
  )
}

/**
 * Whether the person was authenticated for this yes as the requirement asks for. A passkey was used at that very moment,
 * which is fresher than any sign-in. A chat account does not say when its person signed in.
 */
export function isSureEnough(
  { assurance: need }: Requirement,
  { assurance, authenticatedAt }: Pick<Approver, 'assurance' | 'authenticatedAt'>,
  at: number,
): boolean {
  if (need === undefined || assurance === 'passkey') return true
  if (need.kind === 'passkey' || assurance !== 'oidc' || authenticatedAt === null) return false
  const ageMs = at - authenticatedAt * 1000
  return ageMs <= need.maxAgeMs && ageMs >= -SKEW_MS
}

/**
 * What would let this person's yes count for a requirement that names them; null if it does so already, or nothing would.
 * A sign-in rather than a passkey, where either will do; as young as all of them ask for.
 */
export function findAssuranceNeed(
  requirements: readonly Requirement[],
  person: Approver,
  moment: Moment,
): AssuranceNeed | null {
  const open = requirements.filter((one) => isEntitled(one, person, moment) && isOpenAt(one, moment.at))
  if (open.some((one) => isSureEnough(one, person, moment.at))) return null
  const ages = open.flatMap(({ assurance }) => (assurance?.kind === 'fresh' ? [assurance.maxAgeMs] : []))
  if (ages.length > 0) return { kind: 'fresh', maxAgeMs: Math.min(...ages) }
  return open.length > 0 ? { kind: 'passkey' } : null
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
