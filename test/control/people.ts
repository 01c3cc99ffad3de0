import { encodeCard } from '../../src/approvals/card.ts'
import { isFresh } from '../../src/approvals/override.ts'
import type { LinkDesk, Linking } from '../../src/control/console/desk.ts'
import type { AgentDesk, ApprovalDesk, PeopleDesk } from '../../src/control/desk.ts'
import type { SeenAgent, SwitchRequest, SwitchResult } from '../../src/domain/agent.ts'
import type { Approval, Ballot, BallotResult } from '../../src/domain/approval.ts'
import { TRANSITIONS } from '../../src/domain/approval.ts'
import type { Stored } from '../../src/domain/call.ts'
import type { Card } from '../../src/domain/card.ts'
import { CLAIM_MS, type ClaimRequest, type ClaimResult } from '../../src/domain/claim.ts'
import type { Delegation, DelegationDesk } from '../../src/domain/delegation.ts'
import { findAssuranceNeed, mayOverride } from '../../src/domain/entitlement.ts'
import type { OutcomeName } from '../../src/domain/entry.ts'
import type { Grant, RevokeResult } from '../../src/domain/grant.ts'
import { type GrantAsk, isWithinPermit } from '../../src/domain/permit.ts'
import type { Precedents } from '../../src/domain/precedent.ts'
import {
  closureOf,
  formatParty,
  isSameParty,
  type Person,
  type Principal,
  type Role,
} from '../../src/domain/principal.ts'
import { type AskRequest, type AskResult, countReplies, type Question } from '../../src/domain/question.ts'
import { type Refusal, refuse } from '../../src/domain/refusal.ts'
import { matchesSelector, parseSelector } from '../../src/domain/selector.ts'
import type { ChatLink } from '../../src/identity/chat-links.ts'

export const ISSUER = 'https://idp.example.com'

export function personOf(subject: string, more: { groups?: readonly string[]; roles?: readonly Role[] } = {}): Person {
  const { groups = [], roles = ['reviewer'] } = more
  return {
    issuer: ISSUER,
    subject,
    name: `${subject} the person`,
    groups: groups.map((name) => ({ issuerName: 'idp', name })),
    roles,
    assurance: 'oidc',
    authenticatedAt: 1_700_000_000,
  }
}

export const AGENT: Principal = {
  issuer: ISSUER,
  subject: 'support-agent',
  onBehalfOf: null,
  actors: [],
  owner: { issuer: ISSUER, subject: 'olivia' },
  groups: [{ issuerName: 'idp', name: 'support-agents' }],
  client: 'support-agent',
  expiresAt: 1_800_000_000,
}

export interface HeldCall {
  readonly approval: Approval
  readonly card: Card | null
  readonly outcome: OutcomeName | null
  readonly call: Stored
  readonly precedents?: Precedents | null
  readonly questions?: readonly Question[]
}

/** A held refund, as the queue would show it. */
export function refund(id: string, more: Partial<Approval> = {}): HeldCall {
  const body = Buffer.from('{"amount":120,"to":"mallory"}')
  const createdAt = 1_700_000_000_000
  const expiresAt = createdAt + 900_000
  const digest = 'ab'.repeat(32)
  const card: Card = {
    approval: id,
    verified: { agent: AGENT.subject, issuer: ISSUER, onBehalfOf: null, owner: `${ISSUER}|olivia`, groups: [] },
    derived: {
      upstream: 'billing',
      labels: { environment: 'production' },
      actions: [{ verb: 'POST', resource: '/refunds' }],
      payload: { mediaType: 'application/json', bytes: body.length, text: body.toString(), isCut: false, redacted: [] },
      digest,
      rules: [{ name: 'billing/refunds-need-finance', message: null }],
      notes: ['was done before at 09:00'],
    },
    claimed: { reason: 'the customer asked\u202e' },
    createdAt,
    expiresAt,
    needed: [{ reviewers: ['group:finance'], quorum: 1, isReasonRequired: false }],
  }
  const approval: Approval = {
    id,
    state: 'pending',
    callId: `call-of-${id}`,
    requester: AGENT,
    upstream: 'billing',
    verb: 'POST',
    resource: '/refunds',
    rules: [{ policy: 'billing', rule: 'refunds-need-finance' }],
    requirements: [
      {
        rule: { policy: 'billing', rule: 'refunds-need-finance' },
        reviewers: [parseSelector('group:finance') ?? { kind: 'any' }],
        quorum: 1,
        expiresMs: null,
        isReasonRequired: false,
      },
    ],
    digest,
    cardHash: encodeCard(card).hash.toString('hex'),
    isDetached: false,
    createdAt,
    expiresAt,
    useBy: null,
    decidedAt: null,
    reason: null,
    votes: [],
    ...more,
  }
  return { approval, card, outcome: null, call: { head: { method: 'POST', path: '/refunds' }, body } }
}

