import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import WebSocket, { WebSocketServer } from 'ws'
import type { Replica } from '../e2e/replica.ts'
import { eventually, problemOf, startWorld, type World } from '../e2e/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'

/** One agent opens calls that last: streams, connections that were upgraded, calls that wait for people. */

const MOST = 3
const POLICY = `
name: billing
rules:
  - { name: reads, upstreams: [billing], verbs: [GET, UPGRADE], effect: allow }
  - { name: never, upstreams: [billing], verbs: [DELETE], effect: deny }
  - name: refunds
    upstreams: [billing]
    verbs: [POST]
    effect: hold
    approval: { reviewers: ["group:finance"] }
`

let store: TestDatabase
let world: World
let gateway: Replica
const upstream = http.createServer((request, response) => {
  if (request.url === '/broken') return response.destroy()
  if (request.url !== '/events') return response.end('{}')
  return response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
})
const sockets = new WebSocketServer({ server: upstream })
beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const { port } = upstream.address() as AddressInfo // it listens on TCP
  store = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  gateway = await world.start({
    config: {
      upstreams: [{ name: 'billing', protocol: 'http', url: `http://127.0.0.1:${port}` }],
      rate: { open_per_principal: MOST },
    },
  })
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
  for (const client of sockets.clients) client.terminate()
  upstream.closeAllConnections()
  upstream.close()
})

/** An agent that has called nothing before. */
async function newAgent(name: string) {
  const token = await world.agentToken(name)
  const authorization = `Bearer ${token}`
  const call = (path: string, how: Parameters<World['call']>[2] = {}) => world.call(gateway, path, { ...how, token })
  const get = (path: string, signal?: AbortSignal) => call(path, { method: 'GET', ...(signal && { signal }) })

  async function openStream(): Promise<() => Promise<unknown>> {
    const leaving = new AbortController()
    const response = await get('/events', leaving.signal)
    expect(response.status).toBe(200)
    // As long as somebody may leave it, the response is not collected, which would end it.
    return () => {
      leaving.abort()
      return response.text().catch(() => null)
    }
  }

  return {
    authorization,
    call,
    get,
    openStream,
    async openSocket(): Promise<WebSocket> {
      const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/billing/ws`, { headers: { authorization } })
      await once(socket, 'open')
      return socket
    },
    /** As many streams as there may be, and not one more: whatever was there before has ended, and once only. */
    async expectAllRoom(): Promise<void> {
      const leave: (() => Promise<unknown>)[] = []
      while (leave.length < MOST) leave.push(await eventually(openStream))
      expect((await get('/customers')).status).toBe(429)
      await Promise.all(leave.map((one) => one()))
    },
  }
}

describe('calls of one agent that last', () => {
  it('are no more at once than it may have, whatever they are', async () => {
    const agent = await newAgent('opener')
    const leave = await agent.openStream()
    const socket = await agent.openSocket()
    const held = agent.call('/refunds/1')
    const id = await world.approvalOf('/refunds/1')

    const refused = await agent.get('/customers')
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(await problemOf(refused)).toMatchObject({
      status: 429,
      code: 'rate_limited',
      detail: expect.stringMatching(/^Not executed\. This agent has too many calls under way; /),
    })
    expect((await (await newAgent('bystander')).get('/customers')).status).toBe(200)

    await world.approve(gateway, id)
    expect((await held).status).toBe(200)
    await eventually(async () => expect((await agent.get('/customers')).status).toBe(200))
    socket.close()
    await once(socket, 'close')
    await leave()
    await agent.expectAllRoom()
  })

  it.each<[string, (agent: Awaited<ReturnType<typeof newAgent>>) => Promise<unknown>]>([
    ['broken', async (agent) => expect((await agent.get('/broken')).status).toBe(502)],
    ['denied', async (agent) => expect((await agent.call('/x', { method: 'DELETE' })).status).toBe(403)],
    ['malformed', async (agent) => expect((await agent.call('/x', { body: '{"a":1,"a":2}' })).status).toBe(400)],
    ['given up at once', (agent) => agent.get('/customers', AbortSignal.timeout(1)).catch(() => null)],
    ['given up while streaming', async (agent) => (await agent.openStream())()],
    [
      'given up while held',
      async (agent) => {
        const leaving = new AbortController()
        const left = agent.call('/refunds/left', { signal: leaving.signal }).catch(() => null)
        await world.approvalOf('/refunds/left')
        leaving.abort()
        await left
      },
    ],
    [
      'upgraded and closed upstream',
      async (agent) => {
        const socket = await agent.openSocket()
        for (const client of sockets.clients) client.terminate()
        await once(socket, 'close')
      },
    ],
    [
      'answered later',
      async (agent) => {
        const response = await agent.call('/refunds/later', { headers: { prefer: 'respond-async' } })
        expect(response.status).toBe(202)
      },
    ],
  ])('give their place back once: %s', async (name, carryOut) => {
    const agent = await newAgent(name)
    await carryOut(agent)
    await agent.expectAllRoom()
  })

  it('may be requests that ask after a held call', async () => {
    const agent = await newAgent('asker')
    const accepted = await agent.call('/refunds/asked', { headers: { prefer: 'respond-async' } })
    const url = `${gateway.url}${accepted.headers.get('location')}?wait=30`
    const ask = (signal: AbortSignal) => fetch(url, { headers: { authorization: agent.authorization }, signal })
    const leaving = new AbortController()
    const waiting = Array.from({ length: MOST }, async () => {
      // The call that was answered 202 may have its place for a moment yet.
      while ((await ask(leaving.signal)).status === 429);
    })
    const left = Promise.allSettled(waiting)
    await eventually(async () => expect((await agent.get('/customers')).status).toBe(429))
    expect((await ask(AbortSignal.timeout(5000))).status).toBe(429)
    leaving.abort()
    await left
    await agent.expectAllRoom()
  })
})
