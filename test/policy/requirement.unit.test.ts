import { describe, expect, it } from 'vitest'
import type { Party, Principal } from '../../src/domain/principal.ts'
import type { Requirement, Verdict } from '../../src/domain/verdict.ts'
import { decide } from '../../src/policy/decide.ts'
import { createJudge } from '../../src/policy/judge.ts'
import { nameManager } from '../../src/policy/manager.ts'
import { makeCall } from '../approvals/parts.ts'
import { AGENT, describeCall, problemsOf, setOf } from './world.ts'

const rule = (approval: string) =>
  `name: p\nrules:\n  - { name: r, upstreams: [billing], effect: hold, approval: { ${approval} } }\n`

function requirementOf(approval: string): Requirement | undefined {
  return judge(approval).requirements[0]
}

function judge(approval: string): Verdict {
  const verdict = decide(setOf(rule(approval)), describeCall({}))
  if (verdict.effect === 'unsure') throw new Error('nothing is missing')
  return verdict
}

describe('what a hold asks for', () => {
  it('has nothing that its rule does not name', () => {
    expect(requirementOf('reviewers: ["group:finance"], deny_quorum: 1')).toEqual({
      rule: { policy: 'p', rule: 'r' },
      reviewers: [{ kind: 'group', issuerName: null, name: 'finance' }],
      quorum: 1,
      expiresMs: null,
      isReasonRequired: false,
    })
  })

  it('has all that its rule names', () => {
    const all = `reviewers: [manager], exclude: ["group:contractors"], deny_quorum: 2, expires: 30m,
      hours: { days: [fri, mon-wed, mon], from: "08:00", to: "18:00", zone: Europe/Berlin }, remind: [10m, 5m, 5m],
      escalate: { after: 10m, to: ["group:managers", manager] }`
    expect(requirementOf(all)).toMatchObject({
      reviewers: [{ kind: 'manager', party: null }],
      exclude: [{ kind: 'group', name: 'contractors' }],
      denyQuorum: 2,
      hours: { days: [1, 2, 3, 5], from: 480, to: 1080, zone: 'Europe/Berlin' },
      remindMs: [300_000, 600_000],
      escalate: {
        afterMs: 600_000,
        to: [
          { kind: 'group', name: 'managers' },
          { kind: 'manager', party: null },
        ],
      },
    })
  })

  it.each([
    ['assurance: passkey', { kind: 'passkey' }],
    ['assurance: fresh', { kind: 'fresh', maxAgeMs: 300_000 }],
    ['assurance: fresh, max_age: 2m', { kind: 'fresh', maxAgeMs: 120_000 }],
  ])('is sure of people as it says: %s', (terms, assurance) => {
    expect(requirementOf(`reviewers: ["*"], ${terms}`)).toMatchObject({ assurance })
  })

  it.each([
    ['reviewers: ["*"], assurance: strong', 'assurance'],
    ['reviewers: ["*"], assurance: passkey, max_age: 5m', 'belongs to "assurance: fresh"'],
    ['reviewers: ["*"], max_age: 5m', 'belongs to "assurance: fresh"'],
    ['reviewers: ["*"], assurance: fresh, max_age: 59s', 'must be 1m to 24h'],
    ['reviewers: ["*"], assurance: fresh, max_age: 25h', 'must be 1m to 24h'],
    ['reviewers: ["*"], assurance: fresh, grant: { for: 30m, uses: 10 }', 'would let calls go'],
    ['reviewers: [boss]', 'must be "*", "manager", "group:<name>"'],
    ['reviewers: ["*"], exclude: [manager]', 'must be "*", "group:<name>"'],
    ['reviewers: ["*"], exclude: []', 'must not be empty'],
    ['reviewers: ["*"], deny_quorum: 0', 'deny_quorum'],
    ['reviewers: ["*"], hours: { days: [monday], from: "08:00", to: "18:00", zone: UTC }', 'a day like mon'],
    ['reviewers: ["*"], hours: { days: [mon], from: "8", to: "18:00", zone: UTC }', 'a time like "08:00"'],
    ['reviewers: ["*"], hours: { days: [mon], from: "24:00", to: "18:00", zone: UTC }', 'must be before "24:00"'],
    ['reviewers: ["*"], hours: { days: [mon], from: "08:00", to: "08:00", zone: UTC }', 'must differ from "from"'],
    ['reviewers: ["*"], hours: { days: [mon], from: "08:00", to: "18:00", zone: Berlin }', 'a time zone like'],
    ['reviewers: ["*"], remind: []', 'must not be empty'],
    ['reviewers: ["*"], expires: 10m, remind: [5m, 10m]', 'must be less than "expires", 10m'],
    ['reviewers: ["*"], expires: 10m, escalate: { after: 10m, to: ["*"] }', 'must be less than "expires", 10m'],
    ['reviewers: ["*"], escalate: { after: 10m }', 'to'],
  ])('is refused as %s', (approval, message) => {
    expect(problemsOf(rule(approval))).toEqual([expect.stringContaining(message)])
  })
})

describe("the owner's manager", () => {
  const mona: Party = { issuer: 'https://idp.example.com', subject: 'mona' }
  const managerOf = ({ subject }: Party) => (subject === 'carol' ? mona : null)
  const asked = judge('reviewers: [manager, "group:finance"], escalate: { after: 1m, to: [manager] }')

  it('is put where a rule asks for them', () => {
    const manager = { kind: 'manager', party: mona }
    expect(nameManager(asked, AGENT, managerOf)).toMatchObject({
      effect: 'hold',
      requirements: [{ reviewers: [manager, { kind: 'group' }], escalate: { to: [manager] } }],
    })
  })

  it.each<[string, Principal]>([
    ['the owner has none', { ...AGENT, owner: { issuer: mona.issuer, subject: 'dora' } }],
    ['there is no owner', { ...AGENT, owner: null }],
    ['they are who the agent acts for', { ...AGENT, onBehalfOf: mona }],
  ])('makes it a denial where %s', (_why, principal) => {
    expect(nameManager(asked, principal, managerOf)).toMatchObject({
      effect: 'deny',
      basis: 'no_manager',
      rules: [{ policy: 'p', rule: 'r' }],
      requirements: [],
    })
  })

  it('is asked for whenever a call is judged', async () => {
    const judgeCall = createJudge({
      decide: () => asked,
      isSuspended: () => false,
      heldBy: () => [],
      applyLimits: async (_call, verdict) => verdict,
      managerOf,
    })
    expect(await judgeCall(makeCall({ principal: AGENT }))).toMatchObject({
      effect: 'hold',
      verdict: { requirements: [{ reviewers: [{ party: mona }, {}] }] },
    })
    expect(await judgeCall(makeCall({ principal: { ...AGENT, owner: null } }))).toMatchObject({
      effect: 'deny',
      refusal: { code: 'denied', detail: expect.stringContaining("the manager of this agent's owner") },
    })
  })

  it('is not asked about where no rule asks for them', () => {
    const plain = judge('reviewers: ["group:finance"]')
    const never = () => {
      throw new Error('nobody asked')
    }
    expect(nameManager(plain, AGENT, never)).toBe(plain)
  })
})