/** A queue in memory, as strict about who sees and who votes as the real one. */
export function fakeQueue(
  shown: readonly HeldCall[],
  given: readonly Grant[] = [],
  delegations: Delegation[] = [],
): ApprovalDesk & { readonly ballots: Ballot[]; reply(id: string, text: string): void } {
  const held = new Map(shown.map((one) => [one.approval.id, one]))
  const ballots: Ballot[] = []
  const grants = new Map(given.map((grant) => [grant.id, grant]))

  function isEntitled({ approval }: HeldCall, person: Person): boolean {
    return approval.requirements.some(({ reviewers }) => reviewers.some((one) => matchesSelector(one, person)))
  }

  function isVisible(one: HeldCall, person: Person): boolean {
    const { owner } = one.approval.requester
    return (
      isEntitled(one, person) ||
      mayOverride(one.approval.requirements, person) ||
      person.roles.includes('auditor') ||
      (owner !== null && isSameParty(owner, person))
    )
  }

  function turn(way: 'claim' | 'release', { approval: id, by, via }: ClaimRequest): ClaimResult {
    const one = held.get(id)
    if (!one || !isVisible(one, by)) return { done: false, fault: 'not_found' }
    const { claim, ...plain } = one.approval
    if (plain.requester.owner && isSameParty(plain.requester.owner, by)) return { done: false, fault: 'self_approval' }
    if (!isEntitled(one, by)) return { done: false, fault: 'not_entitled' }
    if (plain.state !== 'pending') return { done: false, fault: 'already_decided' }
    if (way === 'release' && claim && !isSameParty(claim.reviewer, by)) return { done: false, fault: 'not_claimant' }
    const { issuer, subject, name } = by
    const given = { reviewer: { issuer, subject, name }, via, at: plain.createdAt, until: plain.createdAt + CLAIM_MS }
    const approval = way === 'claim' ? { ...plain, claim: given } : plain
    held.set(id, { ...one, approval })
    return { done: true, isChanged: way === 'claim' || claim !== undefined, approval }
  }

  function vote(ballot: Ballot): BallotResult {
    ballots.push(ballot)
    const one = held.get(ballot.approval)
    if (!one) return { counted: false, fault: 'not_found', approval: null }
    const { approval } = one
    const { owner } = approval.requester
    if (ballot.decision === 'approve' && owner && isSameParty(owner, ballot.reviewer)) {
      return { counted: false, fault: 'self_approval', approval }
    }
    const isNamed = isEntitled(one, ballot.reviewer) || mayOverride(approval.requirements, ballot.reviewer)
    if (!isNamed) return { counted: false, fault: 'not_entitled', approval }
    const moment = { openedAt: approval.createdAt, at: Date.now() }
    const isYes = ballot.decision === 'approve' && !ballot.isOverride
    if (isYes && findAssuranceNeed(approval.requirements, ballot.reviewer, moment)) {
      return { counted: false, fault: 'assurance_required', approval }
    }
    if (ballot.isOverride && !mayOverride(approval.requirements, ballot.reviewer)) {
      return { counted: false, fault: 'override_not_permitted', approval }
    }
    if (ballot.isOverride && !isFresh(ballot.reviewer, new Date())) {
      return { counted: false, fault: 'sign_in_too_old', approval }
    }
    const isHeard = ballot.decision === 'deny' || (ballot.replies ?? 0) === countReplies(one.questions ?? [])
    if (ballot.cardHash !== approval.cardHash || !isHeard) return { counted: false, fault: 'superseded', approval }
    const to = (TRANSITIONS[approval.state] as Record<string, Approval['state']>)[ballot.decision]
    if (!to) return { counted: false, fault: 'already_decided', approval }
    if (ballot.decision === 'deny' && ballot.reason === null)
      return { counted: false, fault: 'reason_required', approval }
    const { reviewer, decision, reason, grant: ask } = ballot
    const via = ballot.isOverride ? `override:${ballot.via}` : ballot.via
    const at = approval.createdAt + 1000
    const decided = {
      ...approval,
      state: to,
      reason,
      decidedAt: at,
      useBy: to === 'approved' ? at + 900_000 : null,
      votes: [...approval.votes, { reviewer, decision, reason, via, at }],
    }
    const permits = approval.requirements.flatMap(({ grant }) => grant ?? [])
    if (ask && !permits.some((permit) => isWithinPermit(ask, permit))) {
      return { counted: false, fault: 'grant_not_permitted', approval }
    }
    held.set(approval.id, { ...one, approval: decided })
    if (!ask) return { counted: true, approval: decided }
    const grant = grantOn(decided, { ask, by: reviewer, reason })
    grants.set(grant.id, grant)
    return { counted: true, approval: decided, grant }
  }

  function ask({ approval: id, by, text }: AskRequest): AskResult {
    const one = held.get(id)
    if (!one || !isVisible(one, by)) return { asked: false, fault: 'not_found' }
    const { approval, questions = [] } = one
    if (closureOf(approval.requester).some((party) => isSameParty(party, by)))
      return { asked: false, fault: 'self_approval' }
    if (!isEntitled(one, by) && !mayOverride(approval.requirements, by)) return { asked: false, fault: 'not_entitled' }
    if (approval.state !== 'pending') return { asked: false, fault: 'already_decided' }
    if (questions.some(({ reply }) => reply === null)) return { asked: false, fault: 'question_open' }
    const question = { id: `Q${questions.length}${id.slice(2)}`, text, by, askedAt: approval.createdAt, reply: null }
    held.set(id, { ...one, questions: [...questions, question] })
    return { asked: true, approval, question }
  }

  /** As an attempt of the agent would. */
  function reply(id: string, text: string): void {
    const one = held.get(id)
    const { questions = [] } = one ?? {}
    if (one)
      held.set(id, { ...one, questions: questions.map((each) => ({ ...each, reply: each.reply ?? { text, at: 0 } })) })
  }

  return {
    ballots,
    reply,
    ask: async (request) => ask(request),
    async list(person, { states = ['pending', 'approved'], upstream, agent, voter, ballot, before, limit = 50 }) {
      const seen = [...held.values()]
        .filter((one) => isVisible(one, person))
        .filter((one) => {
          const isOpen = one.approval.state === 'pending' && isEntitled(one, person)
          const hasVoted = one.approval.votes.some(({ reviewer }) => isSameParty(reviewer, person))
          return ballot === undefined || (ballot === 'open') === (isOpen && !hasVoted)
        })
        .map((one) => one.approval)
        .filter(({ requester }) => agent === undefined || requester.subject === agent)
        .filter(({ votes }) => voter === undefined || votes.some(({ reviewer }) => reviewer.subject === voter))
      return seen
        .filter((one) => states.includes(one.state) && (upstream === undefined || one.upstream === upstream))
        .sort((a, b) => (isBefore(a, b) ? 1 : -1))
        .filter((one) => !before || isBefore(one, before))
        .slice(0, limit)
    },
    async findFor(person, id) {
      const one = held.get(id)
      return one && isVisible(one, person) ? { questions: [], ...one } : null
    },
    async recall(approval) {
      const one = held.get(approval.id)
      const isOpen = one?.approval.state === 'pending' || one?.approval.state === 'approved'
      return one && isOpen ? one.call : refuse('withdrawn', 'Not kept.')
    },
    vote: async (ballot) => vote(ballot),
    async precedents(id, { person }) {
      const one = held.get(id)
      return one && isVisible(one, person) ? (one.precedents ?? null) : null
    },
    claim: async (request) => turn('claim', request),
    release: async (request) => turn('release', request),
    delegations: fakeDelegations(delegations),
    grants: {
      list: async (person) =>
        [...grants.values()].filter(({ by, revokedAt }) => revokedAt === null && isSameParty(by, person)),
      async revoke({ grant: id, by }): Promise<RevokeResult> {
        const grant = grants.get(id)
        if (!grant) return { done: false, fault: 'not_found' }
        if (!isSameParty(grant.by, by) && !by.roles.includes('admin')) return { done: false, fault: 'not_allowed' }
        const revoked = { ...grant, revokedAt: grant.givenAt + 1000 }
        grants.set(id, revoked)
        return { done: true, isChanged: grant.revokedAt === null, grant: revoked }
      },
    },
  }
}

