import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocks, readPage } from '../docs/pages.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import type { Replica } from './replica.ts'
import { problemOf, startWorld, type World } from './world.ts'

const POLICY = `
name: orders
rules:
  - { name: reads, upstreams: [orders, any], verbs: [select, call], effect: allow }
  - name: few-notes
    upstreams: [orders]
    verbs: [select]
    resources: [public.notes]
    effect: allow
    mask: [public.notes.secret]
    limits: [3 rows per call]
  - name: few-at-a-time
    upstreams: [orders]
    verbs: [delete]
    resources: [public.notes]
    when: action.facts.rows <= 2
    effect: allow
  - { name: inserts, upstreams: [orders], verbs: [insert], effect: allow }
  - { name: sessions, upstreams: [orders], verbs: [begin], effect: allow }
  - { name: maintenance, upstreams: [orders], verbs: [vacuum], effect: allow }
  - { name: copies, upstreams: [orders], verbs: [copy], effect: allow }
  - name: changes
    upstreams: [orders, any]
    verbs: [update]
    effect: hold
    approval: { reviewers: ["group:finance"] }
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
let config: Readonly<Record<string, unknown>>
let admin: pg.Client
const clients: Promise<unknown>[] = []

beforeAll(async () => {
  store = await createTestDatabase()
  shop = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  admin = new pg.Client(shop.adminUrl)
  await admin.connect()
  await admin.query(`
    CREATE TYPE size AS ENUM ('small', 'large');
    CREATE TABLE orders (id int PRIMARY KEY, state text, size size, paid boolean, note text);
    INSERT INTO orders SELECT id, 'new', 'large', id = 1, NULL FROM generate_series(1, 9) AS id;
    CREATE TABLE notes (id int, secret text);
    INSERT INTO notes SELECT id, 'psst' FROM generate_series(1, 9) AS id;
    CREATE TABLE lines (of int REFERENCES orders DEFERRABLE INITIALLY DEFERRED);
    CREATE FUNCTION warn() RETURNS text LANGUAGE plpgsql AS
      $$ BEGIN RAISE WARNING 'stock is low' USING HINT = 'order more'; RETURN repeat('x', 1e5::int); END $$`)
  const orders = upstreamOf(shop)
  const any = { ...orders, name: 'any', url: orders.url.replace(/[^/]*$/, ''), max_result: '8MiB' }
  // Nobody listens there.
  const down = { ...orders, name: 'down', url: 'postgres://127.0.0.1:1/shop' }
  config = { upstreams: [orders, any, down], drain: '1s' }
  replica = await world.start({ config })
})
afterAll(async () => {
  await Promise.all(clients)
  await world[Symbol.asyncDispose]()
  await admin.end()
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
    max_batch: '256KiB',
    max_result: '64KiB',
  }
}

interface Asking {
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  readonly on?: Replica
  readonly upstream?: string
}

/** Sends a query; a text is sent as it is. */
async function ask(
  body: object | string,
  { token, headers = {}, signal, on = replica, upstream = 'orders' }: Asking = {},
): Promise<Response> {
  return fetch(`${on.url}/${upstream}/query`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token ?? (await world.agentToken())}`,
      'content-type': 'application/json',
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal && { signal }),
  })
}

async function answerOf(response: Response): Promise<[number, unknown]> {
  return [response.status, await response.json()]
}

/** Resolves when so many sessions of the gateway are like that. */
async function sessions(count: string, where = 'true'): Promise<void> {
  const sql = `SELECT count(*) ${count} AS met FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND ${where}`
  for (const deadline = Date.now() + 20_000; ; await sleep(20)) {
    const { rows } = await admin.query<{ met: boolean }>(sql)
    if (rows[0]?.met) return
    if (Date.now() > deadline) throw new Error(`never so many sessions: ${count}`)
  }
}

const noSessions = () => sessions('= 0')

async function fetchCall(location: string): Promise<Response> {
  const authorization = `Bearer ${await world.agentToken()}`
  return fetch(`${replica.url}${location}?wait=20`, { headers: { authorization } })
}

/** The same agent, with a driver. */
async function byWire(sql: string, params: readonly string[]): Promise<{ readonly done: Promise<unknown> }> {
  const [host = '', port = ''] = (replica.upstreams['orders'] ?? '').split(':')
  const database = new URL(shop.adminUrl).pathname.slice(1)
  const client = new pg.Client({
    ...{ host, port: Number(port), user: 'agent', password: await world.agentToken(), database },
  })
  await client.connect()
  const done = client.query(sql, [...params])
  clients.push(done.then(() => client.end()).catch(() => client.end()))
  return { done }
}

