import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import type { Replica } from './replica.ts'
import { startWorld, type World } from './world.ts'

const POLICY = `
name: orders
rules:
  - { name: sessions, upstreams: [orders], verbs: [begin, commit, rollback, show], effect: allow }
  - { name: reads, upstreams: [orders], verbs: [select], when: "!action.facts.writes", effect: allow }
  - name: changes
    upstreams: [orders]
    verbs: [update, delete]
    effect: hold
    approval: { reviewers: ["group:finance"] }
    impact: { sample: 1 }
  - name: never-many
    upstreams: [orders]
    verbs: [update]
    resources: [public.stock]
    when: action.facts.rows > 2
    effect: deny
    message: At most two at a time.
  - name: customers
    upstreams: [orders]
    verbs: [select]
    resources: [public.customers]
    effect: allow
    mask: [public.customers.email]
    limits: [3 rows per call]
  - name: never-drop
    upstreams: [orders]
    verbs: [drop table]
    effect: deny
    message: Tables stay.
`

let store: TestDatabase
let shop: TestDatabase
let world: World
let replica: Replica
const clients = new Set<pg.Client>()

beforeAll(async () => {
  store = await createTestDatabase()
  shop = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  const admin = new pg.Client(shop.adminUrl)
  await admin.connect()
  await admin.query(
    "CREATE TABLE orders (id int PRIMARY KEY, state text); INSERT INTO orders VALUES (1, 'new'), (2, 'new')",
  )
  await admin.query('CREATE TABLE stock AS SELECT n AS id, 0 AS sold FROM generate_series(1, 5) n')
  await admin.query(
    "CREATE TABLE customers AS SELECT i AS id, i || '@example.com' AS email FROM generate_series(1, 10) AS i",
  )
  await admin.end()
  replica = await world.start({ config: { upstreams: [upstreamOf(shop)], drain: '5s' } })
})
afterEach(async () => {
  await Promise.all([...clients].map((client) => client.end().catch(() => undefined)))
  clients.clear()
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await shop.close()
  await store.close()
})

function upstreamOf({ adminUrl }: TestDatabase) {
  const { hostname, port, pathname, username, password } = new URL(adminUrl)
  return {
    name: 'orders',
    protocol: 'postgres',
    url: `postgres://${hostname}:${port}${pathname}`,
    listen: '127.0.0.1:0',
    sslmode: 'disable',
    credential: { basic: { user: decodeURIComponent(username), password: decodeURIComponent(password) } },
    sessions: { per_principal: 3 },
  }
}

async function connect({
  token,
  database = new URL(shop.adminUrl).pathname.slice(1),
  on = replica,
}: {
  token?: string
  database?: string
  on?: Replica
} = {}): Promise<pg.Client> {
  const [host = '', port = ''] = (on.upstreams['orders'] ?? '').split(':')
  const password = token ?? (await world.agentToken())
  const client = new pg.Client({ host, port: Number(port), user: 'agent', password, database })
  client.on('error', () => undefined)
  await client.connect()
  clients.add(client)
  return client
}

