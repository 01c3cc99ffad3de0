import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createForgetting } from '../../src/approvals/forget.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Delivery, RunningChannel } from '../../src/domain/channel.ts'
import { CLAIM_MS } from '../../src/domain/claim.ts'
import type { Person } from '../../src/domain/principal.ts'
import { agent, ballot, makeCall, party, person, requirement, verdict } from './parts.ts'
import { hold, openWorld, type Replica, type World } from './world.ts'

const rita = person('rita')
const rolf = person('rolf')

describe('looking at an approval', () => {
  let world: World
  let replica: Replica
  let count = 0
  beforeAll(async () => {
    world = await openWorld()
    replica = world.openReplica()
  })
  afterAll(() => world.close())

  function open(of = verdict([requirement({ quorum: 2 })])): Promise<Approval> {
    const principal = agent(`claimed-${++count}`, { onBehalfOf: party('alice') })
    return hold(replica.queue, makeCall({ principal }), of)
  }

  const claim = (approval: Approval, by: Person) => replica.queue.claim({ approval: approval.id, by, via: 'api' })
  const release = (approval: Approval, by: Person) => replica.queue.release({ approval: approval.id, by, via: 'api' })
  const claimOn = async (approval: Approval) => (await replica.queue.findFor(rita, approval.id))?.approval.claim ?? null
  const entriesOf = async (approval: Approval) =>
    (await world.entriesOf(approval.id)).filter(({ kind }) => kind.startsWith('review_'))

  it('is seen by the others, for a quarter of an hour, and recorded', async () => {
    const approval = await open(verdict([requirement({ expiresMs: 3_600_000 })]))
    expect(await claim(approval, rita)).toMatchObject({ done: true, isChanged: true })
    const seen = await claimOn(approval)
    expect(seen).toMatchObject({ reviewer: { subject: 'rita', name: 'rita' }, via: 'api' })
    expect((seen?.until ?? 0) - (seen?.at ?? 0)).toBe(CLAIM_MS)
    const listed = await replica.queue.list(rolf, {})
    expect(listed.find(({ id }) => id === approval.id)?.claim).toEqual(seen)
    expect((await replica.queue.find(approval.id))?.approval.claim).toEqual(seen)
    expect(await entriesOf(approval)).toMatchObject([
      {
        kind: 'review_claimed',
        body: { detail: { via: 'api', taken_over: false, until: new Date(seen?.until ?? 0).toISOString() } },
      },
    ])
  })

  it('never holds longer than people may decide', async () => {
    const approval = await open(verdict([requirement({ expiresMs: 60_000 })]))
    await claim(approval, rita)
    expect((await claimOn(approval))?.until).toBe(approval.expiresAt)
  })

  it('may be taken over, let go by whoever has it, and by nobody else', async () => {
    const approval = await open()
    await claim(approval, rita)
    expect(await release(approval, rolf)).toEqual({ done: false, fault: 'not_claimant' })
    expect(await claim(approval, rolf)).toMatchObject({
      done: true,
      approval: { claim: { reviewer: { subject: 'rolf' } } },
    })
    expect(await release(approval, rita)).toEqual({ done: false, fault: 'not_claimant' })
    expect(await release(approval, rolf)).toMatchObject({ done: true, isChanged: true })
    expect(await claimOn(approval)).toBeNull()
    const kinds = (await entriesOf(approval)).map(({ kind, body }) => [
      kind,
      (body['detail'] as { taken_over?: boolean }).taken_over,
    ])
    expect(kinds).toEqual([
      ['review_claimed', false],
      ['review_claimed', true],
      ['review_released', undefined],
    ])
  })

  it('is said once, however often it is pressed', async () => {
    const approval = await open()
    await Promise.all([claim(approval, rita), claim(approval, rita), claim(approval, rita)])
    expect(await claim(approval, rita)).toMatchObject({ done: true, isChanged: false })
    expect(await release(approval, rita)).toMatchObject({ isChanged: true })
    expect(await release(approval, rita)).toMatchObject({ done: true, isChanged: false })
    expect(await entriesOf(approval)).toHaveLength(2)
  })

  it('takes nothing from anybody’s right to vote, and ends with the decision', async () => {
    const approval = await open()
    await claim(approval, rita)
    expect(await replica.queue.vote(ballot(approval, rolf))).toMatchObject({ counted: true })
    expect(await claimOn(approval)).not.toBeNull()
    expect(await replica.queue.vote(ballot(approval, person('ralf')))).toMatchObject({
      counted: true,
      approval: { state: 'approved' },
    })
    expect(await claimOn(approval)).toBeNull()
    expect(await claim(approval, rolf)).toEqual({ done: false, fault: 'already_decided' })
    expect(await release(approval, rita)).toEqual({ done: false, fault: 'already_decided' })
  })

  const refused: [string, Person, string][] = [
    ['its owner', person('olga'), 'self_approval'],
    ['whom the agent acts for', person('alice'), 'self_approval'],
    ['an auditor', person('ann', [], ['auditor']), 'not_entitled'],
    ['a stranger', person('sam', []), 'not_found'],
    ['an admin', person('adam', [], ['admin']), 'not_found'],
  ]
  it.each(refused)('is not for %s', async (_who, by, fault) => {
    const approval = await open()
    expect(await claim(approval, by)).toEqual({ done: false, fault })
    expect(await release(approval, by)).toEqual({ done: false, fault })
    expect(await entriesOf(approval)).toEqual([])
  })

  it('is not for what is not there, has expired, or was altered', async () => {
    expect(await replica.queue.claim({ approval: '0000000000', by: rita, via: 'api' })).toEqual({
      done: false,
      fault: 'not_found',
    })
    const expired = await open(verdict([requirement({ expiresMs: 1 })]))
    await expect.poll(() => claim(expired, rita)).toEqual({ done: false, fault: 'already_decided' })
    const altered = await open()
    await world.alter(`UPDATE countersign.approval SET verb = 'GET' WHERE id = '${altered.id}'`)
    expect(await claim(altered, rita)).toEqual({ done: false, fault: 'not_found' })
  })

  it('names nobody who did not say so', async () => {
    const [approval, other] = [await open(), await open()]
    await claim(approval, rita)
    await world.store.database.query(`UPDATE claim SET name = 'Boss' WHERE approval = $1`, [approval.id])
    expect(await claimOn(approval)).toBeNull()
    await claim(other, rita)
    const columns = 'issuer, subject, name, via, at, until, kid, mac'
    await world.store.database.query('DELETE FROM claim WHERE approval = $1', [approval.id])
    await world.store.database.query(
      `INSERT INTO claim (approval, ${columns}) SELECT $1, ${columns} FROM claim WHERE approval = $2`,
      [approval.id, other.id],
    )
    expect(await claimOn(approval)).toBeNull()
    // Whoever says so themselves takes its place.
    expect(await claim(approval, rolf)).toMatchObject({ done: true, isChanged: true })
  })

  it('is over after its time, and forgotten later', async () => {
    const { database } = world.store
    const approval = await open()
    await claim(approval, rita)
    await database.query(
      `UPDATE claim SET at = now() - interval '1 hour', until = now() - interval '1 minute' WHERE approval = $1`,
      [approval.id],
    )
    expect(await claimOn(approval)).toBeNull()
    expect(await claim(approval, rolf)).toMatchObject({
      isChanged: true,
      approval: { claim: { reviewer: { subject: 'rolf' } } },
    })
    const forget = createForgetting(world.makeGround(), { keepMs: 1 })
    await forget('claim', 100)
    expect(await claimOn(approval)).not.toBeNull()
    await database.query(`UPDATE claim SET at = now() - interval '3 days', until = now() - interval '2 days'`)
    await forget('claim', 100)
    expect((await database.query('SELECT FROM claim')).rowCount).toBe(0)
  })

  it('is told to every channel at once, with what was decided before', async () => {
    const deliveries: Delivery[] = []
    const channel: RunningChannel = {
      name: 'chat',
      async deliver(delivery) {
        deliveries.push(delivery)
        return { result: 'delivered', posted: { ts: '1' }, conversation: null }
      },
      tell: async () => ({ result: 'delivered' }),
      async stop() {},
    }
    const told = world.openReplica({ channels: ['chat'], timing: { pollMs: 20, outbox: { pollMs: 20 } } })
    await told.start({ channels: [channel] })
    const approval = await hold(told.queue, makeCall({ principal: agent('told') }))
    await expect.poll(() => deliveries.length).toBe(1)
    expect(deliveries[0]).toMatchObject({ kind: 'card', precedents: { approved: 0 } })
    expect(deliveries[0]?.approval.claim).toBeUndefined()
    let changes = 0
    const unwatch = told.queue.watch(() => {
      changes += 1
    })
    // Through another process.
    await claim(approval, rita)
    await expect.poll(() => changes).toBeGreaterThan(0)
    unwatch()
    await expect.poll(() => deliveries.length).toBe(2)
    expect(deliveries[1]).toMatchObject({
      kind: 'result',
      posted: { ts: '1' },
      approval: { state: 'pending', claim: { reviewer: { subject: 'rita' } } },
    })
    await release(approval, rita)
    await expect.poll(() => deliveries.length).toBe(3)
    expect(deliveries[2]?.approval.claim).toBeUndefined()
    await told.queue.vote(ballot(approval, rolf, { decision: 'deny' }))
    await expect.poll(() => deliveries.length).toBe(4)
    expect(deliveries[3]).toMatchObject({ kind: 'result', approval: { state: 'denied' } })
    expect(deliveries[3]).not.toHaveProperty('precedents')
  })
})

it('nobody claims anything in a store of the release before, and everything else goes on', async () => {
  const world = await openWorld({ schema: 7 })
  try {
    const { queue } = world.openReplica()
    const approval = await hold(queue, makeCall())
    await expect(queue.claim({ approval: approval.id, by: rita, via: 'api' })).rejects.toThrow('countersign migrate')
    expect(await queue.list(rita, {})).toMatchObject([{ id: approval.id }])
    expect(await queue.findFor(rita, approval.id)).not.toBeNull()
    expect(await queue.precedents(approval.id, { person: rita })).toMatchObject({ approved: 0 })
    expect(await createForgetting(world.makeGround(), { keepMs: 1 })('claim', 10)).toBe(false)
  } finally {
    await world.close()
  }
})