async function stateOf(id: number): Promise<string> {
  const { rows } = await admin.query<{ state: string | null }>('SELECT state FROM orders WHERE id = $1', [id])
  return rows[0] ? (rows[0].state ?? 'none') : 'gone'
}

async function update(id: number, how: Asking = {}): Promise<Response> {
  return ask({ sql: "UPDATE orders SET state = 'paid' WHERE id = $1", params: [id] }, how)
}

const COMMON = { 'content-type': 'application/json' }

describe('an answer', () => {
  it('has the rows that policy lets an agent read', async () => {
    const response = await ask({ sql: 'SELECT id, size, paid FROM orders WHERE id < $1 ORDER BY id', params: [3] })
    expect(Object.fromEntries(response.headers)).toMatchObject({ ...COMMON, 'cache-control': 'no-store' })
    expect(response.headers.get('countersign-call')).toMatch(/^[0-9a-f-]{36}$/)
    expect(await answerOf(response)).toEqual([
      200,
      {
        columns: [
          { name: 'id', type: 'int4' },
          { name: 'size', type: 'size' },
          { name: 'paid', type: 'bool' },
        ],
        rows: [
          { id: 1, size: 'large', paid: true },
          { id: 2, size: 'large', paid: false },
        ],
        rowCount: 2,
        command: 'SELECT',
      },
    ])
  })

  it.each([
    ['NULL::int', null],
    ['true', true],
    ['7::int2', 7],
    ['1.5::float8', 1.5],
    ["'-infinity'::float8", '-Infinity'],
    ['1e300::float8', 1e300],
    ['9007199254740993::int8', '9007199254740993'],
    ['0.10::numeric', '0.10'],
    ['\'{"b": [1, null], "a": "}"}\'::jsonb', { a: '}', b: [1, null] }],
    ["'null'::json", null],
    ["'{1,2}'::int[]", '{1,2}'],
    ["'2026-01-02 03:04:05+00'::timestamptz AT TIME ZONE 'UTC'", '2026-01-02 03:04:05'],
    ["'\\x00ff'::bytea", '\\x00ff'],
    ["E'a\"\\n\\u2028é'", 'a"\n\u2028é'],
  ])('has %s as %j', async (sql, value) => {
    const [status, body] = await answerOf(await ask({ sql: `SELECT ${sql} AS value` }))
    expect([status, body]).toMatchObject([200, { rows: [{ value }] }])
  })

  it('loses no column, whatever its name', async () => {
    const sql = 'SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a, 5 AS __proto__'
    const [, body] = await answerOf(await ask({ sql }))
    expect((body as { rows: object[] }).rows.map((row) => Object.entries(row))).toEqual([
      [
        ['a', 1],
        ['a_3', 2],
        ['a_2', 3],
        ['a_4', 4],
        ['__proto__', 5],
      ],
    ])
  })

  it('reads each parameter as what it stands for', async () => {
    const sql = 'SELECT $1::int + 1 AS a, $2::numeric AS b, $3::boolean AS c, $4::text AS d, $5::text IS NULL AS e'
    const [, body] = await answerOf(await ask({ sql, params: [41, 0.1, true, "'; DROP TABLE orders", null] }))
    expect(body).toMatchObject({ rows: [{ a: 42, b: '0.1', c: true, d: "'; DROP TABLE orders", e: true }] })
  })

  it('has what the upstream said besides', async () => {
    const [, body] = await answerOf(await ask({ sql: 'SELECT length(warn())' }))
    expect(body).toMatchObject({
      rows: [{ length: 100_000 }],
      notices: [{ severity: 'WARNING', code: '01000', message: 'stock is low', hint: 'order more' }],
    })
  })

  it('says what a statement without rows did', async () => {
    const [, body] = await answerOf(await ask({ sql: 'INSERT INTO orders (id) VALUES ($1), ($2)', params: [101, 102] }))
    expect(body).toEqual({ columns: [], rows: [], rowCount: 2, command: 'INSERT' })
    expect(await stateOf(101)).toBe('none')
  })

  it('is the upstream’s error, and nothing of the statement stays', async () => {
    const response = await ask({ sql: 'INSERT INTO orders (id) VALUES (201), (1)' })
    expect(await answerOf(response)).toMatchObject([
      400,
      { error: { severity: 'ERROR', code: '23505', table: 'orders', constraint: 'orders_pkey' } },
    ])
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(await stateOf(201)).toBe('gone')
    expect(await answerOf(await ask({ sql: 'SELECT nothing FROM orders' }))).toMatchObject([
      400,
      { error: { code: '42703', position: 8 } },
    ])
    expect(await answerOf(await ask({ sql: 'SELECT $1::int', params: [1, 2] }))).toMatchObject([
      400,
      { error: { code: '08P01' } },
    ])
  })

  it('is an error, too, where that shows at the end of the transaction', async () => {
    const response = await ask({ sql: 'INSERT INTO lines VALUES (999) RETURNING of' })
    expect(await answerOf(response)).toMatchObject([400, { error: { code: '23503' } }])
  })

  it('that is too large is not given, and what it would have told of is undone', async () => {
    const sql =
      "INSERT INTO orders (id, note) SELECT id, repeat('x', 1000) FROM generate_series(301, 400) AS id RETURNING note"
    expect(await problemOf(await ask({ sql }))).toMatchObject({
      status: 413,
      code: 'too_large',
      detail: expect.stringMatching(/^Not executed\. Its answer is larger than 65536 bytes/),
    })
    expect(await stateOf(301)).toBe('gone')
    const outcome = await world.until<{ outcome: string }>(
      "SELECT outcome FROM countersign.audit_log WHERE kind = 'outcome' ORDER BY seq DESC LIMIT 1",
    )
    expect(outcome).toEqual({ outcome: 'cut' })
  })

  it('that is too large may have left something where code ran that nobody sees', async () => {
    expect(await problemOf(await ask({ sql: 'SELECT warn()' }))).toMatchObject({
      status: 413,
      detail: expect.stringMatching(/^Perhaps executed\. Its answer/),
    })
  })

  it('that is too large may have left something where the statement commits by itself', async () => {
    expect(await problemOf(await ask({ sql: 'VACUUM (VERBOSE)' }))).toMatchObject({
      status: 413,
      detail: expect.stringMatching(/^Perhaps executed\. Its answer/),
    })
  })

  it('is without what a rule masks, and says so', async () => {
    expect(await answerOf(await ask({ sql: 'SELECT id, secret FROM notes WHERE id = 1' }))).toMatchObject([
      200,
      { rows: [{ id: 1, secret: null }], notices: [{ message: expect.stringContaining('public.notes.secret') }] },
    ])
    for (const sql of ['SELECT upper(secret) FROM notes', 'SELECT warn(), secret FROM notes']) {
      expect(await problemOf(await ask({ sql }))).toMatchObject({
        status: 403,
        code: 'denied',
        detail: expect.stringMatching(/^Not executed\. It /),
      })
    }
  })

  it('that has more rows than a rule lets pass is not given', async () => {
    expect((await ask({ sql: 'SELECT id FROM notes LIMIT 3' })).status).toBe(200)
    expect(await problemOf(await ask({ sql: 'SELECT id FROM notes' }))).toMatchObject({
      status: 429,
      code: 'rate_limited',
      detail: 'Not executed. A limit of the rule that allowed this statement ran out.',
    })
  })

  it('leaves no transaction behind', async () => {
    expect(await answerOf(await ask({ sql: 'BEGIN' }))).toMatchObject([200, { command: 'BEGIN', rowCount: null }])
    await noSessions()
  })
})