/** Delegations in memory, whose times nobody looks at; everybody knows Fay. */
export function fakeDelegations(made: Delegation[] = []): DelegationDesk {
  const fay = { issuer: ISSUER, subject: 'fay', name: 'Fay' }
  return {
    list: async (person) =>
      made.filter((one) => person === null || isSameParty(one.person, person) || isSameParty(one.delegate, person)),
    known: async () => [fay],
    async make({ by, delegate, from, until }) {
      if (isSameParty(by, delegate)) return { fault: 'oneself' }
      if (!isSameParty(delegate, fay)) return { fault: 'not_known' }
      if (until <= from) return { fault: 'bad_period' }
      if (made.some(({ person }) => isSameParty(person, by))) return { fault: 'already_delegated' }
      const person = { issuer: by.issuer, subject: by.subject, name: by.name }
      const delegation = { id: `D${made.length}00000000`, person, delegate: fay, from, until, madeAt: 0 }
      made.push(delegation)
      return { delegation }
    },
    async end({ id, by }) {
      const at = made.findIndex((one) => one.id === id)
      const found = made[at]
      if (!found || !(isSameParty(found.person, by) || by.roles.includes('admin'))) return false
      made.splice(at, 1)
      return true
    },
    absentees: async (person) =>
      made.filter(({ delegate }) => isSameParty(delegate, person)).map((one) => ({ ...one.person, groups: [] })),
  }
}

