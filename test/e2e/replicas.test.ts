import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import type { Replica } from './replica.ts'
import { startWorld, type World } from './world.ts'

let store: TestDatabase
let world: World
let a: Replica
let b: Replica
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  const t = Date.now()
  a = await world.start()
  console.log('start', Date.now() - t)
  b = await world.start()
  console.log('start', Date.now() - t)
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

describe('two gateways on one store', () => {
  it('forward a call that one holds once, when it is approved through the other', async () => {
    const held = world.call(a, '/refunds/r-1')
    const id = await world.approvalOf('/refunds/r-1')
    expect(world.upstream.received()).toEqual([])
    await world.approve(b, id)
    const response = await held
    expect(response.status).toBe(200)
    expect(response.headers.get('countersign-approval')).toBe(id)
    expect(world.upstream.received()).toMatchObject([{ path: '/refunds/r-1', assertion: { approval: id } }])
  })
})