it('the example of the page about Postgres does what it says', async () => {
  const page = readPage('docs/postgres.md')
  const example = blocks(page, 'sh').find((text) => text.startsWith('curl')) ?? ''
  const env = { PATH: process.env['PATH'], GATEWAY: replica.url, TOKEN: await world.agentToken() }
  const { stdout } = await promisify(execFile)('sh', ['-ec', example], { env })
  expect(JSON.parse(stdout)).toEqual(JSON.parse(blocks(page, 'json')[0] ?? ''))
})

describe('an upstream', () => {
  it('that is no one database is asked in the one that the body names', async () => {
    const sql = 'SELECT current_database() AS name'
    const database = new URL(shop.adminUrl).pathname.slice(1)
    expect(await answerOf(await ask({ sql, database }, { upstream: 'any' }))).toMatchObject([
      200,
      { rows: [{ name: database }] },
    ])
    expect(await problemOf(await ask({ sql }, { upstream: 'any' }))).toMatchObject({ status: 400, code: 'malformed' })
    expect(await problemOf(await ask({ sql, database: 'none' }, { upstream: 'any' }))).toMatchObject({
      status: 400,
      detail: 'Not executed. database "none" does not exist',
    })
  })

  it('that is down is told of', async () => {
    expect(await problemOf(await ask({ sql: 'SELECT 1' }, { upstream: 'down' }))).toMatchObject({
      status: 502,
      code: 'upstream_failed',
      detail: 'Not executed. The upstream cannot be reached.',
    })
  })
})

