import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Person } from '../../src/domain/principal.ts'
import { agent, ballot, makeCall, party, person, requirement, verdict } from './parts.ts'
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
})
