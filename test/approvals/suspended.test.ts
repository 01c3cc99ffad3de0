import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Principal } from '../../src/domain/principal.ts'
import { agent, ballot, codeOf, makeCall, person, requirement, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const ISSUER = agent('x').issuer

describe('approvals of those who are suspended', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())

  const suspend = (subject: string) =>
    world.store.database.query(`SELECT suspend_agent($1, $2, $1, 'op', 'test')`, [ISSUER, subject])

  async function opened(principal: Principal) {
    const { queue } = world.openReplica()
    const call = makeCall({ principal })
    return { queue, call, approval: await hold(queue, call) }
  }

  it.each([
    ['the agent', agent('a1'), 'a1'],
    ['the person it acts for', agent('a2', { onBehalfOf: { issuer: ISSUER, subject: 'alice' } }), 'alice'],
    ['an actor before it', agent('a3', { actors: [agent('a3-before')] }), 'a3-before'],
  ])('end with a reason, pending or approved, when it is %s', async (_who, principal, stopped) => {
    const pending = await opened(principal)
    const approved = await opened({ ...principal, client: 'another' })
    const other = await opened(agent(`${stopped}-other`, { owner: { issuer: ISSUER, subject: stopped } }))
    await approved.queue.vote(ballot(approved.approval, person('rita')))
    await suspend(stopped)
    await pending.queue.withdrawSuspended()
    expect(await world.stateOf(pending.approval.id)).toBe('withdrawn')
    expect(await world.stateOf(approved.approval.id)).toBe('withdrawn')
    // An owner is not on the calling side of what they own.
    expect(await world.stateOf(other.approval.id)).toBe('pending')
    const last = (await world.entriesOf(pending.approval.id)).at(-1)
    expect(last).toMatchObject({ kind: 'decided', body: { detail: { state: 'withdrawn', cause: 'suspended' } } })
    const told = await pending.queue.settle({ ...pending.approval, state: 'approved' }, pending.call)
    expect(codeOf(told)).toBe('suspended')
  })

  it('are ended by the sweep of any replica, where nobody did', async () => {
    const { approval } = await opened(agent('a4'))
    const replica = world.openReplica({ timing: { sweepMs: 20 } })
    await suspend('a4')
    await replica.start()
    await expect.poll(() => world.stateOf(approval.id)).toBe('withdrawn')
    await replica.close()
  })
})

describe('approvals that only circuit breakers asked for', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())

  const [asking, barring] = [requirement({ breaker: 'asks' }), requirement({ breaker: 'bars_grant' })]

  async function opened(principal: Principal, what = 'any', asked = asking) {
    const { queue } = world.openReplica()
    const call = makeCall({ principal, what })
    return { queue, call, approval: await hold(queue, call, verdict([asked])) }
  }
  /** As a breaker does it, once it has counted enough. */
  async function trip(subject: string) {
    const { database } = world.store
    await database.query(
      `INSERT INTO breaker_count (breaker, counts, window_ms, issuer, subject, slices, amounts, until)
       VALUES ('p/probing', 'calls', 60000, $1, $2, '{1}', '{5}', now() + interval '1 hour')`,
      [ISSUER, subject],
    )
    await database.query(`SELECT trip_breaker('p/probing', 'calls', 60000, 4, 'hold', $1, $2, 'test')`, [
      ISSUER,
      subject,
    ])
  }
  const resume = (subject: string) => world.store.database.query('SELECT resume_agent($1, $2)', [ISSUER, subject])

  it.each([
    ['the agent', agent('b1'), 'b1'],
    ['the person it acts for', agent('b2', { onBehalfOf: { issuer: ISSUER, subject: 'bob' } }), 'bob'],
    ['an actor before it', agent('b3', { actors: [agent('b3-before')] }), 'b3-before'],
  ])('end once no breaker holds %s any more, and no others do', async (_who, principal, held) => {
    await trip(held)
    const { queue, call, approval } = await opened(principal)
    const approved = await opened(principal, 'approved')
    const ofRule = await opened(principal, 'of a rule', barring)
    await approved.queue.vote(ballot(approved.approval, person('rita')))
    await queue.withdrawLifted()
    expect(await world.stateOf(approval.id)).toBe('pending')
    await resume(held)
    await queue.withdrawLifted()
    expect(await world.stateOf(approval.id)).toBe('withdrawn')
    expect(await world.stateOf(approved.approval.id)).toBe('approved')
    expect(await world.stateOf(ofRule.approval.id)).toBe('pending')
    const last = (await world.entriesOf(approval.id)).at(-1)
    expect(last).toMatchObject({ kind: 'decided', body: { detail: { state: 'withdrawn', cause: 'breaker_lifted' } } })
    const told = await queue.settle({ ...approval, state: 'approved' }, call)
    expect(told).toMatchObject({ code: 'withdrawn', detail: expect.stringMatching(/Repeat the call unchanged\.$/) })
  })

  it('are ended by the sweep of any replica, where nobody did', async () => {
    await trip('b4')
    const { approval } = await opened(agent('b4'))
    const replica = world.openReplica({ timing: { sweepMs: 20 } })
    await resume('b4')
    await replica.start()
    await expect.poll(() => world.stateOf(approval.id)).toBe('withdrawn')
    await replica.close()
  })

  it('do not stop the sweep on the schema of the release before breakers', async () => {
    const older = await openWorld({ schema: 10 })
    const { queue } = older.openReplica()
    await expect(queue.withdrawLifted()).resolves.toBeUndefined()
    await older.close()
  })
})
