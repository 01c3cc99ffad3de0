import type { SwitchRequest, SwitchResult } from '../../../src/domain/agent.ts'
import type { Approval, Ballot, BallotResult, Vote } from '../../../src/domain/approval.ts'
import type { Card } from '../../../src/domain/card.ts'
import type { Delivery, Desk, Look, StopDesk } from '../../../src/domain/channel.ts'
import { CLAIM_MS, type ClaimRequest, type ClaimResult } from '../../../src/domain/claim.ts'
import type { Precedents } from '../../../src/domain/precedent.ts'
import { formatParty, type Party, type Person } from '../../../src/domain/principal.ts'
import type { AskRequest, AskResult, Question } from '../../../src/domain/question.ts'

const ISSUER = 'https://idp.example.com'

export function makeApproval(more: Partial<Approval> = {}): Approval {
  const now = Date.now()
  return {
    id: '7Q3FX2K9AB',
    state: 'pending',
    callId: '0198c0de-0000-7000-8000-000000000001',
    requester: {
      issuer: ISSUER,
      subject: 'agent-7',
      onBehalfOf: null,
      actors: [],
      owner: { issuer: ISSUER, subject: 'carol' },
      groups: [],
      client: 'agent-7',
      expiresAt: Math.floor(now / 1000) + 600,
    },
    upstream: 'billing',
    verb: 'POST',
    resource: '/refunds',
    rules: [{ policy: 'billing', rule: 'refunds-need-finance' }],
    requirements: [],
    digest: 'd1'.repeat(32),
    cardHash: 'ca'.repeat(32),
    isDetached: false,
    createdAt: now,
    expiresAt: now + 15 * 60_000,
    useBy: null,
    decidedAt: null,
    reason: null,
    votes: [],
    ...more,
  }
}

export function makeCard(more: { derived?: Partial<Card['derived']> } & Partial<Omit<Card, 'derived'>> = {}): Card {
  const { derived, ...rest } = more
  return {
    approval: '7Q3FX2K9AB',
    verified: {
      agent: 'agent-7',
      issuer: ISSUER,
      onBehalfOf: null,
      owner: `${ISSUER}|carol`,
      groups: ['support-agents'],
    },
    derived: {
      upstream: 'billing',
      labels: { environment: 'production' },
      actions: [{ verb: 'POST', resource: '/refunds' }],
      payload: {
        mediaType: 'application/json',
        bytes: 32,
        text: '{\n  "amount": 900,\n  "to": "acme"\n}',
        isCut: false,
        redacted: [],
      },
      digest: 'd1'.repeat(32),
      rules: [{ name: 'billing/refunds-need-finance', message: 'Refunds above 100 are looked at.' }],
      notes: [],
      ...derived,
    },
    claimed: { reason: 'The customer paid twice.', model: 'some-model' },
    createdAt: Date.now(),
    expiresAt: Date.now() + 15 * 60_000,
    needed: [{ reviewers: ['group:finance'], quorum: 1, isReasonRequired: false }],
    ...rest,
  }
}

export function makeQuestion(more: Partial<Question> = {}): Question {
  const by = { issuer: ISSUER, subject: 'alice', name: 'Alice' }
  return { id: '4TQ8W2ZK7N', text: 'Which order was it?', by, askedAt: Date.now(), reply: null, ...more }
}

export function makePerson(subject: string): Person {
  return {
    issuer: ISSUER,
    subject,
    name: subject[0] === undefined ? null : subject[0].toUpperCase() + subject.slice(1),
    groups: [{ issuerName: 'idp', name: 'finance' }],
    roles: ['reviewer'],
    assurance: 'oidc',
    authenticatedAt: 1_700_000_000,
  }
}

export function makeDelivery(more: Partial<Delivery> = {}): Delivery {
  return {
    kind: 'card',
    approval: makeApproval(),
    card: makeCard(),
    posted: null,
    conversation: { key: 'conversation-1', opened: null },
    ...more,
  }
}

export interface FakeDesk extends Desk {
  readonly ballots: Ballot[]
  readonly claims: (ClaimRequest & { readonly way: string })[]
  /** What was decided before. */
  before: Precedents | null
  readonly asked: AskRequest[]
  current: Look
  /** Takes the place of asking, for one question. */
  answerNextAsk(answer: AskResult): void
  /** Takes the place of counting, for one ballot. */
  answerNext(answer: (ballot: Ballot) => BallotResult | Promise<BallotResult>): void
}

