import { parseParty } from '../domain/principal.ts'
import { issuerName } from './issuer-name.ts'
import type { AgentIssuer, IssuerOptions, PeopleIssuer } from './options.ts'

/** Issuers whose `sub` differs per client, so that it never tells one person from another. */
const PAIRWISE_HOSTS = /^(login\.(microsoftonline\.(com|us)|partner\.microsoftonline\.cn)|sts\.windows\.net)$/

/** Issuers of whom anybody in the world can have a token, for any audience. */
const OPEN_ISSUERS = [
  'https://accounts.google.com',
  'https://token.actions.githubusercontent.com',
  'https://gitlab.com',
]

/**
 * What is wrong with the issuers as a whole, a sentence each; nothing if they can be started with. The schema has
 * already checked each by itself.
 */
export function checkIssuers(agents: readonly AgentIssuer[], people: readonly PeopleIssuer[]): string[] {
  return [
    ...findDuplicates('agent_issuers', agents),
    ...findDuplicates('people', people),
    ...findSharedNames([...agents, ...people]),
    ...findAliases([...agents, ...people]),
    ...people.flatMap((issuer) => findAudienceFaults(issuer, agents)),
    ...[...agents, ...people].flatMap((issuer) => findPairwiseFault(issuer, undefined) ?? []),
    ...[...agents, ...people].flatMap(findForeignGroups),
    ...agents.flatMap((issuer) => findStrangers(issuer, issuer.owner !== 'none' && 'map' in issuer.owner)),
    ...people.flatMap((issuer) => findStrangers(issuer, false)),
    ...people.flatMap((issuer) => findManagerFaults(issuer, people)),
    ...agents.flatMap((issuer) => findDelegationFaults(issuer, people)),
    ...agents.flatMap((issuer) => findOwnerFaults(issuer, [...agents, ...people])),
  ]
}

/** What is said where a stopped agent would stay stopped: no role lets anybody resume one. Null if one does. */
export function findNoResumer(people: readonly PeopleIssuer[]): string | null {
  const canResume = people.some(({ roles }) => roles.operator.length + roles.admin.length > 0)
  return canResume ? null : 'nobody may resume an agent that was stopped: give people[].roles an operator or an admin'
}

/**
 * Why an issuer's subjects cannot be compared, or null. `subjectTypes` is what its discovery document says of itself
 * (`subject_types_supported`), if that is known.
 */
export function findPairwiseFault(
  { issuer, subject }: Pick<IssuerOptions, 'issuer' | 'subject'>,
  subjectTypes: unknown,
): string | null {
  if (PAIRWISE_HOSTS.test(new URL(issuer).hostname)) {
    const isSuitable = subject.includes('tid') && subject.includes('oid') && !subject.includes('sub')
    return isSuitable ? null : `${issuer}: its sub differs per client; set subject: [tid, oid]`
  }
  const isPairwise = Array.isArray(subjectTypes) && subjectTypes.length > 0 && !subjectTypes.includes('public')
  if (!isPairwise || !subject.includes('sub')) return null
  return `${issuer}: it has pairwise subjects only; set subject to claims that are the same for every client`
}

/** Only a list of subjects, or a claim that names the organisation, keeps strangers out. */
function findStrangers({ issuer, require }: IssuerOptions, isListed: boolean): string[] {
  if (!OPEN_ISSUERS.includes(issuer) || isListed || Object.keys(require ?? {}).length > 0) return []
  return [`${issuer}: anybody can have a token of it; say which ones are yours with require`]
}

function findDuplicates(key: string, issuers: readonly { readonly issuer: string }[]): string[] {
  const names = issuers.map(({ issuer }) => issuer)
  const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index))
  return [...twice].map((name) => `${key}: ${name} is listed twice`)
}

function findSharedNames(issuers: readonly IssuerOptions[]): string[] {
  const owners = new Map<string, string>()
  const faults = new Set<string>()
  for (const options of issuers) {
    const name = issuerName(options)
    const owner = owners.get(name) ?? options.issuer
    owners.set(name, owner)
    if (owner !== options.issuer)
      faults.add(`${options.issuer}: its name ${name} is that of ${owner}; set another name`)
  }
  return [...faults]
}

/**
 * One directory under two names is one person as two parties: who could approve what their own agent asks for, or count
 * twice. Entra ID signs by two names, depending on the version of the token.
 */
