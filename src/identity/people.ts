import type { Json, JsonObject } from '../domain/json.ts'
import { type Party, type Person, parseParty, type Role } from '../domain/principal.ts'
import type { Refusal } from '../domain/refusal.ts'
import { matchesSelector, parseSelector, type Selector } from '../domain/selector.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import { claimAt, clientsOf, isNumericDate, subjectOf } from './claims.ts'
import { isCleanText } from './clean-text.ts'
import type { PeopleIssuer } from './options.ts'
import { groupsOf, mappedGroupsOf } from './principal-of.ts'
import { refuseToken, type TokenFault } from './token-fault.ts'
import { type TrustTiming, trustIssuers } from './trust.ts'
import { type Verified, verifyToken } from './verify.ts'

export interface People {
  /**
   * Who presents this token, if it is a person’s own. One of the client for reading is accepted for `read` alone. Never
   * throws.
   */
  identify(token: string, use: TokenUse): Promise<Person | Refusal>
  /**
   * Who is behind a verified chat account: `key` as the chat service names it ("T024/U061"), `accounts` from such keys
   * to "issuer|subject". Groups come from the configuration alone, as nobody asserted any. Null for a stranger.
   */
  mapChatAccount(key: string, accounts: Readonly<Record<string, string>>): Person | null
  /**
   * How somebody who voted stands now; null if their issuer is no longer one of people. Groups that a chat account got
   * from the configuration are those of now; what a token asserted cannot be asked again, and stays.
   */
  standing(voter: Person): Person | null
  /**
   * The same person with the name and the groups that their issuer says now, in a newer ID token or at its userinfo
   * endpoint. Null if they cannot be read.
   */
  update(person: Person, claims: JsonObject): Person | null
  /** Waits until each issuer was asked once (five seconds or so); what is wrong with the configuration, a sentence each. */
  probe(): Promise<readonly string[]>
  close(): Promise<void>
}

/** What a token may be used for: to list and show, or also to vote. */
export type TokenUse = 'read' | 'vote'

type Roles = readonly (readonly [Role, readonly Selector[]])[]

/** Identifies reviewers by the tokens of `issuers`; agents' tokens are refused, whatever groups they carry. */
export function createPeople(options: {
  issuers: readonly PeopleIssuer[]
  clock: Clock
  log: Logger
  timing?: TrustTiming
}): People {
  const { issuers, clock, log, timing } = options
  const trust = trustIssuers(issuers, { clock, log, timing })
  const roles = new Map(issuers.map((issuer) => [issuer.issuer, readRoles(issuer)]))

  async function identify(token: string, use: TokenUse): Promise<Person | Refusal> {
    // The audience of an ID token is the client it was issued to (OpenID Connect Core, section 2).
    const audiencesOf = ({ audience, client_id: client }: PeopleIssuer) => [audience, client]
    const verified = await verifyToken(token, { trust, audiencesOf, nowS: clock.now() / 1000 })
    const person = typeof verified === 'string' ? verified : personOf(verified, { roles, use })
    return typeof person === 'string' ? refuseToken(person) : person
  }

  function mapChatAccount(key: string, accounts: Readonly<Record<string, string>>): Person | null {
    const party = Object.hasOwn(accounts, key) ? parseParty(accounts[key] ?? '') : null
    const issuer = party && issuers.find((candidate) => candidate.issuer === party.issuer)
    if (!issuer) return null
    const who = { ...party, groups: mappedGroupsOf(issuer, party) }
    return { ...who, name: null, roles: rolesOf(who, roles), assurance: 'slack', authenticatedAt: null }
  }

  function standing(voter: Person): Person | null {
    const issuer = issuers.find((candidate) => candidate.issuer === voter.issuer)
    if (!issuer) return null
    const groups = voter.assurance === 'slack' ? mappedGroupsOf(issuer, voter) : voter.groups
    return { ...voter, groups, roles: rolesOf({ ...voter, groups }, roles) }
  }

  function update(person: Person, claims: JsonObject): Person | null {
    const issuer = issuers.find((candidate) => candidate.issuer === person.issuer)
    const groups = issuer ? groupsOf(claims, issuer, person) : 'bad_groups'
    if (typeof groups === 'string') return null
    const who = { ...person, groups }
    return { ...who, name: nameOf(claims) ?? person.name, roles: rolesOf(who, roles) }
  }

  return { identify, mapChatAccount, standing, update, probe: trust.probe, close: trust.close }
}

