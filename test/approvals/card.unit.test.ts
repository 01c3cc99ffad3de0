import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildCard, type CardParts, encodeCard } from '../../src/approvals/card.ts'
import { ACTIONS, agent, party, requirement, selector, verdict } from './parts.ts'

const PARTS: CardParts = {
  approval: '7Q3F000000',
  requester: agent('agent-7', { groups: [{ issuerName: 'corp', name: 'support' }] }),
  upstream: { name: 'billing', labels: { environment: 'production' } },
  actions: ACTIONS,
  verdict: verdict([requirement({ isReasonRequired: true, message: 'Refunds need finance.' })]),
  digest: 'ab'.repeat(32),
  payload: { mediaType: 'application/json', bytes: 17, text: '{ "amount": 120 }', isCut: false, redacted: [] },
  notes: [],
  claimed: { reason: 'a customer asked' },
  createdAt: 1_700_000_000_000,
  expiresAt: 1_700_000_900_000,
}

describe('a card', () => {
  it('keeps what is verified, derived and claimed apart', () => {
    expect(buildCard(PARTS)).toEqual({
      approval: '7Q3F000000',
      verified: {
        agent: 'agent-7',
        issuer: 'https://idp.example.com',
        onBehalfOf: null,
        owner: 'https://idp.example.com|olga',
        groups: ['corp/support'],
      },
      derived: {
        upstream: 'billing',
        labels: { environment: 'production' },
        actions: [{ verb: 'POST', resource: '/refunds' }],
        payload: PARTS.payload,
        digest: PARTS.digest,
        rules: [{ name: 'billing/refunds', message: 'Refunds need finance.' }],
        notes: [],
      },
      claimed: { reason: 'a customer asked' },
      createdAt: 1_700_000_000_000,
      expiresAt: 1_700_000_900_000,
      needed: [{ reviewers: ['group:finance'], quorum: 1, isReasonRequired: true }],
    })
  })

  it('gives each rule its own message, or none', () => {
    const rules = ['first', 'second', 'silent'].map((rule) => ({ policy: 'billing', rule }))
    const messages = ['First message here.', 'Second message here.', null]
    const requirements = rules.map((rule, at) => requirement({ rule, message: messages[at] ?? null }))
    const of = verdict(requirements, { rules, message: 'First message here.' })
    expect(buildCard({ ...PARTS, verdict: of }).derived.rules).toEqual([
      { name: 'billing/first', message: 'First message here.' },
      { name: 'billing/second', message: 'Second message here.' },
      { name: 'billing/silent', message: null },
    ])
  })

  it('says all that a rule asks for', () => {
    const asked = {
      ...requirement({
        exclude: [selector('group:contractors')],
        denyQuorum: 2,
        hours: { days: [1, 2, 3, 4, 5], from: 480, to: 1080, zone: 'Europe/Berlin' },
        remindMs: [1000],
        escalate: { afterMs: 600_000, to: [selector('group:managers')] },
      }),
      reviewers: [{ kind: 'manager' as const, party: party('mona') }],
    }
    expect(buildCard({ ...PARTS, verdict: verdict([asked]) }).needed).toEqual([
      {
        reviewers: ['manager (https://idp.example.com|mona)'],
        quorum: 1,
        isReasonRequired: false,
        exclude: ['group:contractors'],
        denyQuorum: 2,
        hours: 'mon-fri 08:00-18:00 Europe/Berlin',
        escalate: { at: PARTS.createdAt + 600_000, to: ['group:managers'] },
      },
    ])
  })

  it('has the hash of its bytes, which any change of it changes', () => {
    const hash = (more: Partial<CardParts>) => encodeCard(buildCard({ ...PARTS, ...more })).hash.toString('hex')
    const changes: Partial<CardParts>[] = [
      {},
      { digest: 'cd'.repeat(32) },
      { claimed: {} },
      { claimed: { model: 'a customer asked' } },
      { expiresAt: 1_700_000_900_001 },
      { payload: null },
      { notes: ['done before'] },
      { upstream: { name: 'billing', labels: {} } },
      { verdict: verdict([requirement({ quorum: 2 })]) },
      { verdict: verdict([requirement({ message: 'Refunds need Olga.' })]) },
    ]
    expect(new Set(changes.map(hash)).size).toBe(changes.length)
    expect(hash({})).toBe(hash({}))
  })

  it('can be made of whatever an agent claims', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (reason) => {
        const { bytes } = encodeCard(buildCard({ ...PARTS, claimed: { reason: `${reason}\ud800\0` } }))
        expect(JSON.parse(bytes.toString('utf8')).claimed.reason).toBe(`${reason}\ud800\0`.toWellFormed())
      }),
    )
  })
})
