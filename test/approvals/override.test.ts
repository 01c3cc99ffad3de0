import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import type { Ballot } from '../../src/domain/approval.ts'
import type { Delivery } from '../../src/domain/channel.ts'
import type { Person } from '../../src/domain/principal.ts'
import type { Requirement } from '../../src/domain/verdict.ts'
import { agent, ballot, codeOf, makeCall, party, person, requirement, selector, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const COMMANDERS = { issuerName: 'corp', name: 'commanders' }

/** Signed in so many seconds ago. */
function commander(subject: string, agoS = 10): Person {
  return { ...person(subject, [COMMANDERS]), authenticatedAt: Math.floor(Date.now() / 1000) - agoS }
}

const overridable = (more: Partial<Requirement> = {}): Requirement => ({
  ...requirement({ quorum: 2 }),
  override: [selector('group:commanders')],
  ...more,
})

const BREAK: Partial<Ballot> = { isOverride: true, reason: 'the shop is down', via: 'console' }

describe('an override', () => {
  let world: World
  let queue: Queue
  const standing = new Map<string, Person | null>()
  let count = 0
  beforeAll(async () => {
    world = await openWorld()
    const stand = async (voter: Person) => (standing.has(voter.subject) ? (standing.get(voter.subject) ?? null) : voter)
    queue = world.openReplica({ standing: stand }).queue
  })
  afterAll(() => world.close())

  async function open(requirements: readonly Requirement[] = [overridable()], { on = queue } = {}) {
    count += 1
    const call = makeCall({ principal: agent(`overridden-${count}`, { owner: party('olga') }) })
    const of = verdict(requirements)
    const approval = await hold(on, call, of)
    return {
      approval,
      vote: (who: Person, more: Partial<Ballot> = {}) => on.vote(ballot(approval, who, more)),
      spend: (now = of) => on.spend(approval, call, { verdict: now, digest: call.sealed.digest }),
    }
  }

  it('stands in place of the quorum, and is an entry of its own', async () => {
    const { approval, vote, spend } = await open()
    await vote(person('rita'))
    const result = await vote(commander('carl'), BREAK)
    expect(result).toMatchObject({ counted: true, approval: { state: 'approved' } })
    expect(await spend()).toMatchObject({ state: 'spent' })
    const entries = await world.entriesOf(approval.id)
    expect(entries.map(({ kind }) => kind)).toEqual(['held', 'vote', 'vote', 'override', 'decided', 'spent'])
    expect(entries[3]?.body['detail']).toMatchObject({
      approvals: 1,
      requirements: [{ rule: 'billing/refunds', quorum: 2 }],
      via: 'override:console',
      assurance: 'oidc',
      authenticated_at: expect.any(Number),
    })
    expect(entries[3]?.body['reason']).toEqual(expect.any(String))
    expect(entries[5]?.body['detail']).toMatchObject({ override: true, quorum: 1 })
  })

  it('is seen by those who may do it', async () => {
    const { approval } = await open()
    expect(await queue.findFor(commander('carl'), approval.id)).not.toBeNull()
    expect((await queue.list(commander('carl'), {})).map(({ id }) => id)).toContain(approval.id)
    expect(await queue.findFor(person('sam', []), approval.id)).toBeNull()
  })

  it('takes somebody whom every rule of the call names for it, and whom none excludes', async () => {
    const { vote } = await open()
    expect(await vote(person('rita'), BREAK)).toMatchObject({ counted: false, fault: 'override_not_permitted' })
    const both = await open([overridable(), requirement({ rule: { policy: 'billing', rule: 'also' } })])
    expect(await both.vote(commander('carl'), BREAK)).toMatchObject({ fault: 'override_not_permitted' })
    const excluded = await open([overridable({ exclude: [selector('group:commanders')] })])
    expect(await excluded.vote(commander('carl'), BREAK)).toMatchObject({ fault: 'override_not_permitted' })
  })

  it('takes a reason, and a sign-in of the last five minutes', async () => {
    const { vote } = await open()
    expect(await vote(commander('carl'), { ...BREAK, reason: ' ' })).toMatchObject({ fault: 'reason_required' })
    expect(await vote(commander('carl', 301), BREAK)).toMatchObject({ fault: 'sign_in_too_old' })
    expect(await vote({ ...commander('carl'), authenticatedAt: null }, BREAK)).toMatchObject({
      fault: 'sign_in_too_old',
    })
    expect(await vote(commander('carl', -600), BREAK)).toMatchObject({ fault: 'sign_in_too_old' })
    expect(await vote(commander('carl', 280), BREAK)).toMatchObject({ counted: true, approval: { state: 'approved' } })
  })

  it('is on a card that was seen', async () => {
    const { vote } = await open()
    expect(await vote(commander('carl'), { ...BREAK, cardHash: '00'.repeat(32) })).toMatchObject({
      fault: 'superseded',
    })
  })

  it('is never one of the requesting side', async () => {
    const { vote } = await open()
    expect(await vote(commander('olga'), BREAK)).toMatchObject({ counted: false, fault: 'self_approval' })
  })

  it('is never one of a denial, not even of one that does not suffice', async () => {
    const denied = await open()
    await denied.vote(person('rita'), { decision: 'deny' })
    expect(await denied.vote(commander('carl'), BREAK)).toMatchObject({ counted: false })
    expect(await world.stateOf(denied.approval.id)).toBe('denied')
    const contested = await open([overridable({ denyQuorum: 2 })])
    await contested.vote(person('rita'), { decision: 'deny' })
    expect(await contested.vote(commander('carl'), BREAK)).toMatchObject({ fault: 'override_not_permitted' })
  })

  it('is taken back by the one who gave it, or by any one reviewer, until it is used', async () => {
    const own = await open()
    await own.vote(commander('carl'), BREAK)
    expect(await own.vote(commander('carl'), { decision: 'deny' })).toMatchObject({
      counted: true,
      approval: { state: 'denied' },
    })
    const others = await open([overridable({ denyQuorum: 2 })])
    await others.vote(commander('carl'), BREAK)
    expect(await others.vote(person('rita'), { decision: 'deny' })).toMatchObject({
      counted: true,
      approval: { state: 'denied' },
    })
    expect(codeOf(await others.spend())).toBe('not_approved')
  })

  it('counts after an ordinary yes of the same person, and only once', async () => {
    const { vote, approval } = await open([overridable({ reviewers: [selector('group:commanders')] })])
    const carl = commander('carl')
    expect(await vote(carl)).toMatchObject({ counted: true, approval: { state: 'pending' } })
    expect(await vote(carl, BREAK)).toMatchObject({ counted: true, approval: { state: 'approved' } })
    expect(await vote(carl, BREAK)).toMatchObject({ counted: true })
    const kinds = (await world.entriesOf(approval.id)).map(({ kind }) => kind)
    expect(kinds.filter((kind) => kind === 'override')).toHaveLength(1)
  })

  it('is looked at again at release: who may not any more, or whom the policy does not name any more, has not', async () => {
    const left = await open()
    await left.vote(commander('carla'), BREAK)
    standing.set('carla', { ...commander('carla'), groups: [] })
    expect(await left.spend()).toMatchObject({ code: 'withdrawn' })
    const changed = await open()
    await changed.vote(commander('carl'), BREAK)
    expect(await changed.spend(verdict([requirement({ quorum: 2 })]))).toMatchObject({ code: 'withdrawn' })
  })

  it('grants nothing', async () => {
    const permit = { mostMs: 60_000, mostUses: 1, covers: 'rule', ruleHash: 'ab'.repeat(32) } as const
    const { vote } = await open([overridable({ grant: permit })])
    const result = await vote(commander('carl'), { ...BREAK, grant: { minutes: 1, uses: 1, covers: 'call' } })
    expect(result).toMatchObject({ counted: false, fault: 'grant_not_permitted' })
  })

  it('is told to the channel at once, and even if the call was forwarded before its card was posted', async () => {
    const replica = world.openReplica({ channels: ['slack'] })
    const { approval, vote, spend } = await open([overridable()], { on: replica.queue })
    await vote(commander('carl'), BREAK)
    expect(await spend()).toMatchObject({ state: 'spent' })
    const told = Promise.withResolvers<Delivery>()
    await replica.start({
      channels: [
        {
          name: 'slack',
          async deliver(delivery) {
            if (delivery.approval.id === approval.id && delivery.kind === 'result') told.resolve(delivery)
            return { result: 'delivered', posted: {}, conversation: null }
          },
          tell: async () => ({ result: 'delivered' }),
          stop: async () => {},
        },
      ],
    })
    const { approval: shown } = await told.promise
    expect(shown.votes).toMatchObject([{ via: 'override:console', reason: 'the shop is down' }])
    expect(await replica.metrics.registry.getSingleMetricAsString('countersign_overrides_total')).toContain(
      'upstream="billing"} 1',
    )
  })
})
