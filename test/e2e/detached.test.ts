import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { compareRecords } from './agree.ts'
import type { Replica } from './replica.ts'
import { type StoreProxy, startStoreProxy } from './store-proxy.ts'
import { startWorld, type World } from './world.ts'

const PREFER = { prefer: 'respond-async' }
// As the log has it.
const ERROR = 50

let store: TestDatabase
let world: World
let proxy: StoreProxy
let a: Replica
let b: Replica
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  proxy = await startStoreProxy(store.url)
  a = await world.start({ storeUrl: proxy.url })
  b = await world.start()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await proxy?.close()
  await store?.close()
})

async function fetchCall(replica: Replica, location: string, waitS: number): Promise<Response> {
  const authorization = `Bearer ${await world.agentToken()}`
  return fetch(`${replica.url}${location}?wait=${waitS}`, { headers: { authorization } })
}

describe('a call whose client does not wait', () => {
  it('is carried out on approval, once, and its response is kept for it', async () => {
    const accepted = await world.call(a, '/refunds/later', { headers: PREFER })
    expect(accepted.status).toBe(202)
    expect(accepted.headers.get('preference-applied')).toBe('respond-async')
    expect(accepted.headers.get('retry-after')).toMatch(/^\d+$/)
    const location = accepted.headers.get('location') ?? ''
    expect(location).toMatch(/^\/\.countersign\/calls\/[0-9a-f-]{36}$/)
    expect((await fetchCall(b, location, 0)).status).toBe(202)

    await world.approve(b, await world.approvalOf('/refunds/later'))
    const response = await fetchCall(b, location, 20)
    expect([response.status, await response.json()]).toEqual([200, { done: true }])
    const again = await fetchCall(a, location, 20)
    expect([again.status, await again.json()]).toEqual([200, { done: true }])
    expect(world.arrivals('/refunds/later')).toBe(1)
  })

  it('may be made many times at once, also where only some do not wait', async () => {
    const path = '/refunds/all-at-once'
    // Held as one that waits, so that those that do not wait change it.
    await world.call(b, path, { headers: { prefer: 'wait=0' } })
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        world.call(n % 4 < 2 ? a : b, path, { headers: n % 2 ? PREFER : { prefer: 'wait=0' } }),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 30 }, (_, n) => (n % 2 ? 202 : 403)))
    await world.approve(a, await world.approvalOf(path))
    const response = await fetchCall(a, answers[1]?.headers.get('location') ?? '', 20)
    expect([response.status, await response.json()]).toEqual([200, { done: true }])
    expect(world.arrivals(path)).toBe(1)
    for (const { log } of [a, b]) expect(log.filter(({ level }) => Number(level) >= ERROR)).toEqual([])
  })

  it('is taken over by another gateway when the one that runs it is killed before the spend', {
    timeout: 60_000,
  }, async () => {
    const accepted = await world.call(a, '/refunds/taken-over', { headers: PREFER })
    const location = accepted.headers.get('location') ?? ''
    const id = await world.approvalOf('/refunds/taken-over')
    // The other one must not be the faster.
    b.signal('SIGSTOP')
    const caught = proxy.catchAt('statement', ({ sql }) => /^UPDATE approval SET state = 'spent'/.test(sql))
    await world.approve(a, id)
    await caught.reached(1)
    await a.kill()
    b.signal('SIGCONT')
    expect(world.arrivals('/refunds/taken-over')).toBe(0)
    const response = await fetchCall(b, location, 40)
    expect([response.status, await response.json()]).toEqual([200, { done: true }])
    expect(world.arrivals('/refunds/taken-over')).toBe(1)
    expect(await compareRecords(world.admin, world.upstream.received())).toMatchObject({ contradictions: [] })
  })
})