/** What a vote on this approval would grant. */
export function grantOn(
  approval: Approval,
  { ask, by, reason }: { ask: GrantAsk; by: Person; reason: string | null },
): Grant {
  const { verb, resource, upstream, rules, requester: agent } = approval
  const givenAt = approval.decidedAt ?? approval.createdAt
  return {
    id: `G${approval.id.slice(1)}`,
    approval: approval.id,
    by,
    reason,
    agent,
    upstream,
    verb,
    resource,
    covers: ask.covers,
    rules,
    uses: 0,
    mostUses: ask.uses,
    givenAt,
    until: givenAt + ask.minutes * 60_000,
    revokedAt: null,
  }
}

type Opened = Pick<Approval, 'createdAt' | 'id'>

function isBefore(a: Opened, b: Opened): boolean {
  return a.createdAt < b.createdAt || (a.createdAt === b.createdAt && a.id < b.id)
}

/** People by token: `finn` votes as finn, `finn.read` is his token for reading; any other token is refused. */
export function fakePeople(people: readonly Person[]): PeopleDesk {
  return {
    async identify(token, use): Promise<Person | Refusal> {
      if (token === 'issuer-down') return refuse('unavailable', 'The issuer cannot be reached.', { retryAfterS: 3 })
      const person = people.find(({ subject }) => token === subject || (use === 'read' && token === `${subject}.read`))
      if (person) return person
      const challenge = { error: 'invalid_token', description: 'the token is not of a person' }
      return refuse('unauthenticated', 'The token is not of a person.', { challenge })
    },
  }
}

