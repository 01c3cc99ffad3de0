import { canonicalJson } from '../domain/canonical.ts'
import type { Assurance, Group, Person, Role } from '../domain/principal.ts'

/** A person, as a signed row keeps them: as they stood when they acted. */
export interface SignedPerson {
  readonly issuer: string
  readonly subject: string
  readonly name: string | null
  readonly groups: readonly Group[]
  readonly roles: readonly Role[]
  readonly assurance: Assurance
  readonly authenticated_at: number | null
}

export function toSignedPerson(person: Person): SignedPerson {
  const { issuer, subject, name, groups, roles, assurance } = person
  return { issuer, subject, name, groups, roles, assurance, authenticated_at: person.authenticatedAt }
}

export function toPerson(row: SignedPerson): Person {
  const { issuer, subject, name, groups, roles, assurance } = row
  return { issuer, subject, name, groups, roles, assurance, authenticatedAt: row.authenticated_at }
}

/** What a MAC covers of them. */
export function personMacParts(row: SignedPerson): readonly string[] {
  return [
    canonicalJson([row.issuer, row.subject, row.name, row.groups, row.roles]),
    row.assurance,
    String(row.authenticated_at),
  ]
}