describe('an agent with a Postgres client', () => {
  it('reads what policy lets it read', async () => {
    const client = await connect()
    const { rows } = await client.query('SELECT id FROM orders WHERE id < $1 ORDER BY id', [10])
    expect(rows).toEqual([{ id: 1 }, { id: 2 }])
  })

  it('is told which rule denies a statement, and why', async () => {
    const client = await connect()
    await expect(client.query('DROP TABLE orders')).rejects.toMatchObject({
      code: '42501',
      message: 'Not executed. Tables stay.',
      detail: 'Rule orders/never-drop.',
    })
    await expect(client.query('SELECT 1 AS one')).resolves.toMatchObject({ rows: [{ one: 1 }] })
  })

  it('waits while a statement is held, and gets its result when a person has approved it', async () => {
    const client = await connect()
    const notice = new Promise<string>((resolve) => client.once('notice', ({ message = '' }) => resolve(message)))
    const updating = client.query("UPDATE orders SET state = 'paid' WHERE id = $1", [1])
    const id = await world.approvalOf('public.orders')
    expect(await notice).toBe(`Not executed yet. Waiting for approval ${id}.`)
    await world.approve(replica, id)
    expect(await updating).toMatchObject({ command: 'UPDATE', rowCount: 1 })
    const { outcome } = await world.until<{ outcome: string }>(
      "SELECT outcome FROM countersign.audit_log WHERE approval_id = $1 AND kind = 'outcome'",
      [id],
    )
    expect(outcome).toBe('forwarded')
  })

  it('gets the reason of a denial', async () => {
    const client = await connect()
    const deleting = expect(client.query('DELETE FROM orders WHERE id = 2')).rejects.toMatchObject({
      code: '42501',
      detail: expect.stringContaining('use the archive'),
    })
    const id = await world.approvalOf('public.orders')
    await world.vote(replica, id, { decision: 'deny', more: { reason: 'use the archive' } })
    await deleting
  })

  it('is held to the number of rows that the reviewer saw, also from another connection', async () => {
    const sql = 'UPDATE stock SET sold = sold + 1 WHERE id <= $1'
    const first = await connect()
    const lost = first.query(sql, [1]).catch(() => 'gone')
    const id = await world.approvalOf('public.stock')
    clients.delete(first)
    await first.end()
    await lost
    const shown = await fetch(`${replica.control}/v1/approvals/${id}`, {
      headers: { authorization: `Bearer ${await world.personToken('finn')}` },
    })
    expect(await shown.json()).toMatchObject({
      card: {
        derived: {
          notes: [
            'UPDATE public.stock would touch 1 row. If it turns out to be more than 1, it is undone.',
            'For example {"id":1,"sold":0}',
          ],
        },
      },
    })
    await world.approve(replica, id)

    const admin = new pg.Client(shop.adminUrl)
    await admin.connect()
    await admin.query('INSERT INTO stock VALUES (1, 0)')
    const second = await connect()
    await expect(second.query(sql, [1])).rejects.toMatchObject({
      code: '42501',
      detail: 'Foreseen: 1 row; at most 1 may be touched. Touched: 2. All of it was rolled back.',
    })
    await expect(second.query(sql, [3])).rejects.toMatchObject({ message: 'Not executed. At most two at a time.' })
    const { rows } = await admin.query('SELECT FROM stock WHERE sold > 0')
    expect(rows).toEqual([])
    await admin.end()
    const { body } = await world.until<{ body: Buffer }>(
      "SELECT body FROM countersign.audit_log WHERE approval_id = $1 AND outcome = 'rolled_back'",
      [id],
    )
    expect(JSON.parse(String(body))).toMatchObject({ detail: { foreseen: 1, rows: 2, code: 'denied' } })
    const { previews } = await world.until<{ previews: number }>(
      "SELECT count(*)::int AS previews FROM countersign.audit_log WHERE kind = 'previewed' AND resource = 'public.stock'",
    )
    // For the rule when it was asked, for the card, and for the rule again at each of the later attempts.
    expect(previews).toBeGreaterThanOrEqual(4)
  })

  it('attaches to its approval from another connection', async () => {
    const first = await connect()
    const lost = first.query("UPDATE orders SET state = 'sent' WHERE id = 2").catch(() => 'gone')
    const id = await world.approvalOf('public.orders')
    clients.delete(first)
    await first.end()
    await lost
    await world.approve(replica, id)
    const second = await connect()
    expect(await second.query("UPDATE orders SET state = 'sent' WHERE id = 2")).toMatchObject({ rowCount: 1 })
  })
})

describe('what comes back is what a rule lets come back', () => {
  it('without the values of masked columns, which the log names', async () => {
    const client = await connect()
    const { rows } = await client.query('SELECT email, id FROM customers WHERE id <= $1', [2])
    expect(rows).toEqual([
      { email: null, id: 1 },
      { email: null, id: 2 },
    ])
    const { detail } = await world.until<{ detail: object }>(
      `SELECT convert_from(body, 'UTF8')::json -> 'detail' AS detail FROM countersign.audit_log
       WHERE kind = 'intent' AND resource = 'public.customers' ORDER BY seq DESC LIMIT 1`,
      [],
    )
    expect(detail).toMatchObject({ masked: ['public.customers.email'] })
    await expect(client.query("SELECT id FROM customers WHERE email LIKE '1%'")).rejects.toMatchObject({
      code: '42501',
      detail: 'Masked: public.customers.email (rule orders/customers).',
    })
  })

  it('and no more rows than it allows', async () => {
    const client = await connect()
    const over = new Promise<{ code?: string }>((resolve) => client.once('error', resolve))
    await expect(client.query('SELECT id FROM customers')).rejects.toMatchObject({ code: '53400' })
    await over
  })
})

describe('a session does not begin', () => {
  it('without a token', async () => {
    await expect(connect({ token: 'no-token' })).rejects.toMatchObject({ code: '28P01' })
  })

  it('with another database than that of the upstream', async () => {
    await expect(connect({ database: 'postgres' })).rejects.toMatchObject({ code: '3D000' })
  })

  it('where the agent has as many as it may have', async () => {
    const token = await world.agentToken('busy-agent')
    await Promise.all([connect({ token }), connect({ token }), connect({ token })])
    await expect(connect({ token })).rejects.toMatchObject({ code: '53300' })
    await connect({ token: await world.agentToken('another-agent') })
  })
})

it('a suspended agent loses its session', async () => {
  const client = await connect({ token: await world.agentToken('wild-agent') })
  const over = new Promise<{ code?: string; message: string }>((resolve) => client.once('error', resolve))
  const response = await fetch(`${replica.control}/v1/agents/suspend`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await world.personToken('finn')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ issuer: world.issuer, subject: 'wild-agent', reason: 'it runs wild' }),
  })
  expect(response.status).toBe(200)
  expect(await over).toMatchObject({ code: '42501', message: 'Cut off. This agent was suspended.' })
})

it('a gateway that ends tells its sessions, and lets nobody in', async () => {
  const other = await world.start({ config: { upstreams: [upstreamOf(shop)], drain: '5s' } })
  const idle = await connect({ on: other, token: await world.agentToken('an-agent') })
  const over = new Promise<{ code?: string }>((resolve) => idle.once('error', resolve))
  const ended = other.stop()
  expect(await over).toMatchObject({ code: '57P01' })
  expect(await ended).toEqual({ code: 0, signal: null })
})