describe('what is not a query', () => {
  it.each([
    ['text', '{"sql": "SELECT 1"', 'JSON'],
    ['a key twice', '{"sql": "SELECT 1", "sql": "DROP TABLE orders"}', 'twice'],
    ['another key', '{"sql": "SELECT 1", "query": "x"}', 'no "query"'],
    ['no object', '[]', 'JSON object'],
    ['no statement', '{"params": []}', 'sql must be a text'],
    ['an empty statement', '{"sql": " -- nothing"}', 'no statement'],
    ['two statements', '{"sql": "SELECT 1; DROP TABLE orders"}', 'more than one statement'],
    ['no SQL', '{"sql": "SELEC 1"}', 'SQLSTATE 42601, at character 1'],
    ['a NUL', '{"sql": "SELECT $1", "params": ["a\\u0000b"]}', 'NUL'],
    ['half a character', '{"sql": "SELECT $1", "params": ["\\ud800"]}', 'surrogate'],
    ['a number that would lose digits', '{"sql": "SELECT $1", "params": [9007199254740993]}', 'send it as a string'],
    ['a list for a parameter', '{"sql": "SELECT $1", "params": [[1]]}', 'each of params'],
    ['more parameters than there can be', JSON.stringify({ sql: 'SELECT 1', params: Array(65_536).fill(1) }), '65535'],
    ['a copy to the client', '{"sql": "COPY orders TO STDOUT"}', 'COPY'],
    ['a copy from the client', '{"sql": "COPY orders FROM STDIN"}', 'COPY'],
    ['another database', '{"sql": "SELECT 1", "database": "postgres"}', 'database'],
  ])('is refused: %s', async (_what, body, why) => {
    expect(await problemOf(await ask(body))).toMatchObject({
      status: 400,
      code: 'malformed',
      detail: expect.stringMatching(new RegExp(`^Not executed\\. .*${why}`)),
    })
  })

  it('is refused: a body that is packed, or larger than what is read', async () => {
    const packed = await ask({ sql: 'SELECT 1' }, { headers: { 'content-encoding': 'gzip' } })
    expect(await problemOf(packed)).toMatchObject({ status: 415, code: 'unreadable' })
    // Of much more than that the gateway does not take the rest, so that a client may see its connection end first.
    const large = await ask({ sql: 'SELECT $1', params: ['x'.repeat(256 * 1024)] })
    expect(await problemOf(large)).toMatchObject({ status: 413, code: 'too_large' })
  })

  it('is refused: a key that is too long', async () => {
    const response = await ask({ sql: 'SELECT 1' }, { headers: { 'idempotency-key': 'k'.repeat(256) } })
    expect(await problemOf(response)).toMatchObject({ status: 400, code: 'malformed' })
  })

  it('has no other path, and no other method', async () => {
    const authorization = `Bearer ${await world.agentToken()}`
    for (const path of ['/orders', '/orders/', '/orders/queries', '/orders/query/1']) {
      const response = await fetch(`${replica.url}${path}`, { method: 'POST', headers: { authorization } })
      expect(await problemOf(response)).toMatchObject({ status: 404, code: 'not_found' })
    }
    const response = await fetch(`${replica.url}/orders/query`, { headers: { authorization } })
    expect(response.headers.get('allow')).toBe('POST')
    expect(await problemOf(response)).toMatchObject({ status: 405, code: 'malformed' })
  })

  it('is refused: anything in the address', async () => {
    const authorization = `Bearer ${await world.agentToken()}`
    const how = { method: 'POST', headers: { authorization }, body: '{"sql": "SELECT 1"}' }
    expect(await problemOf(await fetch(`${replica.url}/orders/query?timeout=1`, how))).toMatchObject({
      status: 400,
      code: 'malformed',
    })
    const token = await world.agentToken()
    const by = await fetch(`${replica.url}/orders/query?access_token=${token}`, { method: 'POST', body: '{}' })
    expect(await problemOf(by)).toMatchObject({ status: 401, code: 'unauthenticated' })
  })
})

