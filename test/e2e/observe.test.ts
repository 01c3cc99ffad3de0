import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import type { Replica } from './replica.ts'
import { problemOf, startWorld, type World } from './world.ts'

const MAX_BODY = 1024 * 1024
const POLICY = `
name: billing
rules:
  - { name: reads, upstreams: [billing], verbs: [GET], effect: allow }
  - { name: small, upstreams: [billing], verbs: [POST], when: action.facts.body.amount < 100, effect: allow }
  - { name: large, upstreams: [billing], verbs: [PUT], effect: hold, approval: { reviewers: ["group:finance"] } }
`

let store: TestDatabase
let world: World
let replica: Replica

beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  const upstream = { name: 'billing', protocol: 'http', url: world.upstream.url, mode: 'observe' }
  replica = await world.start({ config: { upstreams: [{ ...upstream, max_body: '1MiB' }] } })
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await store.close()
})

interface Said {
  readonly effect: string
  readonly detail?: { readonly observed?: string; readonly basis?: string; readonly code?: string }
}

/** What the audit log says was judged of a call. */
async function judgedOf(response: Response): Promise<Said> {
  const row = await world.until<{ effect: string; body: Buffer }>(
    `SELECT effect, body FROM countersign.audit_log WHERE kind = 'intent' AND call_id = $1`,
    [response.headers.get('countersign-call')],
  )
  const { detail } = JSON.parse(row.body.toString()) as { detail?: Said['detail'] }
  return { effect: row.effect, ...(detail && { detail }) }
}

describe('an upstream that is only observed', () => {
  it.each([
    ['what no rule allows', '/denied', { method: 'DELETE' }, { observed: 'deny', basis: 'no_rule' }],
    ['what a rule holds', '/held', { method: 'PUT' }, { observed: 'hold' }],
    [
      'a body of a type that no rule can read',
      '/bytes',
      { body: '\u0001\u0002', headers: { 'content-type': 'application/octet-stream' } },
      { observed: 'deny', basis: 'unreadable' },
    ],
    [
      'a compressed body that a rule has to read',
      '/gzip',
      { body: 'not really', headers: { 'content-encoding': 'gzip' } },
      { observed: 'deny', basis: 'unreadable' },
    ],
    [
      'a body larger than a rule may read',
      '/large',
      { body: JSON.stringify('x'.repeat(MAX_BODY)) },
      { observed: 'deny', basis: 'unreadable' },
    ],
  ])('forwards, and records %s', async (_, path, how: Parameters<World['call']>[2], detail) => {
    const response = await world.call(replica, path, how)
    expect(response.status).toBe(200)
    const [arrived] = world.upstream.received().filter((one) => one.path === path)
    expect(arrived?.body).toBe(how?.body ?? '{"amount":500}')
    expect(await judgedOf(response)).toMatchObject({ effect: 'allow', detail })
  })

  it('records nothing beside for what policy allows', async () => {
    const response = await world.call(replica, '/small', { body: '{"amount":5}' })
    expect(response.status).toBe(200)
    expect((await judgedOf(response)).detail?.observed).toBeUndefined()
  })

  it.each([
    ['that two servers could read differently', { body: '{"amount":1,"amount":500}' }, 400, 'malformed'],
    ['without a token that is known here', { token: 'nobody' }, 401, 'unauthenticated'],
  ])('refuses a call %s', async (_, how, status, code) => {
    expect(await problemOf(await world.call(replica, '/refused', how))).toMatchObject({ status, code })
    expect(world.arrivals('/refused')).toBe(0)
  })

  it('refuses a body that proves too large only while it is read', async () => {
    const pieces = new ReadableStream({
      start(controller) {
        for (let sent = 0; sent <= MAX_BODY; sent += 65_536) controller.enqueue(Buffer.alloc(65_536, 0x20))
        controller.close()
      },
    })
    const response = await fetch(`${replica.url}/billing/chunked`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await world.agentToken()}`, 'content-type': 'application/json' },
      body: pieces,
      duplex: 'half',
    })
    expect(await problemOf(response)).toMatchObject({ status: 413, code: 'too_large' })
    expect(world.arrivals('/chunked')).toBe(0)
  })

  it('refuses whoever is suspended', async () => {
    await world.admin.query('SELECT * FROM countersign.suspend_agent($1, $2, $3, $4, $5)', [
      world.issuer,
      'runs-wild',
      world.issuer,
      'finn',
      'a test',
    ])
    await expect
      .poll(async () => problemOf(await world.call(replica, '/wild', { token: await world.agentToken('runs-wild') })))
      .toMatchObject({ status: 403, code: 'suspended' })
  })
})
