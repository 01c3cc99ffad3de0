import { type Approver, isEntitled, type Moment, mayApprove, type Voter } from '../domain/entitlement.ts'
import type { Requirement } from '../domain/verdict.ts'

/** A person with the time of their vote, by the store's clock. */
export type Cast = Approver & { readonly at: Date }

/** What an approval asks for, and since when. */
interface Asked {
  readonly requirements: readonly Requirement[]
  readonly openedAt: Date
}

/**
 * Whether these people, who are distinct, meet all requirements at once. Each person counts for one requirement only:
 * someone in both finance and security is one pair of eyes, not two. So people are matched to places (a maximum
 * bipartite matching by augmenting paths): taking the first fit would let the order of votes decide.
 */
export function meetsAll({ requirements, openedAt }: Asked, people: readonly Cast[]): boolean {
  const places = requirements.flatMap((requirement) => Array.from({ length: requirement.quorum }, () => requirement))
  if (places.length > people.length) return false
  const placeOf = new Map<Cast, number>()
  return places.every((_, place) => fill(place, new Set()))

  function fill(place: number, tried: Set<Cast>): boolean {
    const requirement = places[place]
    if (!requirement) return false
    for (const person of people) {
      if (tried.has(person) || !mayApprove(requirement, person, momentOf(person, openedAt))) continue
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

/** Whether so many of these people, who said no, are entitled to one of the requirements that it is denied. */
export function isDenied(
  { requirements, openedAt }: Asked,
  people: readonly (Voter & { readonly at: Date })[],
): boolean {
  return requirements.some((requirement) => {
    const entitled = people.filter((person) => isEntitled(requirement, person, momentOf(person, openedAt)))
    return entitled.length >= (requirement.denyQuorum ?? 1)
  })
}

export function momentOf({ at }: { readonly at: Date }, openedAt: Date): Moment {
  return { openedAt: openedAt.getTime(), at: at.getTime() }
}