function findAliases(issuers: readonly IssuerOptions[]): string[] {
  const names = new Map<string, string>()
  const faults = new Set<string>()
  for (const { issuer } of issuers) {
    const directory = directoryOf(issuer)
    const other = names.get(directory) ?? issuer
    names.set(directory, other)
    if (other !== issuer) faults.add(`${issuer}: it is ${other} by another name; all tokens of it must have one issuer`)
  }
  return [...faults]
}

/** What stays the same of an issuer, whichever of its names is used. */
function directoryOf(issuer: string): string {
  const { hostname, host, pathname } = new URL(issuer)
  const tenant = PAIRWISE_HOSTS.test(hostname) ? pathname.split('/')[1] : undefined
  return tenant ? `entra ${tenant.toLowerCase()}` : `${host}${pathname.replace(/\/+$/, '')}`
}

function findAudienceFaults(options: PeopleIssuer, agents: readonly AgentIssuer[]): string[] {
  const { issuer, audience, client_id: client, authorized_parties: parties, read_client_id: reader } = options
  const ofAgents = new Set(agents.flatMap(({ audiences }) => audiences))
  const faults: string[] = []
  if (ofAgents.has(audience))
    faults.push(
      `people: ${issuer}: the audience ${audience} is one of an agents’ issuer; give people an audience of their own, so that no token of an agent can vote`,
    )
  if (client !== audience && ofAgents.has(client)) {
    faults.push(
      `people: ${issuer}: the client_id ${client} is an audience of an agents’ issuer; give people a client of their own`,
    )
  }
  if (reader !== undefined && (parties.includes(reader) || reader === client)) {
    faults.push(`people: ${issuer}: read_client_id ${reader} must not be one that may vote`)
  }
  if (!parties.includes(client)) {
    faults.push(`people: ${issuer}: authorized_parties must hold the client_id ${client}, or nobody can sign in`)
  }
  return faults
}

/** A manager who cannot sign in would leave every call of the agents waiting for nobody. */
function findManagerFaults({ issuer, managers }: PeopleIssuer, people: readonly PeopleIssuer[]): string[] {
  return Object.entries(managers).flatMap(([subject, text]) => {
    const of = `people: ${issuer}: the manager of ${subject}, ${text},`
    const manager = parseParty(text)
    if (!people.some((other) => other.issuer === manager?.issuer)) return [`${of} is of no people issuer`]
    return manager?.issuer === issuer && manager.subject === subject ? [`${of} is the same person`] : []
  })
}

function findForeignGroups({ issuer, groups }: IssuerOptions): string[] {
  const foreign = Object.keys(groups?.map ?? {}).filter((key) => parseParty(key)?.issuer !== issuer)
  return foreign.map((key) => `${issuer}: groups.map names ${key}, who is of another issuer`)
}

/**
 * Those who are acted for must be known by the issuer and subject that they review under; else they could approve
 * their own agent's calls. An operator who names `acts_for.issuer` has thought of it.
 */
function findDelegationFaults(agent: AgentIssuer, people: readonly PeopleIssuer[]): string[] {
  if (!agent.acts_for || people.length === 0) return []
  const named = agent.acts_for.issuer
  if (named !== undefined) {
    const isKnown = named === agent.issuer || people.some(({ issuer }) => issuer === named)
    return isKnown ? [] : [`${agent.issuer}: acts_for.issuer ${named} is neither a people issuer nor this one`]
  }
  const same = people.find(({ issuer }) => issuer === agent.issuer)
  if (!same) {
    return [`${agent.issuer}: it is no people issuer; say in acts_for.issuer where those who are acted for review`]
  }
  const isSameSubject = same.subject.join(' ') === agent.subject.join(' ')
  return isSameSubject ? [] : [`${agent.issuer}: subject differs between agent_issuers and people; see acts_for.issuer`]
}

function findOwnerFaults({ issuer, owner }: AgentIssuer, known: readonly IssuerOptions[]): string[] {
  if (typeof owner === 'string' || !('map' in owner)) return []
  const strangers = Object.entries(owner.map).filter(([, text]) => {
    const ownersIssuer = parseParty(text)?.issuer
    return !known.some((options) => options.issuer === ownersIssuer)
  })
  return strangers.map(([agent, text]) => `${issuer}: the owner of ${agent}, ${text}, is of an issuer not configured`)
}