function personOf(
  token: Verified<PeopleIssuer>,
  { roles, use }: { roles: ReadonlyMap<string, Roles>; use: TokenUse },
): Person | TokenFault {
  const { claims, issuer } = token
  const fault = findAgentFault(token, use)
  if (fault) return fault
  const subject = subjectOf(claims, issuer.options.subject)
  if (subject === null) return 'bad_subject'
  const party: Party = { issuer: issuer.options.issuer, subject }
  const groups = groupsOf(claims, issuer.options, party)
  if (typeof groups === 'string') return groups
  const who = { ...party, groups }
  const { auth_time: signedInAt } = claims
  return {
    ...who,
    name: nameOf(claims),
    roles: rolesOf(who, roles),
    assurance: 'oidc',
    authenticatedAt: isNumericDate(signedInAt) ? signedInAt : null,
  }
}

/** What shows that a token is not one that a person got by signing in at a client of the list. */
function findAgentFault({ claims, issuer, typ }: Verified<PeopleIssuer>, use: TokenUse): TokenFault | null {
  const { sub } = claims
  if (!isCleanText(sub, 512)) return 'bad_subject'
  if (Array.isArray(claims['aud']) && claims['aud'].length > 1) return 'mixed_audience'
  const clients = clientsOf(claims)
  if (typeof clients === 'string') return clients
  if (claims['act'] !== undefined || isClientsOwn(claims, clients)) return 'agent'

  const { authorized_parties: parties, client_id: client, read_client_id: reader } = issuer.options
  const accepted = use === 'read' && reader !== undefined ? [...parties, reader] : parties
  if (clients.some((party) => !accepted.includes(party))) return 'wrong_party'
  if (clients.length > 0) return null
  // Without any of the claims that name the client only an ID token says whom it is for, by its audience.
  const isForClient = audienceOf(claims) === client && accepted.includes(client)
  return isForClient && isIdToken(claims, typ) ? null : 'wrong_party'
}

/** How issuers mark a token that a client got for itself: the client credentials grant (RFC 6749, section 4.4). */
function isClientsOwn(claims: JsonObject, clients: readonly string[]): boolean {
  const { sub, oid, preferred_username: username } = claims
  return (
    // The audience of an ID token is the client it was issued to.
    sub === audienceOf(claims) ||
    clients.some((client) => sub === client || sub === `${client}@clients`) ||
    claims['idtyp'] === 'app' ||
    // Entra ID: an application's oid and sub are the same, a user's never.
    (oid !== undefined && oid === sub) ||
    /^client[-_]credentials$/.test(String(claims['gty'] ?? '')) ||
    // Keycloak
    (typeof username === 'string' && username.startsWith('service-account-'))
  )
}

function audienceOf(claims: JsonObject): Json | undefined {
  const { aud } = claims
  const [only]: readonly (Json | undefined)[] = Array.isArray(aud) ? aud : [aud]
  return only
}

/** An access token carries a scope, and neither a nonce nor the time of a sign-in comes from client credentials. */
function isIdToken(claims: JsonObject, typ: string | null): boolean {
  const isAccessToken = claims['scope'] !== undefined || claims['scp'] !== undefined || typ?.endsWith('at+jwt')
  return !isAccessToken && (claims['nonce'] !== undefined || claims['auth_time'] !== undefined)
}

/** For reading only; never compared. */
function nameOf(claims: JsonObject): string | null {
  for (const claim of ['name', 'preferred_username']) {
    const name = claimAt(claims, claim)
    if (isCleanText(name, 200)) return name
  }
  return null
}

function readRoles({ roles }: PeopleIssuer): Roles {
  return (['admin', 'auditor', 'operator'] as const).map((role) => {
    return [role, roles[role].flatMap((text) => parseSelector(text) ?? [])] as const
  })
}

/** A role is given by the person's own issuer: a group of the same name elsewhere gives none. */
function rolesOf(
  who: Pick<Person, 'issuer' | 'subject' | 'groups'>,
  roles: ReadonlyMap<string, Roles>,
): readonly Role[] {
  const given = roles.get(who.issuer) ?? []
  const held = given.filter(([, selectors]) => selectors.some((selector) => matchesSelector(selector, who)))
  return ['reviewer', ...held.map(([role]) => role)]
}