/** A desk that counts one approval's ballots as the real one would: enough approvals decide, one denial decides. */
export function createFakeDesk(approval = makeApproval(), card = makeCard()): FakeDesk {
  const planned: ((ballot: Ballot) => BallotResult | Promise<BallotResult>)[] = []

  const faults: AskResult[] = []

  const desk: FakeDesk = {
    ballots: [],
    claims: [],
    asked: [],
    answerNextAsk: (answer) => faults.push(answer),

    async ask(request) {
      desk.asked.push(request)
      const answer = faults.shift()
      if (answer) return answer
      const { approval, questions = [] } = desk.current
      const question = makeQuestion({ text: request.text, by: request.by })
      desk.current = { ...desk.current, questions: [...questions, question] }
      return { asked: true, approval, question }
    },

    current: { approval, card },
    before: null,
    answerNext: (answer) => planned.push(answer),

    async vote(ballot) {
      desk.ballots.push(ballot)
      const answer = planned.shift()
      if (answer) return answer(ballot)
      const { approval: now } = desk.current
      if (ballot.approval !== now.id) return { counted: false, fault: 'not_found', approval: null }
      if (ballot.cardHash !== now.cardHash) return { counted: false, fault: 'superseded', approval: now }
      if (now.state !== 'pending') return { counted: false, fault: 'already_decided', approval: now }
      const counted = count(now, ballot)
      desk.current = { ...desk.current, approval: counted }
      return { counted: true, approval: counted }
    },

    async find(id) {
      return id === desk.current.approval.id ? desk.current : null
    },

    claim: async (request) => turn('claim', request),
    release: async (request) => turn('release', request),
    precedents: async () => desk.before,
  }

  function turn(way: 'claim' | 'release', request: ClaimRequest): ClaimResult {
    desk.claims.push({ ...request, way })
    const { claim, ...now } = desk.current.approval
    const { by, via } = request
    if (now.requester.owner?.subject === by.subject) return { done: false, fault: 'self_approval' }
    if (now.state !== 'pending') return { done: false, fault: 'already_decided' }
    if (way === 'release' && claim && claim.reviewer.subject !== by.subject)
      return { done: false, fault: 'not_claimant' }
    const at = Date.now()
    const { issuer, subject, name } = by
    const given = { reviewer: { issuer, subject, name }, via, at, until: at + CLAIM_MS }
    const approval = way === 'claim' ? { ...now, claim: given } : now
    desk.current = { ...desk.current, approval }
    return { done: true, isChanged: true, approval }
  }

  function count(now: Approval, ballot: Ballot): Approval {
    const { reviewer, decision, reason, via } = ballot
    const others = now.votes.filter((vote) => vote.reviewer.subject !== reviewer.subject)
    const votes: Vote[] = [...others, { reviewer, decision, reason, via, at: Date.now() }]
    const quorum = Math.max(...desk.current.card.needed.map((need) => need.quorum))
    const approvals = votes.filter((vote) => vote.decision === 'approve').length
    if (decision === 'deny') return { ...now, votes, state: 'denied', decidedAt: Date.now(), reason }
    if (approvals < quorum) return { ...now, votes }
    return { ...now, votes, state: 'approved', decidedAt: Date.now(), useBy: Date.now() + 900_000 }
  }

  return desk
}

/** Every string in blocks, with the kind of element it stands in. */
export function textsOf(value: unknown, kind = ''): { kind: string; key: string; text: string }[] {
  if (Array.isArray(value)) return value.flatMap((item) => textsOf(item, kind))
  if (typeof value !== 'object' || value === null) return []
  const own = 'type' in value && typeof value.type === 'string' ? value.type : kind
  return Object.entries(value).flatMap(([key, inner]) =>
    typeof inner === 'string' ? [{ kind: own, key, text: inner }] : textsOf(inner, own),
  )
}

/** What a person reads, in order. */
export function readable(value: unknown): string {
  return textsOf(value)
    .filter(({ key }) => key === 'text' || key === 'fallback')
    .map(({ text }) => text)
    .join('')
}

const BESIDE = ['countersign.claim', 'countersign.release', 'countersign.ask']

/** Buttons by which one decides; the others are on every card that waits. */
export function buttonsOf(blocks: unknown): string[] {
  return allButtonsOf(blocks).filter((name) => !BESIDE.includes(name))
}

export function allButtonsOf(blocks: unknown): string[] {
  return textsOf(blocks)
    .filter(({ kind, key }) => kind === 'button' && key === 'action_id')
    .map(({ text }) => text)
}

export interface FakeAgents extends StopDesk {
  readonly requests: SwitchRequest[]
  /** Takes the place of stopping, for one request. */
  answerNext(answer: () => SwitchResult | Promise<SwitchResult>): void
}

/** A kill switch that knows these agents, of one issuer unless they say another. */
export function createFakeAgents(known: readonly Party[] = [{ issuer: ISSUER, subject: 'agent-7' }]): FakeAgents {
  const planned: (() => SwitchResult | Promise<SwitchResult>)[] = []
  const requests: SwitchRequest[] = []
  return {
    requests,
    answerNext: (answer) => planned.push(answer),
    async find(name) {
      return known.filter((agent) => formatParty(agent) === name || agent.subject.toLowerCase() === name.toLowerCase())
    },
    async suspend(request) {
      requests.push(request)
      const answer = planned.shift()
      if (answer) return answer()
      const { agent, by, reason } = request
      const isSeen = known.some((one) => formatParty(one) === formatParty(agent))
      const numbers = { calls: 1, holds: 0, denials: 0, heldBy: [] }
      const suspension = { since: 0, by, reason, breaker: null }
      return { done: true, isChanged: true, agent: { ...agent, seenAt: isSeen ? 1 : null, ...numbers, suspension } }
    },
  }
}
