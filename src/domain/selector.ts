import { formatParty, type Group, isSameParty, type Party, parseParty } from './principal.ts'

/**
 * How policy and configuration name people and agents: `*` (anyone), `group:finance`, `group:okta/finance`
 * (the group as that issuer asserts it) or `https://idp.example.com|alice` (one identity).
 */
export type Selector =
  | { readonly kind: 'any' }
  | { readonly kind: 'group'; readonly issuerName: string | null; readonly name: string }
  | { readonly kind: 'party'; readonly party: Party }

/** How a rule names those who are asked: `manager` is whoever manages the owner, null until that is known. */
export type Reviewer = Selector | { readonly kind: 'manager'; readonly party: Party | null }

/** As `parseSelector`, and `manager`. */
export function parseReviewer(text: string): Reviewer | null {
  return text === 'manager' ? { kind: 'manager', party: null } : parseSelector(text)
}

/** Null if the text is none of the forms. */
export function parseSelector(text: string): Selector | null {
  if (text === '*') return { kind: 'any' }
  if (text.startsWith('group:')) {
    const rest = text.slice('group:'.length)
    const slash = rest.indexOf('/')
    const issuerName = slash === -1 ? null : rest.slice(0, slash)
    const name = rest.slice(slash + 1)
    return name === '' || issuerName === '' ? null : { kind: 'group', issuerName, name }
  }
  const party = parseParty(text)
  return party && { kind: 'party', party }
}

export function formatSelector(selector: Reviewer): string {
  if (selector.kind === 'any') return '*'
  if (selector.kind !== 'group') return selector.party === null ? 'manager' : formatParty(selector.party)
  return `group:${selector.issuerName === null ? '' : `${selector.issuerName}/`}${selector.name}`
}

/** For people to read: says of the manager that it is them. */
export function describeReviewer(reviewer: Reviewer): string {
  const written = formatSelector(reviewer)
  return reviewer.kind === 'manager' && reviewer.party !== null ? `manager (${written})` : written
}

export function matchesSelector(selector: Reviewer, who: Party & { readonly groups: readonly Group[] }): boolean {
  if (selector.kind === 'any') return true
  if (selector.kind !== 'group') return selector.party !== null && isSameParty(selector.party, who)
  return who.groups.some(
    (group) =>
      group.name === selector.name && (selector.issuerName === null || group.issuerName === selector.issuerName),
  )
}
