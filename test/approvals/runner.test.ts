import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Approval } from '../../src/domain/approval.ts'
import type { Exchange, Outcome, Stored } from '../../src/domain/call.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import { agent, ballot, granted, judged, makeCall, person, requirement, type TestCall, verdict } from './parts.ts'
import { hold, openWorld, type Replica, type World } from './world.ts'

const NEVER = new AbortController().signal

describe('running detached calls', () => {
  let world: World
  beforeEach(async () => {
    world = await openWorld()
  })
  afterEach(() => world.close())

  const TIMING = { pollMs: 20, runner: { pollMs: 20, leaseMs: 300, retryMs: 20 } }

  /** What the gate does with a revived call, in short: spend, forward, record. */
  function gateOf(replica: Replica, forwarded: Approval[]) {
    return async (call: Exchange, approval: Approval): Promise<{ name: 'forwarded' | 'refused' }> => {
      const revived = call as TestCall
      const spent = await replica.queue.spend(approval, call, { verdict: verdict(), digest: revived.sealed.digest })
      if (isRefusal(spent)) return { name: 'refused' }
      forwarded.push(spent)
      const outcome: Outcome = {
        name: 'forwarded',
        response: { head: { status: 200 }, body: Buffer.from('the response') },
      }
      await replica.queue.finish(approval, { callId: call.id, outcome })
      return { name: 'forwarded' }
    }
  }

  const revive = async (approval: Approval, stored: Stored) => ({
    ...makeCall({ principal: approval.requester, what: Buffer.from(stored.body).toString() }),
    id: approval.callId,
  })

  it('forwards the stored bytes on approval, once, and keeps the response for the agent', async () => {
    const replica = world.openReplica({ timing: TIMING })
    const forwarded: Approval[] = []
    await replica.start({ revive, resume: gateOf(replica, forwarded) })
    const principal = agent('d1')
    const call = makeCall({ principal, isDetached: true })
    const approval = await hold(replica.queue, call)
    const waiting = replica.queue.ownCall(principal, call.id, { waitMs: 20_000, gone: NEVER })
    await replica.queue.vote(ballot(approval, person('rita')))
    const own = await waiting
    expect(own).toMatchObject({ approval: { state: 'spent' }, outcome: 'forwarded' })
    const kept = await own?.response?.read()
    expect(Buffer.from(kept?.body ?? []).toString()).toBe('the response')
    expect(kept?.head).toEqual({ status: 200 })
    // What it takes in the store: head and body, and what goes with a ciphertext.
    expect(own?.response?.bytes).toBeGreaterThan('the response'.length)
    expect(forwarded).toHaveLength(1)
  })

  it('answers a retry under its Idempotency-Key with where the response is', async () => {
    const replica = world.openReplica({ timing: TIMING })
    await replica.start({ revive, resume: gateOf(replica, []) })
    const principal = agent('d2')
    const call = makeCall({ principal, isDetached: true, idempotencyKey: 'k' })
    const approval = await hold(replica.queue, call)
    await replica.queue.vote(ballot(approval, person('rita')))
    await replica.queue.ownCall(principal, call.id, { waitMs: 20_000, gone: NEVER })
    const again = makeCall({ principal, isDetached: true, idempotencyKey: 'k' })
    expect(await hold(replica.queue, again)).toMatchObject({ id: approval.id, state: 'spent', callId: call.id })
    const waiting = makeCall({ principal, idempotencyKey: 'k' })
    expect(await replica.queue.hold(waiting, judged(), waiting.sealed)).toMatchObject({ code: 'already_spent' })
  })

  it('is done by one of three processes', async () => {
    const forwarded: Approval[] = []
    const replicas = Array.from({ length: 3 }, () => world.openReplica({ timing: TIMING }))
    await Promise.all(replicas.map((replica) => replica.start({ revive, resume: gateOf(replica, forwarded) })))
    const [one] = replicas
    if (!one) throw new Error('there are three')
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const principal = agent(`d3-${index}`)
        const call = makeCall({ principal, isDetached: true })
        const approval = await hold(one.queue, call)
        await one.queue.vote(ballot(approval, person('rita')))
        const own = await one.queue.ownCall(principal, call.id, { waitMs: 20_000, gone: NEVER })
        expect(own?.outcome).toBe('forwarded')
        return approval.id
      }),
    )
    expect(forwarded.map((approval) => approval.id).toSorted()).toEqual(ids.toSorted())
  })

  it('is taken over from a process that died before the spend, and left alone after it', async () => {
    const opener = world.openReplica()
    const principals = [agent('d4-before'), agent('d4-after')]
    const calls = principals.map((principal) => makeCall({ principal, isDetached: true }))
    const [before, after] = await Promise.all(calls.map((call) => hold(opener.queue, call)))
    const [, second] = calls
    if (!before || !after || !second) throw new Error('there are two')
    for (const approval of [before, after]) await opener.queue.vote(ballot(approval, person('rita')))
    await world.store.database.query(
      `UPDATE approval SET lease_by = 'dead', lease_until = clock_timestamp() + interval '200 ms' WHERE id = ANY($1)`,
      [[before.id, after.id]],
    )
    granted(await opener.queue.spend(after, second, { verdict: verdict(), digest: second.sealed.digest }))
    const forwarded: Approval[] = []
    const replica = world.openReplica({ timing: TIMING })
    await replica.start({ revive, resume: gateOf(replica, forwarded) })
    const own = await replica.queue.ownCall(agent('d4-before'), before.id, { waitMs: 20_000, gone: NEVER })
    expect(own?.outcome).toBe('forwarded')
    expect(forwarded.map((approval) => approval.id)).toEqual([before.id])
  })

  it('keeps its lease while it works, and tries again when it failed before the spend', async () => {
    const replica = world.openReplica({ timing: TIMING })
    const other = world.openReplica({ timing: TIMING })
    const forwarded: Approval[] = []
    const spend = gateOf(replica, forwarded)
    let attempts = 0
    const resume = async (call: Exchange, approval: Approval) => {
      attempts += 1
      if (attempts === 1) throw new Error('policy could not be read')
      await new Promise((resolve) => setTimeout(resolve, 700))
      return spend(call, approval)
    }
    await replica.start({ revive, resume })
    const principal = agent('d5')
    const call = makeCall({ principal, isDetached: true })
    const approval = await hold(replica.queue, call)
    await replica.queue.vote(ballot(approval, person('rita')))
    while (attempts < 2) await new Promise((resolve) => setTimeout(resolve, 10))
    let isTaken = false
    await other.start({
      revive,
      resume: async () => {
        isTaken = true
        return { name: 'refused' }
      },
    })
    await replica.queue.ownCall(principal, call.id, { waitMs: 20_000, gone: NEVER })
    expect(forwarded).toHaveLength(1)
    expect(isTaken).toBe(false)
  })

  it('lets a call give back what it holds, also one that failed', async () => {
    const replica = world.openReplica({ timing: TIMING })
    const spend = gateOf(replica, [])
    const ended: number[] = []
    let revived = 0
    await replica.start({
      async revive(approval, stored) {
        revived += 1
        const nth = revived
        return { ...(await revive(approval, stored)), end: () => void ended.push(nth) }
      },
      async resume(call, approval) {
        if (revived === 1) throw new Error('policy could not be read')
        // Not before it is over.
        expect(ended).toEqual([1])
        return spend(call, approval)
      },
    })
    const principal = agent('d5-holds')
    const approval = await hold(replica.queue, makeCall({ principal, isDetached: true }))
    await replica.queue.vote(ballot(approval, person('rita')))
    const own = await replica.queue.ownCall(principal, approval.callId, { waitMs: 20_000, gone: NEVER })
    expect(own?.outcome).toBe('forwarded')
    await expect.poll(() => ended).toEqual([1, 2])
  })

  it('withdraws a call that cannot be revived', async () => {
    const replica = world.openReplica({ timing: TIMING })
    await replica.start({ revive: async () => null })
    const principal = agent('d6')
    const call = makeCall({ principal, isDetached: true })
    const approval = await hold(replica.queue, call)
    await replica.queue.vote(ballot(approval, person('rita')))
    const own = await replica.queue.ownCall(principal, call.id, { waitMs: 20_000, gone: NEVER })
    expect(own?.approval).toMatchObject({ state: 'withdrawn', reason: 'call_changed' })
    expect(own?.response).toBeNull()
  })

  it('shows an agent only its own calls', async () => {
    const { queue } = world.openReplica()
    const principal = agent('d7')
    const call = makeCall({ principal })
    const approval = await hold(queue, call, verdict([requirement()]))
    expect(await queue.ownCall(principal, call.id, null)).toMatchObject({
      approval: { id: approval.id },
      outcome: null,
    })
    expect(await queue.ownCall(principal, approval.id, null)).toMatchObject({ approval: { id: approval.id } })
    expect(await queue.ownCall(agent('d7-other'), call.id, null)).toBeNull()
    expect(await queue.ownCall(principal, 'nothing', null)).toBeNull()
  })
})
