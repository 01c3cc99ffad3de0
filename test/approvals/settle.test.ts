import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withdrawAllWithin } from '../../src/approvals/end.ts'
import { refuseFor } from '../../src/approvals/refusals.ts'
import { approvalOf, readHeld } from '../../src/approvals/store.ts'
import { refuse } from '../../src/domain/refusal.ts'
import type { Database } from '../../src/platform/database.ts'
import { agent, ballot, codeOf, granted, judged, makeCall, person, requirement, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

describe('waiting for a decision', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())

  it('hears of a decision on another replica at once', async () => {
    const here = world.openReplica({ timing: { pollMs: 60_000 } })
    const there = world.openReplica()
    await here.start()
    const call = makeCall({ principal: agent('w1'), waitMs: 20_000 })
    const approval = await hold(here.queue, call)
    const settled = here.queue.settle(approval, call)
    await there.queue.vote(ballot(approval, person('rita')))
    expect(granted(await settled).state).toBe('approved')
  })

  it('finds a decision by itself when every notification is lost', async () => {
    const here = world.openReplica({ timing: { pollMs: 50 }, through: deaf })
    const there = world.openReplica()
    await here.start()
    const call = makeCall({ principal: agent('w2'), waitMs: 20_000 })
    const approval = await hold(here.queue, call)
    const settled = here.queue.settle(approval, call)
    await there.queue.vote(ballot(approval, person('rita')))
    expect(granted(await settled).state).toBe('approved')
  })

  it('does not miss a decision from before the wait', async () => {
    const { queue } = world.openReplica({ timing: { pollMs: 60_000 } })
    const call = makeCall({ principal: agent('w3'), waitMs: 20_000 })
    const approval = await hold(queue, call)
    await queue.vote(ballot(approval, person('rita')))
    expect(granted(await queue.settle(approval, call)).state).toBe('approved')
  })

  it('lets a retry that will not wait use what was approved meanwhile', async () => {
    const { queue } = world.openReplica({ timing: { pollMs: 60_000 }, through: slowToLook })
    const call = makeCall({ principal: agent('w3b'), waitMs: 0 })
    const approval = await hold(queue, call)
    expect(codeOf(await queue.settle(approval, call))).toBe('approval_pending')
    await queue.vote(ballot(approval, person('rita')))
    const joined = await hold(queue, call)
    expect(joined.id).toBe(approval.id)
    expect(granted(await queue.settle(joined, call)).state).toBe('approved')
  })

  it('tells the reason of a denial', async () => {
    const { queue } = world.openReplica()
    const call = makeCall({ principal: agent('w4'), waitMs: 20_000 })
    const approval = await hold(queue, call)
    const settled = queue.settle(approval, call)
    await queue.vote(ballot(approval, person('rita'), { decision: 'deny', reason: 'Ask Olga.' }))
    expect(await settled).toMatchObject({ code: 'not_approved', detail: expect.stringContaining('Ask Olga.') })
  })

  it('ends with the patience of the client, and keeps the approval', async () => {
    const { queue } = world.openReplica()
    const call = makeCall({ principal: agent('w5'), waitMs: 30 })
    const approval = await hold(queue, call)
    const settled = await queue.settle(approval, call)
    expect(settled).toMatchObject({ code: 'approval_pending', approval: approval.id })
    expect(settled).toHaveProperty(
      'detail',
      `Not executed. Waiting for approval ${approval.id}. Repeat the call unchanged.`,
    )
    expect(await world.stateOf(approval.id)).toBe('pending')
  })

  it('adds what the deciding rule tells the agent, unless somebody altered the approval', async () => {
    const { queue, database } = world.openReplica()
    const call = makeCall({ principal: agent('w5b'), waitMs: 30 })
    const rules = ['silent', 'first', 'second'].map((rule) => ({ policy: 'billing', rule }))
    const messages = [null, 'Refunds need finance.', 'And a manager.']
    const of = verdict(rules.map((rule, at) => requirement({ rule, message: messages[at] ?? null })))
    const approval = await hold(queue, call, of)
    const waiting = `Not executed. Waiting for approval ${approval.id}. Repeat the call unchanged.`
    expect(await queue.settle(approval, call)).toHaveProperty('detail', `${waiting} Refunds need finance.`)
    const held = await readHeld(database, world.keys, { id: approval.id })
    if (!held) throw new Error('it is not there')
    expect(refuseFor(approvalOf(held)).detail).toBe(`${waiting} Refunds need finance.`)
    expect(refuseFor(approvalOf({ ...held, isGenuine: false })).detail).toBe(waiting)
  })

  it('expires an approval whose time is over while somebody waits', async () => {
    const { queue } = world.openReplica({ options: { expires: 200 }, timing: { pollMs: 20 } })
    const call = makeCall({ principal: agent('w6'), waitMs: 20_000 })
    const approval = await hold(queue, call)
    expect(codeOf(await queue.settle(approval, call))).toBe('expired')
    expect((await world.entriesOf(approval.id)).map((entry) => entry.kind)).toEqual(['held', 'decided'])
  })

  it('keeps the approval when the client hangs up', async () => {
    const { queue } = world.openReplica()
    const gone = new AbortController()
    const call = makeCall({ principal: agent('w7'), waitMs: 20_000, gone: gone.signal })
    const approval = await hold(queue, call)
    const settled = queue.settle(approval, call)
    gone.abort()
    expect(codeOf(await settled)).toBe('approval_pending')
    expect(await world.stateOf(approval.id)).toBe('pending')
  })

  it('withdraws the approval when the client of a protocol with a cancel leaves', async () => {
    const { queue } = world.openReplica()
    const gone = new AbortController()
    const call = makeCall({ principal: agent('w8'), waitMs: 20_000, gone: gone.signal, whenGone: 'withdraw' })
    const approval = await hold(queue, call)
    const settled = queue.settle(approval, call)
    gone.abort()
    expect(codeOf(await settled)).toBe('withdrawn')
    expect(await queue.find(approval.id)).toMatchObject({ approval: { reason: 'client_cancelled' } })
  })

  it('withdraws with the end of the wait an approval that nobody can come back for', async () => {
    const { queue } = world.openReplica()
    const call = makeCall({ principal: agent('w8b'), waitMs: 30, whenGone: 'withdraw' })
    const approval = await hold(queue, call)
    expect(codeOf(await queue.settle(approval, call))).toBe('withdrawn')
    expect(await world.stateOf(approval.id)).toBe('withdrawn')
  })

  it('sends everybody away when the process drains', async () => {
    const replica = world.openReplica()
    const calls = Array.from({ length: 20 }, (_, index) =>
      makeCall({ principal: agent(`w9-${index}`), waitMs: 20_000 }),
    )
    const settled = await Promise.all(
      calls.map(async (call) => ({ approval: await hold(replica.queue, call), call })),
    ).then((held) => {
      const waits = held.map(({ approval, call }) => replica.queue.settle(approval, call))
      replica.draining.abort()
      return Promise.all(waits)
    })
    expect(new Set(settled.map(codeOf))).toEqual(new Set(['draining']))
  })

  it('tells a waiter that came second that the approval is used', async () => {
    const { queue } = world.openReplica()
    const principal = agent('w10')
    const [one, two] = [makeCall({ principal }), makeCall({ principal })]
    const approval = await hold(queue, one)
    await hold(queue, two)
    const settled = [queue.settle(approval, one), queue.settle(approval, two)]
    await queue.vote(ballot(approval, person('rita')))
    await Promise.all(settled)
    granted(await queue.spend(approval, two, { verdict: verdict(), digest: two.sealed.digest }))
    expect(codeOf(await queue.spend(approval, one, { verdict: verdict(), digest: one.sealed.digest }))).toBe(
      'already_spent',
    )
    expect(codeOf(await queue.settle(approval, one))).toBe('already_spent')
  })

  it('keeps an approval that could not be judged again just now', async () => {
    const { queue } = world.openReplica()
    const call = makeCall({ principal: agent('w-unjudged') })
    const approval = await hold(queue, call)
    const unjudged = {
      effect: 'deny',
      verdict: null,
      actions: null,
      refusal: refuse('unavailable', 'Not executed. The gateway has no policy to decide by; try again.'),
    } as const
    expect(await queue.withdraw(approval, unjudged)).toMatchObject({ code: 'unavailable', approval: approval.id })
    expect((await queue.find(approval.id))?.approval.state).toBe('pending')
  })

  it('withdraws when policy denies by now, and says so', async () => {
    const { queue } = world.openReplica()
    const call = makeCall({ principal: agent('w11') })
    const approval = await hold(queue, call)
    await queue.vote(ballot(approval, person('rita')))
    const refusal = { refused: true, code: 'denied', detail: 'Not executed.' } as const
    const denied = { effect: 'deny', verdict: null, actions: null, refusal } as const
    expect(await queue.withdraw(approval, denied)).toMatchObject({ code: 'withdrawn', approval: approval.id })
    expect(await queue.find(approval.id)).toMatchObject({ approval: { state: 'withdrawn', reason: 'policy_changed' } })
  })

  it('withdraws all that was opened before a failover', async () => {
    const { queue } = world.openReplica()
    const before = await hold(queue, makeCall({ principal: agent('w12') }))
    const { rows } = await world.store.database.query<{ now: Date }>('SELECT clock_timestamp() AS now')
    const after = await hold(queue, makeCall({ principal: agent('w13') }))
    await queue.withdrawAll({ reason: 'store_failover', openedBefore: rows[0]?.now ?? new Date() })
    expect(await world.stateOf(before.id)).toBe('withdrawn')
    expect(await world.stateOf(after.id)).toBe('pending')
  })

  it('withdraws all in a store that knows no grants yet', async () => {
    const older = await openWorld({ schema: 7 })
    try {
      const { queue, database } = older.openReplica()
      const approval = await hold(queue, makeCall())
      await database.transaction(async (tx) => older.audit.within(tx, await withdrawAllWithin(tx)))
      expect(await older.stateOf(approval.id)).toBe('withdrawn')
      expect(await queue.withdrawAll({ reason: 'store_failover', openedBefore: new Date() })).toBe(0)
    } finally {
      await older.close()
    }
  })

  it("withdraws all that is open in an operator's transaction, with an entry for each", async () => {
    const { queue } = world.openReplica()
    const approval = await hold(queue, makeCall({ principal: agent('w15') }))
    await world.store.database.transaction(async (tx) => {
      await world.audit.within(tx, await withdrawAllWithin(tx))
    })
    expect(await queue.find(approval.id)).toMatchObject({ approval: { state: 'withdrawn', reason: 'store_failover' } })
    expect((await world.entriesOf(approval.id)).map((entry) => entry.kind)).toEqual(['held', 'decided'])
  })

  it('holds no call that no rule holds', async () => {
    const { queue } = world.openReplica()
    const call = makeCall({ principal: agent('w14') })
    await expect(queue.hold(call, judged(verdict([])), call.sealed)).rejects.toThrow('no rule holds')
  })
})

/** A store whose notifications never arrive. */
function deaf(database: Database): Database {
  return { ...database, listen: async () => {} }
}

/** A store whose answer to what waiters ask comes after a client that does not wait has left. */
function slowToLook(database: Database): Database {
  return {
    ...database,
    async query(sql, params) {
      if (sql.includes('AS overdue')) await new Promise((resolve) => setTimeout(resolve, 50))
      return database.query(sql, params)
    },
  }
}
