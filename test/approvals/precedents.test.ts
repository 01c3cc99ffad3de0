import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Approval } from '../../src/domain/approval.ts'
import type { Judged } from '../../src/domain/judged.ts'
import type { GrantPermit } from '../../src/domain/permit.ts'
import type { Precedents } from '../../src/domain/precedent.ts'
import { type Person, type Principal, principalKey } from '../../src/domain/principal.ts'
import type { Verdict } from '../../src/domain/verdict.ts'
import {
  ACTIONS,
  agent,
  ballot,
  granted,
  judged,
  makeCall,
  party,
  person,
  requirement,
  selector,
  type TestCall,
  verdict,
} from './parts.ts'
import { openWorld, type Replica, type World } from './world.ts'

const rita = person('rita')
const rolf = person('rolf')
const olga = person('olga', [])
const auditor = person('ann', [], ['auditor'])
const SECURITY = person('sue', [{ issuerName: 'corp', name: 'security' }])

describe('what was decided on the same call before', () => {
  let world: World
  let replica: Replica
  let count = 0
  beforeAll(async () => {
    world = await openWorld()
    replica = world.openReplica({ channels: ['chat'], options: { open_per_principal: 1000, repeat_denial: 0 } })
  })
  afterAll(() => world.close())

  const another = (more: Partial<Principal> = {}) => agent(`before-${++count}`, more)
  const json = (value: unknown) => JSON.stringify(value, null, 2)

  interface How {
    readonly by?: Person
    readonly reason?: string
    readonly of?: Verdict
    readonly actions?: Judged['actions'] & object
    readonly volatile?: string
  }

  function callOf(principal: Principal, what: unknown, volatile = ''): TestCall {
    return makeCall({ principal, what: json(what), volatile })
  }

  async function open(call: TestCall, { of = verdict(), actions = ACTIONS }: How = {}): Promise<Approval> {
    return granted(await replica.queue.hold(call, { ...judged(of), actions }, call.sealed))
  }

  async function approve(principal: Principal, what: unknown, how: How = {}): Promise<Approval> {
    const call = callOf(principal, what, how.volatile)
    const approval = await open(call, how)
    const { by = rita, reason = null } = how
    expect(await replica.queue.vote(ballot(approval, by, { reason }))).toMatchObject({ counted: true })
    granted(await replica.queue.spend(approval, call, { verdict: how.of ?? verdict(), digest: call.sealed.digest }))
    return approval
  }

  async function deny(principal: Principal, what: unknown, { by = rita, reason = 'No.' }: How = {}): Promise<Approval> {
    const approval = await open(callOf(principal, what))
    await replica.queue.vote(ballot(approval, by, { decision: 'deny', reason }))
    return approval
  }

  async function look(principal: Principal, what: unknown, how: How & { as?: Person } = {}): Promise<Precedents> {
    const approval = await open(callOf(principal, what, how.volatile), how)
    return lookAt(approval, how.as)
  }

  async function lookAt(approval: Approval, as: Person = rita): Promise<Precedents> {
    const found = await replica.queue.precedents(approval.id, { person: as })
    if (!found) throw new Error('there is one')
    return found
  }

  it('is nothing for a call of its own', async () => {
    expect(await look(another(), { amount: 1 })).toEqual({
      withinMs: 86_400_000,
      isPartial: false,
      approved: 0,
      identical: 0,
      overridden: 0,
      granted: 0,
      denied: 0,
      approvers: [],
      lastApproved: null,
      lastDenied: null,
    })
  })

  it('counts approvals and who gave them, and says what differs from the last', async () => {
    const who = another()
    await approve(who, { amount: 10, to: 'acme' })
    await approve(who, { amount: 20, to: 'acme' }, { by: rolf })
    const last = await approve(who, { amount: 30, to: 'acme' }, { reason: 'as agreed' })
    const found = await look(who, { amount: 30_000, to: 'mallory' })
    expect(found).toMatchObject({ approved: 3, identical: 0, denied: 0, isPartial: false })
    expect(found.approvers.map(({ reviewer, times }) => [reviewer.subject, times])).toEqual([
      ['rita', 2],
      ['rolf', 1],
    ])
    expect(found.lastApproved).toMatchObject({
      approval: last.id,
      by: [{ reviewer: { subject: 'rita' }, reason: 'as agreed', via: 'api' }],
      difference: {
        extent: 'content',
        changes: [
          { at: '/amount', before: '30', now: '30000' },
          { at: '/to', before: '"acme"', now: '"mallory"' },
        ],
        unseen: ['off_card'],
      },
    })
  })

  it('tells the very same content from another, and from one attempt more', async () => {
    const who = another()
    await approve(who, { amount: 10 })
    expect(await look(who, { amount: 10 })).toMatchObject({
      identical: 1,
      lastApproved: { difference: { extent: 'none', unseen: [] } },
    })
    const next = another()
    await approve(next, { amount: 10 }, { volatile: ' first' })
    const found = await look(next, { amount: 10 }, { volatile: ' second' })
    expect(found).toMatchObject({
      identical: 1,
      lastApproved: { difference: { extent: 'attempt', unseen: ['off_card'] } },
    })
  })

  it('counts denials, with their reason and what differs from the last', async () => {
    const who = another()
    await deny(who, { to: 'x' })
    const last = await deny(who, { to: 'mallory' }, { by: rolf, reason: 'Not to mallory.' })
    expect(await look(who, { to: 'mallory ' })).toMatchObject({
      denied: 2,
      approved: 0,
      lastDenied: {
        approval: last.id,
        by: [{ reviewer: { subject: 'rolf' }, reason: 'Not to mallory.' }],
        difference: { changes: [{ at: '/to', before: '"mallory"', now: '"mallory "' }] },
      },
    })
  })

  it('is about the same agent for the same people, action and upstream only', async () => {
    const who = another()
    await approve(who, { amount: 10 })
    const found = async (principal: Principal, actions = ACTIONS) =>
      (await look(principal, { amount: 100 + count++ }, { actions })).approved
    const [first] = ACTIONS
    expect(await found(who)).toBe(1)
    expect(await found({ ...who, onBehalfOf: party('alice') })).toBe(0)
    expect(await found({ ...who, owner: party('otto') })).toBe(0)
    expect(await found(who, [{ ...first, resource: '/refunds/7' }])).toBe(0)
    expect(await found(who, [{ ...first, resource: '/Refunds' }])).toBe(0)
    expect(await found(who, [{ ...first, verb: 'PUT' }])).toBe(0)
    // The action that decides is the same; what else the call would do is not.
    expect(await found(who, [first, { ...first, verb: 'DELETE', resource: '/customers' }])).toBe(0)
  })

  it('does not count what grants let through as something that people looked at', async () => {
    const who = another()
    const grant: GrantPermit = { mostMs: 3_600_000, mostUses: 20, covers: 'rule', ruleHash: 'ab'.repeat(32) }
    const of = verdict([{ ...requirement(), grant }])
    const first = await open(callOf(who, { amount: 1 }), { of })
    await replica.queue.vote(ballot(first, rita, { grant: { minutes: 10, uses: 20, covers: 'rule' } }))
    for (const amount of [2, 3, 4]) {
      const approval = await open(callOf(who, { amount }), { of })
      expect(approval.state).toBe('approved')
    }
    const found = await lookAt(await open(callOf(who, { amount: 5 }), { of: verdict() }))
    expect(found).toMatchObject({ approved: 1, granted: 3, lastApproved: { approval: first.id } })
    expect(found.approvers).toMatchObject([{ times: 1 }])
  })

  it('tells overrides from approvals', async () => {
    const who = another()
    const of = verdict([{ ...requirement({ reviewers: ['group:security'] }), override: [selector('group:finance')] }])
    const approval = await open(callOf(who, { amount: 1 }), { of })
    const fresh = { ...rita, authenticatedAt: Math.floor(Date.now() / 1000) }
    const result = await replica.queue.vote(ballot(approval, fresh, { isOverride: true, reason: 'It burns.' }))
    expect(result).toMatchObject({ counted: true })
    expect(await look(who, { amount: 2 })).toMatchObject({
      approved: 0,
      overridden: 1,
      approvers: [],
      lastApproved: null,
    })
  })

  describe('for somebody who is away', () => {
    const paula = person('paula', [])
    const dan = person('dan', [])
    const of = verdict([requirement({ reviewers: [`${paula.issuer}|${paula.subject}`, 'group:finance'] })])
    beforeAll(async () => {
      // Only who has voted can be named as a delegate.
      const known = await open(callOf(another(), {}), { of: verdict([requirement({ reviewers: ['*'], quorum: 9 })]) })
      for (const who of [paula, dan]) await replica.queue.vote(ballot(known, who))
    })

    const delegations: string[] = []
    const endAll = async () => {
      for (const id of delegations.splice(0)) await replica.queue.delegations.end({ id, by: paula, via: 'console' })
    }
    afterEach(endAll)

    async function delegate(): Promise<string> {
      const until = Date.now() + 3_600_000
      const made = await replica.queue.delegations.make({ by: paula, delegate: dan, from: 0, until, via: 'console' })
      if ('fault' in made) throw new Error(made.fault)
      delegations.push(made.delegation.id)
      return made.delegation.id
    }

    it('counts what a delegate approved, also once the delegation has ended', async () => {
      const who = another()
      const id = await delegate()
      const { id: approval } = await approve(who, { amount: 1 }, { of, by: dan })
      const counted = {
        approved: 1,
        approvers: [{ reviewer: { subject: 'dan' }, times: 1 }],
        lastApproved: { approval, by: [{ reviewer: { subject: 'dan' }, via: `delegate:${id}:api` }] },
      }
      expect(await look(who, { amount: 2 }, { of })).toMatchObject(counted)
      await endAll()
      expect(await look(who, { amount: 3 }, { of })).toMatchObject(counted)
    })

    it('does not count as approved what a delegate denied, whatever the database says', async () => {
      const who = another()
      await delegate()
      const approval = await open(callOf(who, { amount: 1 }), { of })
      for (const given of [ballot(approval, rita), ballot(approval, dan, { decision: 'deny', reason: 'No.' })]) {
        expect(await replica.queue.vote(given)).toMatchObject({ counted: true })
      }
      expect(await look(who, { amount: 2 }, { of })).toMatchObject({ approved: 0, denied: 1 })
      await world.alter(`UPDATE countersign.approval SET state = 'approved' WHERE id = '${approval.id}'`)
      expect(await look(who, { amount: 3 }, { of })).toMatchObject({ approved: 0, denied: 0 })
    })
  })

  it('shows only what the viewer may see', async () => {
    const who = another()
    const of = verdict([requirement({ reviewers: ['group:security'] })])
    await approve(who, { amount: 1 }, { of, by: SECURITY })
    const approval = await open(callOf(who, { amount: 2 }))
    expect(await lookAt(approval, rita)).toMatchObject({ approved: 0, approvers: [], lastApproved: null })
    expect(await lookAt(approval, auditor)).toMatchObject({
      approved: 1,
      approvers: [{ reviewer: { subject: 'sue' } }],
    })
    expect(await lookAt(approval, olga)).toMatchObject({ approved: 1 })
    expect(await replica.queue.precedents(approval.id, { person: SECURITY })).toBeNull()
    expect(await replica.queue.precedents('0000000000', { person: rita })).toBeNull()
  })

  it('tells a channel of what that channel was told of', async () => {
    const who = another()
    const [told, untold] = [await approve(who, { amount: 1 }), await approve(who, { amount: 2 })]
    await world.store.database.query(
      `UPDATE outbox SET done_at = now(), end_result = CASE approval WHEN $1 THEN 'delivered' ELSE 'skipped' END
       WHERE approval IN ($1, $2) AND kind = 'card'`,
      [told.id, untold.id],
    )
    const approval = await open(callOf(who, { amount: 3 }))
    expect(await replica.queue.precedents(approval.id, { channel: 'chat' })).toMatchObject({
      approved: 1,
      lastApproved: { approval: told.id },
    })
    expect(await replica.queue.precedents(approval.id, { channel: 'other' })).toMatchObject({ approved: 0 })
  })

  it('looks at so many of each kind, so that harmless approvals do not push a denial out', async () => {
    const who = another()
    const denied = await deny(who, { amount: 1_000_000 })
    for (let amount = 0; amount < 21; amount++) {
      const approval = await open(callOf(who, { amount }))
      await replica.queue.vote(ballot(approval, rita))
    }
    expect(await look(who, { amount: 1_000_000 })).toMatchObject({
      approved: 20,
      isPartial: true,
      denied: 1,
      lastDenied: { approval: denied.id, difference: { extent: 'none' } },
    })
  })

  it('looks no further back than cards are kept, and not beyond the decision on this one', async () => {
    const who = another()
    const [old, erased] = [await approve(who, { amount: 1 }), await approve(who, { amount: 2 })]
    await world.alter(`UPDATE countersign.approval SET decided_at = now() - interval '2 days' WHERE id = '${old.id}'`)
    await world.alter(`UPDATE countersign.approval SET wrapped_key = NULL WHERE id = '${erased.id}'`)
    expect(await look(who, { amount: 3 })).toMatchObject({ approved: 0 })
    const here = await approve(who, { amount: 4 })
    await approve(who, { amount: 5 })
    expect(await lookAt(here)).toMatchObject({ approved: 0 })
  })

  describe('that somebody altered in the database', () => {
    async function findAltered(alter: (id: string, who: Principal) => string, act = approve): Promise<Precedents> {
      const who = another()
      const { id } = await act(who, { amount: 1 })
      await world.alter(alter(id, who))
      return look(who, { amount: 2 })
    }

    it('is not counted: a denial made an approval', async () => {
      const found = await findAltered(
        (id) => `UPDATE countersign.approval SET state = 'approved', use_by = now() WHERE id = '${id}'`,
        deny,
      )
      expect(found).toMatchObject({ approved: 0, denied: 0, granted: 0, overridden: 0 })
    })

    it('is not counted: a denial of what was approved before, made that approval again', async () => {
      const found = await findAltered(
        (id) => `UPDATE countersign.approval SET state = 'approved' WHERE id = '${id}'`,
        async (who) => {
          const approval = await open(callOf(who, { amount: 1 }))
          for (const ballotOf of [ballot(approval, rita), ballot(approval, rolf, { decision: 'deny', reason: 'No.' })])
            expect(await replica.queue.vote(ballotOf)).toMatchObject({ counted: true })
          return approval
        },
      )
      expect(found).toMatchObject({ approved: 0, lastApproved: null })
    })

    it('is not counted: an approval made a denial', async () => {
      const found = await findAltered(
        (id) => `UPDATE countersign.approval SET state = 'denied', spent_at = NULL WHERE id = '${id}'`,
      )
      expect(found).toMatchObject({ approved: 0, denied: 0 })
    })

    it('is not counted: an approval of another agent, or on something else', async () => {
      const stranger = another()
      const { id } = await approve(stranger, { amount: 1 })
      const who = another()
      const key = principalKey(who).toString('hex')
      await world.alter(`UPDATE countersign.approval SET principal_key = '\\x${key}' WHERE id = '${id}'`)
      expect(await look(who, { amount: 2 })).toMatchObject({ approved: 0 })
      const mine = another()
      const [first] = ACTIONS
      const other = await approve(mine, { amount: 1 }, { actions: [{ ...first, resource: '/harmless' }] })
      await world.alter(`UPDATE countersign.approval SET resource = '/refunds' WHERE id = '${other.id}'`)
      expect(await look(mine, { amount: 2 })).toMatchObject({ approved: 0 })
    })

    it('is not counted: a vote under another name', async () => {
      const found = await findAltered(
        (id) => `UPDATE countersign.vote SET subject = 'boss', name = 'Boss' WHERE approval = '${id}'`,
      )
      expect(found).toMatchObject({ approved: 0, approvers: [] })
    })

    it('is not counted: another card in its place', async () => {
      const who = another()
      const [one, two] = [await approve(who, { amount: 1 }), await approve(who, { amount: 2 })]
      await world.alter(
        `UPDATE countersign.approval SET sealed_card = (SELECT sealed_card FROM countersign.approval WHERE id = '${one.id}')
         WHERE id = '${two.id}'`,
      )
      expect(await look(who, { amount: 3 })).toMatchObject({ approved: 1, lastApproved: { approval: one.id } })
    })
  })
})
