import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Principal } from '../../src/domain/principal.ts'
import { agent, ballot, codeOf, makeCall, person } from './parts.ts'
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