it('nobody asks without a token', async () => {
  const response = await ask({ sql: 'SELECT 1' }, { token: 'no-token' })
  expect(response.headers.get('www-authenticate')).toContain('oauth-protected-resource/orders')
  expect(await problemOf(response)).toMatchObject({ status: 401, code: 'unauthenticated' })
})

describe('what policy says', () => {
  it('is told, where it denies', async () => {
    expect(await problemOf(await ask({ sql: 'DROP TABLE orders' }))).toMatchObject({
      status: 403,
      code: 'denied',
      rule: 'orders/never-drop',
      detail: expect.stringContaining('Tables stay.'),
    })
  })

  it('may ask how many rows a statement touches', async () => {
    expect(await answerOf(await ask({ sql: 'DELETE FROM notes WHERE id > 7' }))).toMatchObject([200, { rowCount: 2 }])
    const denied = await ask({ sql: 'DELETE FROM notes WHERE id > 0' })
    expect(await problemOf(denied)).toMatchObject({ status: 403, code: 'denied' })
  })

  it('lets a statement wait for a person, and then run', async () => {
    const updating = update(1, { headers: { 'countersign-reason': 'order 1 was paid' } })
    const id = await world.approvalOf('public.orders')
    const authorization = `Bearer ${await world.personToken('finn')}`
    const shown = await fetch(`${replica.control}/v1/approvals/${id}`, { headers: { authorization } })
    const card = JSON.stringify(await shown.json())
    expect(card).toContain('order 1 was paid')
    expect(card).toContain('\\n$1 = \\"1\\"')
    expect(await stateOf(1)).toBe('new')
    await world.approve(replica, id)
    const response = await updating
    expect(response.headers.get('countersign-approval')).toBe(id)
    expect(await answerOf(response)).toMatchObject([200, { command: 'UPDATE', rowCount: 1 }])
    expect(await stateOf(1)).toBe('paid')
  })

  it('gives a reviewer’s reason', async () => {
    const updating = update(2)
    const id = await world.approvalOf('public.orders')
    await world.vote(replica, id, { decision: 'deny', more: { reason: 'use the archive' } })
    expect(await problemOf(await updating)).toMatchObject({
      status: 403,
      code: 'not_approved',
      detail: expect.stringContaining('use the archive'),
    })
  })

  it('lets the same query attach, on another connection, and not the same statement by the wire', async () => {
    const pending = await problemOf(await update(3, { headers: { prefer: 'wait=0' } }))
    expect(pending).toMatchObject({ status: 403, code: 'approval_pending' })
    const by = await byWire("UPDATE orders SET state = 'paid' WHERE id = $1", ['3'])
    const other = await world.until<{ id: string }>(
      "SELECT id FROM countersign.approval WHERE state = 'pending' AND id <> $1",
      [pending.approval],
    )
    await world.vote(replica, other.id, { decision: 'deny' })
    await expect(by.done).rejects.toMatchObject({ code: '42501' })
    await world.approve(replica, pending.approval ?? '')
    // The same, however it is written down.
    const again = await ask('{ "params": ["3"], "sql": "UPDATE orders SET state = \'paid\' WHERE id = $1" }')
    expect(again.headers.get('countersign-approval')).toBe(pending.approval)
    expect(await answerOf(again)).toMatchObject([200, { rowCount: 1 }])
  })

  it('is waited for by nobody who does not want to, and the answer is kept', async () => {
    const accepted = await update(4, { headers: { prefer: 'respond-async' } })
    expect(accepted.status).toBe(202)
    expect(accepted.headers.get('preference-applied')).toBe('respond-async')
    const location = accepted.headers.get('location') ?? ''
    expect(location).toMatch(/^\/\.countersign\/calls\/[0-9a-f-]{36}$/)
    await noSessions()
    await world.approve(replica, await world.approvalOf('public.orders'))
    expect(await answerOf(await fetchCall(location))).toEqual([
      200,
      { columns: [], rows: [], rowCount: 1, command: 'UPDATE' },
    ])
    expect(await stateOf(4)).toBe('paid')
    await noSessions()
  })

  it('keeps an error of the upstream, too', async () => {
    const sql = 'UPDATE orders SET id = 1 WHERE id = 5'
    const accepted = await ask({ sql }, { headers: { prefer: 'respond-async' } })
    await world.approve(replica, await world.approvalOf('public.orders'))
    const kept = await fetchCall(accepted.headers.get('location') ?? '')
    expect(await answerOf(kept)).toMatchObject([400, { error: { code: '23505' } }])
  })

  it('undoes what answers with more than is kept', async () => {
    const sql = "UPDATE orders SET note = repeat('x', 2000000) WHERE id = 5 RETURNING note"
    const database = new URL(shop.adminUrl).pathname.slice(1)
    const headers = { prefer: 'respond-async' }
    const accepted = await ask({ sql, database }, { upstream: 'any', headers })
    await world.approve(replica, await world.approvalOf('public.orders'))
    const kept = await fetchCall(accepted.headers.get('location') ?? '')
    expect(await problemOf(kept)).toMatchObject({ status: 413, code: 'too_large' })
    expect((await admin.query('SELECT FROM orders WHERE note IS NOT NULL')).rows).toEqual([])
  })

  it('is asked once under one key', async () => {
    const headers = { prefer: 'wait=0', 'idempotency-key': 'order-6' }
    const first = await problemOf(await update(6, { headers }))
    expect(first).toMatchObject({ code: 'approval_pending' })
    expect(await problemOf(await update(7, { headers }))).toMatchObject({ status: 422, code: 'key_reused' })
    await world.approve(replica, first.approval ?? '')
    expect((await update(6, { headers })).status).toBe(200)
    expect(await problemOf(await update(6, { headers }))).toMatchObject({ status: 409, code: 'already_spent' })
  })

  it('holds no more than an agent may have sessions', async () => {
    const token = await world.agentToken('busy-agent')
    const leaving = new AbortController()
    const held = [1, 2, 3].map((note) =>
      ask({ sql: `UPDATE lines SET of = ${note}` }, { token, signal: leaving.signal }).catch(() => null),
    )
    await sessions('= 3')
    const response = await ask({ sql: 'SELECT 1' }, { token })
    expect(await problemOf(response)).toMatchObject({ status: 429, code: 'rate_limited' })
    expect((await ask({ sql: 'SELECT 1' }, { token: await world.agentToken('another') })).status).toBe(200)
    leaving.abort()
    await Promise.all(held)
    await noSessions()
  })
})

