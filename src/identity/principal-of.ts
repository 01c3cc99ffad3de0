import type { Json, JsonObject } from '../domain/json.ts'
import { formatParty, type Group, type Party, type Principal, parseParty } from '../domain/principal.ts'
import { claimAt, clientsOf, groupNamesOf, isJsonObject, subjectOf } from './claims.ts'
import { isCleanText } from './clean-text.ts'
import { issuerName } from './issuer-name.ts'
import type { AgentIssuer, IssuerOptions } from './options.ts'
import type { TokenFault } from './token-fault.ts'

const MAX_ACTORS = 5
const MAX_PARTY_LENGTH = 1024

/** The subject claims of every configured issuer, of agents and people, by `iss`: who may be named at all, and how. */
export type KnownIssuers = ReadonlyMap<string, readonly string[]>

/** The issuers that a token may name parties of. An issuer that has both agents and people names them as agents do. */
export function knownIssuers(issuers: readonly IssuerOptions[]): KnownIssuers {
  return new Map(issuers.map(({ issuer, subject }) => [issuer, subject] as const).reverse())
}

/**
 * Who calls, by the claims of a verified token. Whoever the token names and cannot be resolved to an issuer and a
 * subject makes it a fault: the closure would be short of someone, who could then approve.
 */
export function principalOf(
  token: { readonly claims: JsonObject; readonly expiresAt: number },
  options: AgentIssuer,
  known: KnownIssuers,
): Principal | TokenFault {
  const { claims, expiresAt } = token
  if (claims['sub'] !== undefined && !isCleanText(claims['sub'], 512)) return 'bad_subject'
  const subject = subjectOf(claims, options.subject)
  if (subject === null) return 'bad_subject'
  const clients = clientsOf(claims)
  if (typeof clients === 'string') return clients

  const chain = actorsOf(claims, options, known)
  if (typeof chain === 'string') return chain
  const [actor, ...actors] = chain
  const caller: Party = actor ?? { issuer: options.issuer, subject }
  const onBehalfOf = actor ? { issuer: options.acts_for?.issuer ?? options.issuer, subject } : null

  const owner = ownerOf(claims, { caller, options, known })
  if (typeof owner === 'string') return owner
  const groups = groupsOf(claims, options, caller)
  if (typeof groups === 'string') return groups
  return { ...caller, onBehalfOf, actors, owner, groups, client: clients[0] ?? null, expiresAt }
}

/** The groups a token asserts, and those that the configuration gives to `whose`. */
export function groupsOf(claims: JsonObject, options: IssuerOptions, whose: Party): readonly Group[] | TokenFault {
  const path = options.groups?.claim
  const asserted = path === undefined ? [] : groupNamesOf(claims, path)
  if (typeof asserted === 'string') return asserted
  return withIssuerName(new Set([...asserted, ...mappedGroups(options, whose)]), options)
}

/** The groups that the configuration gives to a party, whatever its token says. */
export function mappedGroupsOf(options: IssuerOptions, whose: Party): readonly Group[] {
  return withIssuerName(new Set(mappedGroups(options, whose)), options)
}

function mappedGroups(options: IssuerOptions, whose: Party): readonly string[] {
  const map = options.groups?.map ?? {}
  const key = formatParty(whose)
  return Object.hasOwn(map, key) ? (map[key] ?? []) : []
}

function withIssuerName(names: ReadonlySet<string>, options: IssuerOptions): readonly Group[] {
  return [...names].map((name) => ({ issuerName: issuerName(options), name }))
}

/** The current actor first, then the prior ones, newest first (RFC 8693, section 4.1); empty without delegation. */
function actorsOf(claims: JsonObject, options: AgentIssuer, known: KnownIssuers): readonly Party[] | TokenFault {
  const { acts_for: delegation } = options
  const name = delegation?.claim ?? 'act'
  if (claims['act'] !== undefined && name !== 'act') return 'unexpected_actor'
  let actor = claimAt(claims, name)
  if (actor !== undefined && !delegation) return 'unexpected_actor'

  const actors: Party[] = []
  while (actor !== undefined) {
    if (actors.length === MAX_ACTORS) return 'too_many_actors'
    if (!isJsonObject(actor)) return 'bad_actor'
    const party = actorOf(actor, options, known)
    if (!party) return 'bad_actor'
    actors.push(party)
    actor = claimAt(actor, name)
  }
  return actors
}

/** An actor without `iss` is of the token's own issuer; one with it must be of an issuer we know. */
function actorOf(actor: JsonObject, options: AgentIssuer, known: KnownIssuers): Party | null {
  const issuer = actor['iss'] === undefined ? options.issuer : actor['iss']
  const names = typeof issuer === 'string' ? known.get(issuer) : undefined
  if (typeof issuer !== 'string' || !names) return null
  const subject = subjectOf(actor, options.acts_for?.subject ?? names)
  return subject === null ? null : { issuer, subject }
}

function ownerOf(
  claims: JsonObject,
  how: { caller: Party; options: AgentIssuer; known: KnownIssuers },
): Party | null | TokenFault {
  const { caller, options, known } = how
  if (options.owner === 'none') return null
  const owner =
    'map' in options.owner
      ? mappedOwner(options.owner.map, { caller, issuer: options.issuer })
      : readParty(claimAt(claims, options.owner.claim))
  return owner && known.has(owner.issuer) ? owner : 'bad_owner'
}

/** The map names agents of its own issuer; an actor of another one may have the same subject, and another owner. */
function mappedOwner(
  map: Readonly<Record<string, string>>,
  { caller, issuer }: { caller: Party; issuer: string },
): Party | null {
  const name = caller.issuer === issuer ? caller.subject : formatParty(caller)
  return Object.hasOwn(map, name) ? parseParty(map[name] ?? '') : null
}

/** "issuer|subject", or `{iss, sub}`; never an e-mail address, which another person may have tomorrow. */
function readParty(value: Json | undefined): Party | null {
  if (isCleanText(value, MAX_PARTY_LENGTH)) return parseParty(value)
  if (!isJsonObject(value)) return null
  const { iss, sub } = value
  return isCleanText(iss, 512) && isCleanText(sub, 512) ? { issuer: iss, subject: sub } : null
}
