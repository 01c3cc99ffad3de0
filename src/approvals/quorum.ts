import type { Group, Party } from '../domain/principal.ts'
import { matchesSelector } from '../domain/selector.ts'
import type { Requirement } from '../domain/verdict.ts'

type Voter = Party & { readonly groups: readonly Group[] }

/** Whether one of the requirement's selectors names this person. */
export function isEntitled(requirement: Requirement, person: Voter): boolean {
  return requirement.reviewers.some((selector) => matchesSelector(selector, person))
}

/**
 * Whether these people, who are distinct, meet all requirements at once. Each person counts for one requirement only:
 * someone in both finance and security is one pair of eyes, not two. So people are matched to places (a maximum
 * bipartite matching by augmenting paths): taking the first fit would let the order of votes decide.
 */
export function meetsAll(requirements: readonly Requirement[], people: readonly Voter[]): boolean {
  const places = requirements.flatMap((requirement) => Array.from({ length: requirement.quorum }, () => requirement))
  if (places.length > people.length) return false
  const placeOf = new Map<Voter, number>()
  return places.every((_, place) => fill(place, new Set()))

  function fill(place: number, tried: Set<Voter>): boolean {
    const requirement = places[place]
    if (!requirement) return false
    for (const person of people) {
      if (tried.has(person) || !isEntitled(requirement, person)) continue
      tried.add(person)
      const taken = placeOf.get(person)
      if (taken === undefined || fill(taken, tried)) {
        placeOf.set(person, place)
        return true
      }
    }
    return false
  }
}
