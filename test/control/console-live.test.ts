import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import Fastify from 'fastify'
import pino from 'pino'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import type { Caller } from '../../src/control/console/guard.ts'
import { createLive } from '../../src/control/console/live.ts'
import { type Browser, fieldOf } from './browser.ts'
import { type ConsoleWorld, startConsole } from './console-world.ts'

let world: ConsoleWorld
const streams: IncomingMessage[] = []
beforeAll(async () => {
  world = await startConsole(() => [])
})
afterAll(() => world[Symbol.asyncDispose]())
afterEach(async () => {
  for (const stream of streams.splice(0)) stream.destroy()
  await vi.waitFor(() => expect(world.watching()).toBe(0))
})

/** Opens the stream of changes with the cookie of a browser, as a page would. */
async function listen(browser: Browser, base = world.base) {
  const cookie = [...browser.cookies(world.base)].map(([name, value]) => `${name}=${value}`).join('; ')
  const request = get(`${base}/live`, { headers: { cookie, 'sec-fetch-dest': 'empty' } })
  // It answers with a response.
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  streams.push(response)
  response.setEncoding('utf8')
  response.on('error', () => undefined)
  let text = ''
  response.on('data', (chunk: string) => {
    text += chunk
  })
  return {
    response,
    heard: (what: string) => vi.waitFor(() => expect(text).toContain(what), { interval: 10, timeout: 5_000 }),
    changes: () => text.split('event: change').length - 1,
    ended: once(response, 'end'),
  }
}

it('tells that something has changed, and not what', async () => {
  const { response, heard, changes } = await listen(await world.signIn('finn'))
  expect(response.statusCode).toBe(200)
  expect(response.headers).toMatchObject({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'content-security-policy': expect.stringContaining("default-src 'none'"),
  })
  for (let i = 0; i < 5; i++) world.change()
  await heard('event: change\ndata:\n\n')
  expect(changes()).toBe(1)
})

it('is for nobody who is not signed in', async () => {
  const { response } = await listen(world.newBrowser())
  expect(response.statusCode).toBe(401)
})

it('is bounded for one person, and free again once a page is closed', async () => {
  const [finn, fay] = [await world.signIn('finn'), await world.signIn('fay')]
  const first = await listen(finn)
  for (let i = 1; i < 10; i++) expect((await listen(finn)).response.statusCode).toBe(200)
  // No content: the browser asks no more.
  expect((await listen(finn)).response.statusCode).toBe(204)
  expect((await listen(fay)).response.statusCode).toBe(200)
  first.response.destroy()
  await vi.waitFor(() => expect(world.watching()).toBe(10))
  expect((await listen(finn)).response.statusCode).toBe(200)
})

it('keeps nothing of a browser that left before its session was looked up', async () => {
  let watching = 0
  const live = createLive({
    log: pino({ level: 'silent' }),
    watch: () => {
      watching += 1
      return () => {
        watching -= 1
      }
    },
  })
  const caller = {
    person: { issuer: 'https://idp.example.com', subject: 'finn' },
    isStillIn: async () => true,
  } as Caller
  const app = Fastify()
  const arrived = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<void>()
  app.get('/live', async (request, reply) => {
    arrived.resolve()
    await once(reply.raw, 'close')
    live(request, reply, caller)
    answered.resolve()
    return reply
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  try {
    const request = get(`${url}/live`).on('error', () => undefined)
    await arrived.promise
    request.destroy()
    await answered.promise
    expect(watching).toBe(0)
  } finally {
    await app.close()
  }
})

it('ends when its person signs out, on whichever replica, and tells no more', async () => {
  const finn = await world.signIn('finn')
  const here = await listen(finn)
  const there = await listen(finn, world.second)
  await finn.post(`${world.base}/sign-out`, { csrf: fieldOf(finn.seen.text, 'csrf') })
  world.change()
  await Promise.all([here.ended, there.ended])
  expect([here.changes(), there.changes()]).toEqual([0, 0])
})