describe('a client that leaves', () => {
  it('keeps its approval, and attaches to it when it comes back', async () => {
    const leaving = new AbortController()
    const left = update(8, { signal: leaving.signal }).catch(() => 'gone')
    const id = await world.approvalOf('public.orders')
    leaving.abort()
    expect(await left).toBe('gone')
    await noSessions()
    await world.approve(replica, id)
    expect(await stateOf(8)).toBe('new')
    expect((await update(8)).headers.get('countersign-approval')).toBe(id)
    expect(await stateOf(8)).toBe('paid')
  })

  it('leaves nothing running, and nothing done', async () => {
    const leaving = new AbortController()
    const sql = 'INSERT INTO orders (id) SELECT 501 FROM pg_sleep(600)'
    const left = ask({ sql }, { signal: leaving.signal }).catch(() => 'gone')
    await sessions('> 0', "state = 'active' AND wait_event = 'PgSleep'")
    leaving.abort()
    expect(await left).toBe('gone')
    await noSessions()
    expect(await stateOf(501)).toBe('gone')
    const { outcome } = await world.until<{ outcome: string }>(
      "SELECT outcome FROM countersign.audit_log WHERE kind = 'outcome' AND outcome = 'client_gone'",
    )
    expect(outcome).toBe('client_gone')
  })
})

describe('a gateway that ends', () => {
  it('carries on what nobody waits for no further, and says so', async () => {
    const other = await world.start({ config })
    const sql = 'UPDATE orders SET size = NULL FROM pg_sleep(600) WHERE id = 9'
    const accepted = await ask({ sql }, { on: other, headers: { prefer: 'respond-async' } })
    const id = await world.approvalOf('public.orders')
    await replica.stop()
    await world.approve(other, id)
    await sessions('> 0', "state = 'active' AND wait_event = 'PgSleep'")
    await other.stop()
    await noSessions()
    const { outcome } = await world.until<{ outcome: string }>(
      "SELECT outcome FROM countersign.audit_log WHERE kind = 'outcome' AND approval_id = $1 AND outcome <> 'pending'",
      [id],
    )
    expect([accepted.status, outcome]).toEqual([202, 'cut'])
  })
})
