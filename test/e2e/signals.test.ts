import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import type { Replica } from './replica.ts'
import { startWorld, type World } from './world.ts'

/** Longer than a signal may be late that npm passes on. */
const LATER_MS = 1500

let store: TestDatabase
let world: World
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
})
beforeEach(() => {
  world.upstream.manner = 'block'
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

/** A call that its upstream keeps waiting; null if it gets no answer. */
async function begin(replica: Replica): Promise<{ readonly answer: Promise<Response | null> }> {
  const arrival = world.upstream.arrivals(1)
  const answer = world.call(replica, '/customers', { method: 'GET' }).catch(() => null)
  await arrival
  return { answer }
}

it.each(['SIGTERM', 'SIGINT'] as const)('a gateway that npm started drains when npm gets %s', async (signal) => {
  const replica = await world.start({ isByNpm: true })
  const { answer } = await begin(replica)
  replica.signal(signal)
  await replica.logged('draining')
  world.upstream.release()
  expect((await answer)?.status).toBe(200)
  expect((await replica.ended).code).toBe(0)
  await replica.logged('stopped')
})

it('a signal that comes twice at once is one: the terminal sent it, and npm passed it on', async () => {
  const replica = await world.start()
  const { answer } = await begin(replica)
  replica.signal('SIGINT')
  await replica.logged('draining')
  replica.signal('SIGINT')
  await sleep(LATER_MS)
  world.upstream.release()
  expect((await answer)?.status).toBe(200)
  expect(await replica.ended).toEqual({ code: 0, signal: null })
})

it('a second signal ends it at once', async () => {
  const replica = await world.start()
  const { answer } = await begin(replica)
  replica.signal('SIGTERM')
  await replica.logged('draining')
  await sleep(LATER_MS)
  replica.signal('SIGTERM')
  expect(await replica.ended).toEqual({ code: 1, signal: null })
  world.upstream.release()
  expect(await answer).toBeNull()
})
