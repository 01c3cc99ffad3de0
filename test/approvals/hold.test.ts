import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { agent, ballot, codeOf, granted, judged, makeCall, person, requirement, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

describe('holding a call', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())

  it('opens an approval, with its entry in the log', async () => {
    const { queue } = world.openReplica()
    const call = makeCall({ principal: agent('opener') })
    const approval = await hold(queue, call)
    expect(approval).toMatchObject({ state: 'pending', callId: call.id, upstream: 'billing', verb: 'POST', votes: [] })
    expect(approval.digest).toBe(call.sealed.digest.toString('hex'))
    const entries = await world.entriesOf(approval.id)
    expect(entries.map((entry) => entry.kind)).toEqual(['held'])
    expect(entries[0]?.body['detail']).toMatchObject({ digest: approval.digest, card_hash: approval.cardHash })
  })

  it('lets the shortest time that any rule gives bound the decision', async () => {
    const { queue } = world.openReplica({ options: { expires: 900_000 } })
    const of = verdict([requirement({ expiresMs: 60_000 }), requirement({ expiresMs: 30_000 }), requirement()])
    const approval = await hold(queue, makeCall({ principal: agent('hasty') }), of)
    expect(approval.expiresAt - approval.createdAt).toBe(30_000)
  })

  it('attaches a retry to the open approval, and shows it to nobody again', async () => {
    const { queue } = world.openReplica()
    const principal = agent('retrier')
    const first = await hold(queue, makeCall({ principal }))
    const retry = makeCall({ principal, volatile: ' (date changed)' })
    const second = await hold(queue, retry)
    expect(second.id).toBe(first.id)
    expect(second.digest).toBe(first.digest)
    expect(retry.presented.count).toBe(0)
  })

  it('keeps the bytes that were approved, not those of the retry', async () => {
    const { queue } = world.openReplica()
    const principal = agent('bytes')
    const approval = await hold(queue, makeCall({ principal, volatile: '-first' }))
    await hold(queue, makeCall({ principal, volatile: '-second' }))
    const stored = granted(await queue.recall(approval))
    expect(Buffer.from(stored.body).toString()).toBe('refund 120-first')
    expect(stored.head).toEqual({ path: '/refunds' })
  })

  it('keeps with them what people decide on, whoever tries again', async () => {
    const { queue } = world.openReplica()
    const principal = agent('counted')
    const approval = await hold(queue, makeCall({ principal, foreseen: { rows: [3] } }))
    await hold(queue, makeCall({ principal, foreseen: { rows: [300] } }))
    const stored = granted(await queue.recall(approval))
    expect(stored.head).toEqual({ path: '/refunds', foreseen: { rows: [3] } })
  })

  it('opens one approval for a hundred retries at once, on two replicas', async () => {
    const replicas = [world.openReplica(), world.openReplica()]
    const principal = agent('hundred')
    const held = await Promise.all(
      Array.from({ length: 100 }, (_, index) => {
        const replica = replicas[index % 2]
        if (!replica) throw new Error('there are two')
        return hold(replica.queue, makeCall({ principal, volatile: `${index}` }))
      }),
    )
    expect(new Set(held.map((approval) => approval.id)).size).toBe(1)
  })

  it('opens another approval for another principal, upstream call or person acted for', async () => {
    const { queue } = world.openReplica()
    const ids = await Promise.all(
      [
        { principal: agent('p1') },
        { principal: agent('p2') },
        { principal: agent('p1'), what: 'refund 121' },
        { principal: agent('p1', { onBehalfOf: { issuer: 'https://idp.example.com', subject: 'alice' } }) },
      ].map(async (parts) => (await hold(queue, makeCall(parts))).id),
    )
    expect(new Set(ids).size).toBe(4)
  })

  it('refuses more open approvals than a principal may have, also when they come at once', async () => {
    const { queue } = world.openReplica({ options: { open_per_principal: 3 } })
    const principal = agent('greedy')
    const results = await Promise.all(
      Array.from({ length: 10 }, (_, index) => {
        const call = makeCall({ principal, what: `refund ${index}` })
        return queue.hold(call, judged(), call.sealed)
      }),
    )
    expect(results.filter((result) => codeOf(result) === null)).toHaveLength(3)
    expect(results.filter((result) => codeOf(result) === 'too_many_holds')).toHaveLength(7)
  })

  it('refuses bytes over the budget of a principal', async () => {
    const { queue } = world.openReplica({ options: { held_bytes_per_principal: 5000 } })
    const principal = agent('heavy')
    await hold(queue, makeCall({ principal, what: 'a', bytes: 3000 }))
    const call = makeCall({ principal, what: 'b', bytes: 3000 })
    expect(codeOf(await queue.hold(call, judged(), call.sealed))).toBe('too_many_holds')
  })

  it('refuses bytes over the budget of everybody', async () => {
    const { queue } = world.openReplica({ options: { held_bytes: 5000 } })
    await hold(world.openReplica().queue, makeCall({ principal: agent('heavy-1'), bytes: 5000 }))
    const call = makeCall({ principal: agent('heavy-2') })
    expect(codeOf(await queue.hold(call, judged(), call.sealed))).toBe('too_many_holds')
  })

  it('finds an approval by Idempotency-Key, and refuses the key for another call', async () => {
    const { queue } = world.openReplica()
    const principal = agent('keyed')
    const first = await hold(queue, makeCall({ principal, idempotencyKey: 'k1' }))
    expect((await hold(queue, makeCall({ principal, idempotencyKey: 'k1', volatile: '!' }))).id).toBe(first.id)
    const other = makeCall({ principal, idempotencyKey: 'k1', what: 'refund 9999' })
    expect(codeOf(await queue.hold(other, judged(), other.sealed))).toBe('key_reused')
    // Another principal's keys are its own.
    await hold(queue, makeCall({ principal: agent('keyed-2'), idempotencyKey: 'k1', what: 'refund 9999' }))
  })

  it('refuses a key that came with a retry for another call, too', async () => {
    const { queue } = world.openReplica()
    const principal = agent('keyed-later')
    await hold(queue, makeCall({ principal }))
    await hold(queue, makeCall({ principal, idempotencyKey: 'late' }))
    const other = makeCall({ principal, idempotencyKey: 'late', what: 'refund 9999' })
    expect(codeOf(await queue.hold(other, judged(), other.sealed))).toBe('key_reused')
  })

  it('lets one of several different calls at once have a key', async () => {
    const { queue } = world.openReplica()
    const principal = agent('keyed-race')
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, index) => {
        const call = makeCall({ principal, idempotencyKey: 'race', what: `refund ${index}` })
        return queue.hold(call, judged(), call.sealed)
      }),
    )
    expect(results.filter((result) => codeOf(result) === null)).toHaveLength(1)
    expect(results.filter((result) => codeOf(result) === 'key_reused')).toHaveLength(7)
  })

  it('repeats a denial, with its reason, for the same bytes only and for a while only', async () => {
    const { queue } = world.openReplica()
    const principal = agent('denied')
    const approval = await hold(queue, makeCall({ principal }))
    await queue.vote(ballot(approval, person('rita'), { decision: 'deny', reason: 'Too much.' }))
    const same = makeCall({ principal })
    const refused = await queue.hold(same, judged(), same.sealed)
    expect(refused).toMatchObject({ code: 'not_approved', approval: approval.id })
    expect(refused).toHaveProperty('detail', expect.stringContaining('Too much.'))
    const changed = await hold(queue, makeCall({ principal, volatile: '!' }))
    expect(changed.id).not.toBe(approval.id)
    await queue.vote(ballot(changed, person('rita'), { decision: 'deny' }))
    const forgetful = world.openReplica({ options: { repeat_denial: 1 } })
    expect((await hold(forgetful.queue, makeCall({ principal }))).state).toBe('pending')
  })

  it('opens a new approval in place of an expired one', async () => {
    const hasty = world.openReplica({ options: { expires: 1 } })
    const principal = agent('late')
    const first = await hold(hasty.queue, makeCall({ principal }))
    const second = await hold(world.openReplica().queue, makeCall({ principal }))
    expect(second.id).not.toBe(first.id)
    expect(await world.stateOf(first.id)).toBe('expired')
    expect((await world.entriesOf(first.id)).map((entry) => entry.kind)).toEqual(['held', 'decided'])
  })

  it('makes an approval a detached one when a retry asks for it', async () => {
    const { queue } = world.openReplica()
    const principal = agent('async')
    const first = await hold(queue, makeCall({ principal }))
    expect(first.isDetached).toBe(false)
    const second = await hold(queue, makeCall({ principal, isDetached: true }))
    expect(second).toMatchObject({ id: first.id, isDetached: true })
  })

  it('makes it a detached one once, however many ask for it at once', async () => {
    const replicas = [world.openReplica(), world.openReplica()] as const
    const principal = agent('async-crowd')
    const first = await hold(replicas[0].queue, makeCall({ principal }))
    const held = await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        hold(replicas[n % 4 < 2 ? 0 : 1].queue, makeCall({ principal, isDetached: n % 2 === 0 })),
      ),
    )
    expect(new Set(held.map(({ id }) => id))).toEqual(new Set([first.id]))
    for (const [n, { isDetached }] of held.entries()) if (n % 2 === 0) expect(isDetached).toBe(true)
    expect(Buffer.from(granted(await replicas[1].queue.recall(first)).body).toString()).toBe('refund 120')
  })

  it('shows what the call would do, who makes it and what it claims', async () => {
    const { queue } = world.openReplica()
    const call = makeCall({ principal: agent('shown') })
    const approval = await hold(queue, call)
    const shown = await queue.find(approval.id)
    expect(shown?.card).toMatchObject({
      approval: approval.id,
      verified: { agent: 'shown', owner: 'https://idp.example.com|olga' },
      derived: { actions: [{ verb: 'POST', resource: '/refunds' }], payload: { text: 'refund 120' }, notes: ['shown'] },
      claimed: { reason: 'a customer asked' },
      needed: [{ reviewers: ['group:finance'], quorum: 1, isReasonRequired: false }],
    })
  })

  it('leaves nothing readable of a call or its card in the database', async () => {
    const { queue } = world.openReplica()
    const approval = await hold(queue, makeCall({ principal: agent('secretive'), what: 'SECRET-PAYLOAD' }))
    const { rows } = await world.store.database.query<{ text: string }>(
      `SELECT encode(sealed_call, 'escape') || encode(sealed_card, 'escape') || approval::text AS text
       FROM approval WHERE id = $1`,
      [approval.id],
    )
    expect(rows[0]?.text).not.toContain('SECRET-PAYLOAD')
  })
})
