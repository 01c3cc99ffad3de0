import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import type { Replica } from './replica.ts'
import { policyOf, problemOf, startWorld, type World } from './world.ts'

let store: TestDatabase
let world: World
let a: Replica
let b: Replica
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  ;[a, b] = await world.startPair()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

describe('a policy that changes while a call is held', () => {
  it('withdraws what it asks more votes for than were given', async () => {
    const held = world.call(a, '/refunds/changed')
    const id = await world.approvalOf('/refunds/changed')
    await world.writePolicy(policyOf({ quorum: 2 }))
    b.signal('SIGHUP')
    await world.until(`SELECT FROM countersign.policy_set WHERE version = 2`)
    await Promise.all([a, b].map((replica) => expect.poll(() => versionsOf(replica)).toContain(2)))
    await world.approve(b, id)
    expect(await problemOf(await held)).toMatchObject({ status: 403, code: 'withdrawn', approval: id })
    expect(world.arrivals('/refunds/changed')).toBe(0)
    const entry = await world.until(
      `SELECT convert_from(body, 'UTF8')::json -> 'detail' ->> 'cause' AS cause FROM countersign.audit_log
       WHERE approval_id = $1 AND kind = 'decided' ORDER BY seq DESC`,
      [id],
    )
    expect(entry).toEqual({ cause: 'policy_changed' })
  })

  it('stays as it was when what is on disk is no policy', async () => {
    await world.writePolicy('name: billing\nrules:\n  - { name: all, effect: alow }\n')
    a.signal('SIGHUP')
    await a.logged('a policy set was refused')
    const held = world.call(a, '/refunds/kept')
    const id = await world.approvalOf('/refunds/kept')
    await world.approve(a, id, 'finn')
    expect((await world.admin.query('SELECT state FROM countersign.approval WHERE id = $1', [id])).rows).toEqual([
      { state: 'pending' },
    ])
    await world.approve(a, id, 'fay')
    expect((await held).status).toBe(200)
  })
})

describe('a gateway that is told to end', () => {
  it('finishes what is under way, and sends held clients on to another one', async () => {
    world.upstream.manner = 'block'
    const arrival = world.upstream.arrivals(1)
    const underWay = world.call(a, '/customers', { method: 'GET' })
    await arrival
    const held = world.call(a, '/refunds/drained')
    const id = await world.approvalOf('/refunds/drained')

    a.signal('SIGTERM')
    const told = await held
    expect(told.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(await problemOf(told)).toMatchObject({ status: 503, code: 'draining', approval: id })
    world.upstream.release()
    const finished = await underWay
    expect([finished.status, await finished.json()]).toEqual([200, { done: true }])
    expect(await a.ended).toEqual({ code: 0, signal: null })

    await world.approve(b, id, 'finn')
    await world.approve(b, id, 'fay')
    const retry = await world.call(b, '/refunds/drained')
    expect([retry.status, retry.headers.get('countersign-approval')]).toEqual([200, id])
    expect(world.arrivals('/refunds/drained')).toBe(1)
  })

  it('goes on where it was when it starts again, and brings no old policy back', async () => {
    await world.writePolicy(policyOf({ quorum: 1 }))
    const again = await world.start({ after: a })
    expect(await world.readyz(again)).toMatchObject({ status: 200 })
    const { rows } = await world.admin.query('SELECT max(version)::int AS version FROM countersign.policy_set')
    expect(rows).toEqual([{ version: 2 }])
    await again.stop()
  })
})

function versionsOf({ log }: Replica) {
  return log.filter(({ msg }) => msg === 'a policy set is active').map(({ version }) => version)
}
