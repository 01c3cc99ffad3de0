import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Person } from '../../src/domain/principal.ts'
import { agent, ballot, makeCall, party, person, requirement, selector, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const SALES = { issuerName: 'corp', name: 'sales' }

describe('who sees an approval', () => {
  let world: World
  let queue: Queue
  let approval: Approval
  beforeAll(async () => {
    world = await openWorld()
    queue = world.openReplica().queue
    const of = verdict([
      requirement({ reviewers: ['group:finance', 'group:okta/audit', 'https://idp.example.com|rolf'] }),
    ])
    const principal = agent('a', { onBehalfOf: party('alice'), owner: party('olga') })
    approval = await hold(queue, makeCall({ principal }), of)
  })
  afterAll(() => world.close())

  const seen: [string, Person, boolean][] = [
    ['a reviewer by group', person('rita'), true],
    ['a reviewer by name', person('rolf', []), true],
    ['a reviewer by a qualified group', person('kim', [{ issuerName: 'okta', name: 'audit' }]), true],
    ['the same group of another issuer', person('kim', [{ issuerName: 'corp', name: 'audit' }]), false],
    ['the owner of the requester', person('olga', []), true],
    ['an auditor', person('ann', [], ['auditor']), true],
    ['an admin', person('adam', [], ['admin']), false],
    ['an operator', person('otto', [], ['operator']), false],
    ['whom the agent acts for', person('alice', []), false],
    ['a colleague', person('sam', [SALES]), false],
  ]

  it.each(seen)('%s', async (_who, who, isVisible) => {
    expect((await queue.findFor(who, approval.id)) !== null).toBe(isVisible)
    expect((await queue.list(who, {})).map((one) => one.id)).toEqual(isVisible ? [approval.id] : [])
  })

  it('does not tell an approval that may not be seen from one that is not there', async () => {
    expect(await queue.findFor(person('sam', [SALES]), approval.id)).toBeNull()
    expect(await queue.findFor(person('sam', [SALES]), '0000000000')).toBeNull()
  })

  it('trusts no audience that somebody wrote into the database', async () => {
    const world2 = await openWorld()
    try {
      const replica = world2.openReplica()
      const other = await hold(replica.queue, makeCall({ principal: agent('b') }))
      await world2.alter(`UPDATE countersign.approval SET audience = '{*}' WHERE id = '${other.id}'`)
      expect(await replica.queue.list(person('sam', [SALES]), {})).toEqual([])
    } finally {
      await world2.close()
    }
  })

  it('lists by state and upstream, newest first, a page at a time', async () => {
    const reviewer = person('paul', [{ issuerName: 'corp', name: 'paging' }])
    const of = verdict([requirement({ reviewers: ['group:paging'] })])
    const held: Approval[] = []
    for (let index = 0; index < 5; index++)
      held.push(await hold(queue, makeCall({ principal: agent(`page-${index}`) }), of))
    const [first] = held
    if (!first) throw new Error('there are five')
    await queue.vote(ballot(first, reviewer))
    expect(await queue.list(reviewer, { states: ['approved'] })).toMatchObject([{ id: first.id, votes: [{}] }])
    expect(await queue.list(reviewer, { upstream: 'other' })).toEqual([])
    const ids: string[] = []
    let before: { createdAt: number; id: string } | undefined
    for (;;) {
      const page = await queue.list(reviewer, { limit: 2, ...(before && { before }) })
      ids.push(...page.map((one) => one.id))
      const last = page.at(-1)
      if (!last) break
      before = last
    }
    expect(ids).toEqual(held.map((one) => one.id).toReversed())
  })

  it('tells what waits for a vote of this person from the rest, and leaves nothing out', async () => {
    const group = { issuerName: 'corp', name: 'ballots' }
    const [first, second] = ['anna', 'bert'].map((subject) => person(subject, [group]))
    if (!first || !second) throw new Error('there are two')
    const of = verdict([requirement({ reviewers: ['group:ballots'], quorum: 2 })])
    const opened = await Promise.all(
      ['x', 'y', 'z'].map((name) => hold(queue, makeCall({ principal: agent(`ballot-${name}`) }), of)),
    )
    const [voted] = opened
    if (!voted) throw new Error('there are three')
    await queue.vote(ballot(voted, first))
    const idsOf = async (who: Person, which: 'open' | 'closed') =>
      (await queue.list(who, { ballot: which })).map(({ id }) => id).toSorted()
    const all = opened.map(({ id }) => id).toSorted()
    expect(await idsOf(first, 'closed')).toEqual([voted.id])
    expect(await idsOf(first, 'open')).toEqual(all.filter((id) => id !== voted.id))
    expect(await idsOf(second, 'open')).toEqual(all)
    expect(await idsOf(person('ann', [], ['auditor']), 'open')).toEqual([])
    expect(await idsOf(person('ann', [], ['auditor']), 'closed')).toEqual(expect.arrayContaining(all))
  })

  it('lists by agent, by who voted, and by time', async () => {
    const group = { issuerName: 'corp', name: 'filters' }
    const who = { ...person('fritz', [group]), name: 'Fritz from 50%_finance' }
    const of = verdict([requirement({ reviewers: ['group:filters'] })])
    const [mine, other] = [
      await hold(queue, makeCall({ principal: agent('filter-1') }), of),
      await hold(queue, makeCall({ principal: agent('filter-2') }), of),
    ]
    await queue.vote(ballot(mine, who, { decision: 'deny', reason: 'No.' }))
    const states = ['pending', 'denied'] as const
    const idsOf = async (filter: Parameters<typeof queue.list>[1]) =>
      (await queue.list(who, { states, ...filter })).map(({ id }) => id)
    expect(await idsOf({})).toEqual([other.id, mine.id])
    expect(await idsOf({ agent: 'filter-1' })).toEqual([mine.id])
    expect(await idsOf({ agent: 'https://idp.example.com|filter-2' })).toEqual([other.id])
    const barred = await hold(queue, makeCall({ principal: agent('auth0|filter-1') }), of)
    for (const name of ['auth0|filter-1', 'https://idp.example.com|auth0|filter-1']) {
      expect(await idsOf({ agent: name })).toEqual([barred.id])
    }
    for (const name of ['filter-3', 'https://other|filter-1', '|filter-1', 'https://idp.example.com|', '']) {
      expect(await idsOf({ agent: name })).toEqual([])
    }
    for (const voter of ['fritz', 'https://idp.example.com|fritz', 'Fritz', 'fritz FROM 50%_f'])
      expect(await idsOf({ voter })).toEqual([mine.id])
    for (const voter of ['nobody', 'finance', 'fr%', 'fritz_from']) expect(await idsOf({ voter })).toEqual([])
    expect(await idsOf({ until: mine.createdAt })).toEqual([])
    expect(await idsOf({ from: mine.createdAt, until: other.createdAt + 1 })).toEqual([other.id, mine.id])
  })

  it('goes on behind what a person may not see after all', async () => {
    const reviewer = person('paula', [{ issuerName: 'corp', name: 'behind' }])
    const of = (later: boolean) =>
      verdict([
        requirement(
          later
            ? { reviewers: ['group:nobody'], escalate: { afterMs: 600_000, to: [selector('group:behind')] } }
            : { reviewers: ['group:behind'] },
        ),
      ])
    const seen = await hold(queue, makeCall({ principal: agent('behind-0') }), of(false))
    for (let index = 1; index < 6; index++) {
      await hold(queue, makeCall({ principal: agent(`behind-${index}`) }), of(true))
    }
    expect((await queue.list(reviewer, { limit: 2 })).map(({ id }) => id)).toEqual([seen.id])
  })
})
