import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import { agent, ballot, makeCall, party, person, requirement, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

describe('voting', () => {
  let world: World
  let queue: Queue
  beforeAll(async () => {
    world = await openWorld()
    queue = world.openReplica().queue
  })
  afterAll(() => world.close())

  it('approves when one entitled person says yes, with both entries', async () => {
    const approval = await hold(queue, makeCall({ principal: agent('v1') }))
    const result = await queue.vote(ballot(approval, person('rita'), { reason: 'Checked the invoice.' }))
    expect(result).toMatchObject({ counted: true, approval: { state: 'approved' } })
    const { approval: decided } = result
    expect(decided?.votes).toMatchObject([{ reviewer: { subject: 'rita' }, decision: 'approve', via: 'api' }])
    expect(decided?.useBy).toBe((decided?.decidedAt ?? 0) + 900_000)
    const entries = await world.entriesOf(approval.id)
    expect(entries.map((entry) => entry.kind)).toEqual(['held', 'vote', 'decided'])
    expect(entries[1]?.body).toMatchObject({
      reviewer_group: 'group:finance',
      detail: { decision: 'approve', via: 'api' },
    })
    expect(entries[2]?.body['detail']).toMatchObject({ state: 'approved' })
    // Who voted, and what they said, is erasable: the chain holds commitments.
    expect(JSON.stringify(entries)).not.toMatch(/rita|invoice/)
  })

  it('denies as soon as one entitled person says no', async () => {
    const approval = await hold(queue, makeCall({ principal: agent('v2') }), verdict([requirement({ quorum: 3 })]))
    const result = await queue.vote(ballot(approval, person('rita'), { decision: 'deny', reason: 'No.' }))
    expect(result).toMatchObject({ counted: true, approval: { state: 'denied', reason: 'No.' } })
  })

  it('denies what was approved, until it is used', async () => {
    const approval = await hold(queue, makeCall({ principal: agent('v3') }))
    await queue.vote(ballot(approval, person('rita')))
    const result = await queue.vote(ballot(approval, person('rolf'), { decision: 'deny' }))
    expect(result).toMatchObject({ counted: true, approval: { state: 'denied' } })
  })

  it('lets a person turn a yes into a no, and not back', async () => {
    const approval = await hold(queue, makeCall({ principal: agent('v4') }), verdict([requirement({ quorum: 2 })]))
    await queue.vote(ballot(approval, person('rita')))
    const result = await queue.vote(ballot(approval, person('rita'), { decision: 'deny' }))
    expect(result).toMatchObject({ counted: true, approval: { state: 'denied', votes: [{ decision: 'deny' }] } })
    expect(await queue.vote(ballot(approval, person('rita')))).toMatchObject({
      counted: false,
      fault: 'already_decided',
    })
  })

  it('counts a person once, however often they press', async () => {
    const approval = await hold(queue, makeCall({ principal: agent('v5') }), verdict([requirement({ quorum: 2 })]))
    const results = await Promise.all(Array.from({ length: 20 }, () => queue.vote(ballot(approval, person('rita')))))
    expect(results.every((result) => result.counted)).toBe(true)
    expect(await world.stateOf(approval.id)).toBe('pending')
    expect((await world.entriesOf(approval.id)).filter((entry) => entry.kind === 'vote')).toHaveLength(1)
  })

  it('takes a hundred people at once for one transition', async () => {
    const replicas = [queue, world.openReplica().queue]
    const approval = await hold(queue, makeCall({ principal: agent('v6') }), verdict([requirement({ quorum: 2 })]))
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        (replicas[index % 2] ?? queue).vote(ballot(approval, person(`reviewer-${index}`))),
      ),
    )
    expect(results.filter((result) => result.counted)).toHaveLength(2)
    expect(results.filter((result) => !result.counted && result.fault === 'already_decided')).toHaveLength(98)
    const kinds = (await world.entriesOf(approval.id)).map((entry) => entry.kind)
    expect(kinds).toEqual(['held', 'vote', 'vote', 'decided'])
  })

  it.each([
    ['the agent itself', agent('self'), 'self'],
    ['its owner', agent('owned'), 'olga'],
    ['whom it acts for', agent('acting', { onBehalfOf: party('alice') }), 'alice'],
    ['an earlier actor', agent('chained', { actors: [party('orchestrator')] }), 'orchestrator'],
  ])('refuses a yes of %s, whatever its groups, and takes its no', async (_who, principal, subject) => {
    const approval = await hold(queue, makeCall({ principal }))
    expect(await queue.vote(ballot(approval, person(subject)))).toMatchObject({
      counted: false,
      fault: 'self_approval',
    })
    const denied = await queue.vote(ballot(approval, person(subject, []), { decision: 'deny' }))
    expect(denied).toMatchObject({ counted: true, approval: { state: 'denied' } })
  })

  it('takes the same name at another issuer for another person', async () => {
    const approval = await hold(queue, makeCall({ principal: agent('elsewhere') }))
    const other = { ...person('olga'), issuer: 'https://other.example.com' }
    expect(await queue.vote(ballot(approval, other))).toMatchObject({ counted: true })
  })

  it('tells who is not entitled so only if they have seen the card', async () => {
    const approval = await hold(queue, makeCall({ principal: agent('v7') }))
    const stranger = person('sam', [{ issuerName: 'corp', name: 'sales' }])
    expect(await queue.vote(ballot(approval, stranger))).toEqual({
      counted: false,
      fault: 'not_entitled',
      approval: null,
    })
    const guessing = ballot(approval, stranger, { cardHash: '00' })
    expect(await queue.vote(guessing)).toEqual({ counted: false, fault: 'not_found', approval: null })
    const nowhere = ballot({ ...approval, id: '0000000000' }, person('rita'))
    expect(await queue.vote(nowhere)).toEqual({ counted: false, fault: 'not_found', approval: null })
    const deny = ballot(approval, stranger, { decision: 'deny' })
    expect(await queue.vote(deny)).toMatchObject({ counted: false, fault: 'not_entitled' })
  })

  it('refuses a vote on another card', async () => {
    const approval = await hold(queue, makeCall({ principal: agent('v8') }))
    const old = ballot(approval, person('rita'), { cardHash: '11'.repeat(32) })
    expect(await queue.vote(old)).toMatchObject({ counted: false, fault: 'superseded' })
  })

  it('asks for a reason where the rule does', async () => {
    const of = verdict([requirement({ isReasonRequired: true })])
    const approval = await hold(queue, makeCall({ principal: agent('v9') }), of)
    for (const reason of [null, '', ' \0 ']) {
      expect(await queue.vote(ballot(approval, person('rita'), { reason }))).toMatchObject({ fault: 'reason_required' })
    }
    expect(await queue.vote(ballot(approval, person('rita'), { reason: 'ok \ud800' }))).toMatchObject({ counted: true })
  })

  it('refuses a vote after the deadline, and expires the approval', async () => {
    const hasty = world.openReplica({ options: { expires: 1 } })
    const approval = await hold(hasty.queue, makeCall({ principal: agent('v10') }))
    const result = await queue.vote(ballot(approval, person('rita')))
    expect(result).toMatchObject({ counted: false, fault: 'already_decided', approval: { state: 'expired' } })
  })

  it('needs one person for each requirement, and as many as each asks for', async () => {
    const security = { issuerName: 'corp', name: 'security' }
    const finance = { issuerName: 'corp', name: 'finance' }
    const of = verdict([requirement(), requirement({ reviewers: ['group:security'] })])
    const approval = await hold(queue, makeCall({ principal: agent('v11') }), of)
    await queue.vote(ballot(approval, person('both', [finance, security])))
    expect(await world.stateOf(approval.id)).toBe('pending')
    await queue.vote(ballot(approval, person('rita', [finance])))
    expect(await world.stateOf(approval.id)).toBe('approved')
  })
})
