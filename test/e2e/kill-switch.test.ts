import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import WebSocket, { WebSocketServer } from 'ws'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { countersign, type Replica } from './replica.ts'
import { problemOf, startWorld, type World } from './world.ts'

const AGENT = 'support-agent'
const POLICY = `
name: billing
rules:
  - { name: reads, upstreams: [billing], verbs: [GET, UPGRADE], effect: allow }
  - name: refunds
    upstreams: [billing]
    verbs: [POST]
    effect: hold
    approval: { reviewers: ["group:finance"] }
`
/** Within one second everywhere; what the test itself takes to look is added. */
const WITHIN_MS = 1_500

let store: TestDatabase
let world: World
let replicas: readonly Replica[]
let upstream: Awaited<ReturnType<typeof startStreams>>

beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  upstream = await startStreams()
  const config = {
    upstreams: [{ name: 'billing', protocol: 'http', url: upstream.url }],
    people: [
      {
        issuer: world.issuer,
        name: 'idp',
        audience: 'countersign-console',
        client_id: 'countersign-console',
        authorized_parties: ['countersign-console'],
        groups: { claim: 'groups' },
        roles: { operator: ['group:sre'] },
      },
    ],
  }
  replicas = [await world.start({ config }), await world.start({ config }), await world.start({ config })]
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  upstream?.close()
  await store?.close()
})

/** An upstream whose answers never end: events, a download that trickles, a WebSocket; and one that does. */
async function startStreams() {
  const server = http.createServer((request, response) => {
    if (request.url === '/quick') return void response.end('done')
    const type = request.url === '/events' ? 'text/event-stream' : 'application/octet-stream'
    response.writeHead(200, { 'content-type': type, ...(request.url === '/file' && { 'content-length': 1e9 }) })
    const drip = setInterval(() => response.write('data: more\n\n'), 50)
    response.on('close', () => clearInterval(drip))
  })
  const sockets = new WebSocketServer({ server })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    // A TCP server that listens has an address with a port.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      for (const socket of sockets.clients) socket.terminate()
      server.closeAllConnections()
      server.close()
    },
  }
}

/** A stream that has begun; `ended` says when it was over, however that came. */
async function openStream(replica: Replica, path: string): Promise<{ ended: Promise<number> }> {
  const response = await world.call(replica, path, { method: 'GET' })
  const reader = response.body?.getReader() ?? expect.fail('no body')
  await reader.read()
  async function drain(): Promise<number> {
    try {
      while (!(await reader.read()).done);
    } catch {
      // Cut in the middle: what is tested.
    }
    return Date.now()
  }
  return { ended: drain() }
}

async function openSocket(replica: Replica): Promise<{ ended: Promise<number> }> {
  const headers = { authorization: `Bearer ${await world.agentToken()}` }
  const socket = new WebSocket(`${replica.url.replace('http', 'ws')}/billing/live`, { headers })
  socket.on('error', () => undefined)
  await once(socket, 'open')
  return { ended: once(socket, 'close').then(() => Date.now()) }
}

async function turn(replica: Replica, way: 'suspend' | 'resume', by: string, groups: readonly string[]) {
  const response = await fetch(`${replica.control}/v1/agents/${way}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await world.personToken(by, groups)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ issuer: world.issuer, subject: AGENT, reason: 'it deletes what it should not' }),
  })
  return { status: response.status, json: (await response.json()) as Record<string, unknown> }
}

const [a, b, c] = [0, 1, 2].map((index) => () => replicas[index] ?? expect.fail('no such replica'))
if (!a || !b || !c) throw new Error('three replicas')

describe('an agent that is suspended, with three gateways', () => {
  it('is stopped everywhere within a second, whatever it was doing, and goes on once resumed', async () => {
    const held = world.call(b(), '/refunds/held')
    const pending = await world.approvalOf('/refunds/held')
    const approved = await world.abandon(c(), '/refunds/approved')
    await world.approve(a(), approved)
    const streams = await Promise.all([
      openStream(a(), '/events'),
      openStream(b(), '/events'),
      openStream(b(), '/file'),
      openStream(c(), '/file'),
      openSocket(a()),
      openSocket(c()),
    ])

    const suspended = await turn(a(), 'suspend', 'rita', ['finance'])
    const at = Date.now()
    expect(suspended).toMatchObject({ status: 200, json: { changed: true, agent: { subject: AGENT } } })

    const fresh = await Promise.all(replicas.map((one) => world.call(one, '/quick', { method: 'GET' }).then(problemOf)))
    expect(Date.now() - at).toBeLessThan(WITHIN_MS)
    for (const answer of fresh) expect(answer).toMatchObject({ status: 403, code: 'suspended' })
    expect(await problemOf(await held)).toMatchObject({ status: 403, code: 'suspended', approval: pending })
    const ends = await Promise.all(streams.map(({ ended }) => ended))
    for (const end of ends) expect(end - at).toBeLessThan(WITHIN_MS)
    expect(Date.now() - at).toBeLessThan(2 * WITHIN_MS)

    for (const replica of replicas) {
      const retry = await problemOf(await world.call(replica, '/refunds/approved', { headers: { prefer: 'wait=0' } }))
      expect(retry).toMatchObject({ status: 403, code: 'suspended' })
    }
    const { rows } = await world.admin.query(
      'SELECT state, reason FROM countersign.approval WHERE id = ANY($1) ORDER BY id',
      [[pending, approved]],
    )
    expect(rows).toEqual([
      { state: 'withdrawn', reason: 'suspended' },
      { state: 'withdrawn', reason: 'suspended' },
    ])
    expect(await world.vote(b(), approved, { as: 'fiona' })).toMatchObject({ status: 409 })

    // The owner of the agent, and somebody without the role.
    expect(await turn(b(), 'resume', 'olivia', ['sre'])).toMatchObject({ status: 403, json: { code: 'own_side' } })
    expect(await turn(b(), 'resume', 'rita', ['finance'])).toMatchObject({ status: 403, json: { code: 'forbidden' } })
    expect((await world.call(c(), '/quick', { method: 'GET' })).status).toBe(403)

    expect(await turn(b(), 'resume', 'otto', ['sre'])).toMatchObject({ status: 200, json: { changed: true } })
    for (const replica of replicas) {
      const quick = async () => (await world.call(replica, '/quick', { method: 'GET' })).status
      await expect.poll(quick, { timeout: WITHIN_MS }).toBe(200)
    }
    // What was approved before is gone: it is asked again.
    const again = world.call(a(), '/refunds/approved')
    await world.approve(b(), await world.approvalOf('/refunds/approved'))
    expect((await again).status).toBe(200)
  })

  it('is in the log, which verifies', async () => {
    const { rows } = await world.admin.query(
      `SELECT kind, subject, reviewer FROM countersign.audit_log WHERE kind LIKE 'agent\\_%' ORDER BY seq`,
    )
    expect(rows).toEqual([
      { kind: 'agent_suspended', subject: AGENT, reviewer: `${world.issuer}|rita` },
      { kind: 'agent_resumed', subject: AGENT, reviewer: `${world.issuer}|otto` },
    ])
    const { configFile } = await world.prepare()
    const verified = await countersign('audit', 'verify', '--config', configFile)
    expect([verified.code, verified.err]).toEqual([0, ''])
  })
})
