import { type Party, parseParty } from '../domain/principal.ts'
import type { PeopleIssuer } from './options.ts'

/**
 * Who manages whom, as the configuration says. An agent's token comes from another issuer than the people's, which does
 * not know it; and a claim of the owner's own token would be as old as their last sign-in, or missing without one.
 */
export function createManagers(
  people: readonly Pick<PeopleIssuer, 'issuer' | 'managers'>[],
): (person: Party) => Party | null {
  const byIssuer = new Map(people.map(({ issuer, managers }) => [issuer, new Map(Object.entries(managers))]))
  return ({ issuer, subject }) => parseParty(byIssuer.get(issuer)?.get(subject) ?? '')
}
