import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { countersign, type Replica } from './replica.ts'
import { type StoreProxy, startStoreProxy } from './store-proxy.ts'
import { eventually, problemOf, startWorld, type World } from './world.ts'

let store: TestDatabase
let world: World
let proxy: StoreProxy
let gateway: Replica
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  proxy = await startStoreProxy(store.url)
  gateway = await world.start({ storeUrl: proxy.url })
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await proxy?.close()
  await store?.close()
})

describe('a store that cannot be reached', () => {
  it('ends a start with one line that says so', async () => {
    const nowhere = new URL(store.url)
    nowhere.host = '127.0.0.1:1'
    const { configFile } = await world.prepare({ storeUrl: nowhere.href })
    const { code, out, err } = await countersign('serve', '--config', configFile)
    expect(code).not.toBe(0)
    expect(err).toMatch(/^[^\n]*the store is unavailable[^\n]*\n$/)
    expect(out + err).not.toContain(nowhere.password)
  })

  it('has every call refused while the gateway runs, and nothing forwarded, until it is back', async () => {
    const held = world.call(gateway, '/refunds/through')
    const id = await world.approvalOf('/refunds/through')
    proxy.cut()
    for (const [path, method] of [
      ['/customers', 'GET'],
      ['/refunds/outage', 'POST'],
    ] as const) {
      const refused = await world.call(gateway, path, { method })
      expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
      expect(await problemOf(refused)).toMatchObject({ status: 503, code: 'unavailable' })
    }
    expect(await world.readyz(gateway)).toMatchObject({ status: 503 })
    expect(world.upstream.received()).toEqual([])

    proxy.restore()
    await eventually(async () => expect((await world.call(gateway, '/customers', { method: 'GET' })).status).toBe(200))
    await eventually(async () => expect(await world.readyz(gateway)).toMatchObject({ status: 200 }))
    // Who was held when it went is still held, and is heard.
    await world.approve(gateway, id)
    expect((await held).status).toBe(200)
    expect(world.arrivals('/refunds/outage')).toBe(0)
  })

  it('keeps a call from being forwarded whose approval may or may not have been used', async () => {
    const held = world.call(gateway, '/refunds/doubt')
    const id = await world.approvalOf('/refunds/doubt')
    // The commit of the spend is sent, and its answer never comes.
    const caught = proxy.catchAt(
      'answer',
      ({ sql, before }) => sql === 'COMMIT' && before.some((one) => one.includes("SET state = 'spent'")),
    )
    await world.approve(gateway, id)
    await caught.reached(1)
    proxy.cut()
    expect(await problemOf(await held)).toMatchObject({ status: 503, code: 'unavailable' })
    caught.release()
    proxy.restore()
    expect(world.arrivals('/refunds/doubt')).toBe(0)
    expect(await world.approvalOf('/refunds/doubt', 'spent')).toBe(id)
    await eventually(async () => expect(await world.readyz(gateway)).toMatchObject({ status: 200 }))
    // It was used up: whoever wants it done asks again.
    const retry = await problemOf(await world.call(gateway, '/refunds/doubt', { headers: { prefer: 'wait=0' } }))
    expect(retry).toMatchObject({ status: 403, code: 'approval_pending' })
    expect(retry.approval).not.toBe(id)
    expect(world.arrivals('/refunds/doubt')).toBe(0)
  })
})