const AT = 1_700_000_000_000
const OTHERS = { issuer: ISSUER, seenAt: AT, calls: 4, holds: 0, denials: 0 }

/** One that a circuit breaker stopped, and one whose every call two of them hold. */
export const TRIPPED: readonly SeenAgent[] = [
  {
    ...OTHERS,
    subject: 'wild-agent',
    suspension: {
      since: AT,
      by: { issuer: 'countersign', subject: 'breaker guard/deletions', name: null },
      reason: 'more than 20 calls within 10m',
      breaker: 'guard/deletions',
    },
    heldBy: [],
  },
  {
    ...OTHERS,
    subject: 'nosy-agent',
    suspension: null,
    heldBy: [
      { breaker: 'guard/probing', since: AT, reason: 'more than 10 denials within 5m' },
      { breaker: 'guard/slow', since: AT, reason: 'more than 1 hold within 1h' },
    ],
  },
]

/** A kill switch in memory: as the real one, it lets nobody resume what is on their own side. */
export function fakeAgents(
  more: readonly SeenAgent[] = [],
): AgentDesk & { readonly requests: (SwitchRequest & { readonly way: string })[]; hide(subject: string): void } {
  const seen = {
    issuer: ISSUER,
    subject: AGENT.subject,
    seenAt: 1_700_000_000_000,
    calls: 12,
    holds: 3,
    denials: 1,
    heldBy: [],
  }
  const known = new Map<string, SeenAgent>([
    [formatParty(AGENT), { ...seen, suspension: null }],
    ...more.map((agent): [string, SeenAgent] => [formatParty(agent), agent]),
  ])
  const requests: (SwitchRequest & { way: string })[] = []
  const hidden = new Set<string>()

  function turn(way: 'suspend' | 'resume', request: SwitchRequest): SwitchResult {
    requests.push({ ...request, way })
    const { agent, by, reason } = request
    if (way === 'suspend' && agent.issuer !== ISSUER) return { done: false, fault: 'unknown_issuer', known: [ISSUER] }
    const before = known.get(formatParty(agent)) ?? { ...seen, ...agent, seenAt: null, suspension: null }
    if (way === 'resume' && (isSameParty(agent, by) || (AGENT.owner && AGENT.owner.subject === by.subject))) {
      return { done: false, fault: 'own_side' }
    }
    const isChanged = (before.suspension === null) === (way === 'suspend')
    const { issuer, subject, name } = by
    const suspension =
      way === 'suspend' ? { since: 1_700_000_000_000, by: { issuer, subject, name }, reason, breaker: null } : null
    const after = isChanged ? { ...before, suspension } : before
    known.set(formatParty(agent), after)
    return { done: true, isChanged, agent: after }
  }

  return {
    requests,
    hide: (subject) => hidden.add(subject),
    list: async () => [...known.values()].filter(({ subject }) => !hidden.has(subject)),
    suspend: async (request) => turn('suspend', request),
    resume: async (request) => turn('resume', request),
  }
}

/** Links in memory, and tickets that nobody has to sign in for. */
export function fakeLinks(links: ChatLink[] = []): { links: LinkDesk; linking: Linking; passkeys: null } {
  const account = { service: 'slack', team: 'T024FAKE', user: 'U0FINN' }
  const expired = { fault: 'expired' } as const
  return {
    passkeys: null,
    links: {
      list: async (person) => links.filter((link) => person === null || isSameParty(link.person, person)),
      async unlink({ id, by }) {
        const at = links.findIndex((link) => link.id === id)
        const link = links[at]
        if (!link || !(isSameParty(link.person, by) || by.roles.includes('admin'))) return false
        links.splice(at, 1)
        return true
      },
    },
    linking: {
      look: (ticket) => (ticket === 'good' ? { account } : expired),
      begin: async () => expired,
      complete: async () => expired,
      confirm: async () => expired,
    },
  }
}
