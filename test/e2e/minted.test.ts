import { execFile, execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeys } from '../../src/platform/load-keys.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { selfSigned } from '../transports/tls.ts'
import type { Replica } from './replica.ts'
import { eventually, GATEWAY_URL, problemOf, startWorld, type World } from './world.ts'

const run = promisify(execFile)
const POLICY = `
name: shop
rules:
  - { name: reads, upstreams: [orders, returns], verbs: [select], effect: allow }
  - name: changes
    upstreams: [orders]
    verbs: [update]
    effect: hold
    approval: { reviewers: ["group:finance"] }
  - { name: billing, upstreams: [billing], verbs: [GET], effect: allow }
`
const own = selfSigned()
// Skipped where it is not installed, but never where nothing may be.
const mustRun = process.env['COUNTERSIGN_TEST_NO_SKIP'] === '1'
const hasPsql = mustRun || isThere('psql')

let store: TestDatabase
let shop: TestDatabase
let world: World
let replica: Replica

beforeAll(async () => {
  store = await createTestDatabase()
  shop = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  const admin = new pg.Client(shop.adminUrl)
  await admin.connect()
  await admin.query('CREATE TABLE orders AS SELECT 1 AS id')
  await admin.end()
  replica = await world.start({ config: configOf() })
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await shop.close()
  await store.close()
})

function isThere(program: string): boolean {
  try {
    execFileSync(program, ['--version'])
    return true
  } catch {
    return false
  }
}

function configOf({ credentials = {} as object } = {}) {
  const { hostname, port, pathname, username, password } = new URL(shop.adminUrl)
  const database = {
    protocol: 'postgres',
    url: `postgres://${hostname}:${port}${pathname}`,
    listen: '127.0.0.1:0',
    sslmode: 'disable',
    credential: { basic: { user: decodeURIComponent(username), password: decodeURIComponent(password) } },
  }
  return {
    gateway: { listen: '127.0.0.1:0', public_url: GATEWAY_URL, credentials },
    upstreams: [
      { ...database, name: 'orders', ...(own && { tls: own }) },
      { ...database, name: 'returns' },
      { name: 'billing', protocol: 'http', url: world.upstream.url },
    ],
    drain: '5s',
  }
}

interface Given {
  readonly user: string
  readonly password: string
  readonly expires_at: string
}

async function ask({
  upstream = 'orders',
  agent = 'support-agent',
  on = replica,
}: {
  upstream?: string
  agent?: string
  on?: Replica
} = {}): Promise<Response> {
  return fetch(`${on.url}/.countersign/credentials`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await world.agentToken(agent)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ upstream }),
  })
}

async function mint(how: Parameters<typeof ask>[0] = {}): Promise<Given> {
  const response = await ask(how)
  expect(response.status).toBe(201)
  return (await response.json()) as Given
}

function settings({ user, password }: Given, { upstream = 'orders', on = replica, more = {} as pg.ClientConfig } = {}) {
  const [host = '', port = ''] = (on.upstreams[upstream] ?? '').split(':')
  return { host, port: Number(port), user, password, database: new URL(shop.adminUrl).pathname.slice(1), ...more }
}

/** What a session that begins so answers. */
async function query(given: Given, how: Parameters<typeof settings>[1] = {}): Promise<unknown> {
  const client = new pg.Client(settings(given, how))
  client.on('error', () => undefined)
  await client.connect()
  try {
    const { rows } = await client.query('SELECT 1 AS one')
    return rows[0]
  } finally {
    await client.end()
  }
}

const refused = { code: '28P01', message: expect.stringContaining('are not accepted') }

describe('a client with a minted user and password', () => {
  it('connects again and again', async () => {
    const given = await mint()
    const pool = new pg.Pool({ ...settings(given), maxUses: 1 })
    for (let nth = 0; nth < 3; nth++) expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    await pool.end()
    const { rows } = await world.admin.query(
      "SELECT DISTINCT subject FROM countersign.audit_log WHERE kind = 'intent' AND upstream = 'orders'",
    )
    expect(rows).toEqual([{ subject: 'support-agent' }])
  })

  it.runIf(own)('binds its login to the certificate of the gateway', async () => {
    const given = await mint()
    const ssl = { ca: own?.cert ?? '', servername: 'localhost' }
    expect(await query(given, { more: { ssl, enableChannelBinding: true } as pg.ClientConfig })).toEqual({ one: 1 })
    expect(await query(given, { more: { ssl } })).toEqual({ one: 1 })
  })

  it.runIf(own && hasPsql)('is psql, which insists on that (needs psql)', async () => {
    const given = await mint()
    const ca = join(world.directory, 'ca.pem')
    await writeFile(ca, own?.cert ?? '')
    const { port, database } = settings(given)
    const psql = (PGPASSWORD: string, how: string) =>
      run(
        'psql',
        [
          '-X',
          '-At',
          '-c',
          'SELECT 41 + 1',
          `host=localhost hostaddr=127.0.0.1 port=${port} dbname=${database} ${how}`,
        ],
        { env: { ...process.env, PGUSER: given.user, PGPASSWORD, PGSSLROOTCERT: ca } },
      )
    expect((await psql(given.password, 'sslmode=verify-full channel_binding=require')).stdout).toBe('42\n')
    expect((await psql(given.password, 'sslmode=disable channel_binding=disable')).stdout).toBe('42\n')
    await expect(psql('another', 'sslmode=verify-full')).rejects.toMatchObject({
      stderr: expect.stringContaining('are not accepted'),
    })
  })

  it('attaches with another one to what was held for the first', async () => {
    const first = new pg.Client(settings(await mint()))
    first.on('error', () => undefined)
    await first.connect()
    const lost = first.query('UPDATE orders SET id = 2').catch(() => 'gone')
    const id = await world.approvalOf('public.orders')
    await first.end()
    await lost
    await world.approve(replica, id)
    const second = new pg.Client(settings(await mint()))
    await second.connect()
    expect(await second.query('UPDATE orders SET id = 2')).toMatchObject({ rowCount: 1 })
    await second.end()
  })

  it('connects to another replica, also after the keys were rotated', async () => {
    const given = await mint()
    const { mac, payload } = generateKeys()
    const previous = ({ kid, current: key }: { kid: string; current: string }) => ({ previous: { kid, key } })
    const keys = {
      ...world.keys,
      mac: { ...mac, ...previous(world.keys.mac) },
      payload: { ...payload, ...previous(world.keys.payload) },
    }
    const other = await world.start({ config: { ...configOf(), keys } })
    expect(await query(given, { on: other })).toEqual({ one: 1 })
    await other.stop()
  })

  it('keeps its session when the password ends, and begins no other', async () => {
    const brief = await world.start({ config: configOf({ credentials: { lifetime: '3s' } }) })
    const given = await mint({ on: brief })
    const client = new pg.Client(settings(given, { on: brief }))
    await client.connect()
    await eventually(() => expect(query(given, { on: brief })).rejects.toMatchObject(refused))
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(given.expires_at))
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    await client.end()
    await brief.stop()
  })

  it('loses its session, and gets no other password, when its agent is suspended', async () => {
    const given = await mint({ agent: 'wild-agent' })
    const client = new pg.Client(settings(given))
    const over = new Promise<Error>((resolve) => client.on('error', resolve))
    await client.connect()
    const suspended = await fetch(`${replica.control}/v1/agents/suspend`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await world.personToken('finn')}`, 'content-type': 'application/json' },
      body: JSON.stringify({ issuer: world.issuer, subject: 'wild-agent', reason: 'it runs wild' }),
    })
    expect(suspended.status).toBe(200)
    expect(await over).toMatchObject({ code: '42501', message: 'Cut off. This agent was suspended.' })
    expect(await problemOf(await ask({ agent: 'wild-agent' }))).toMatchObject({ status: 403, code: 'suspended' })
    await expect(query(given)).rejects.toMatchObject({ code: '42501' })
  })
})

describe('nobody gets in', () => {
  it('with another password, another user, or the credential of another upstream', async () => {
    const given = await mint()
    await expect(query({ ...given, password: 'another' })).rejects.toMatchObject(refused)
    await expect(query({ ...given, user: 'cs_00000000000000000000' })).rejects.toMatchObject(refused)
    await expect(query({ ...given, password: await world.agentToken() })).rejects.toMatchObject(refused)
    await expect(query(given, { upstream: 'returns' })).rejects.toMatchObject(refused)
    expect(await query(await mint({ upstream: 'returns' }), { upstream: 'returns' })).toEqual({ one: 1 })
  })

  it('with the password in the place of a token', async () => {
    const { user, password } = await mint()
    const basic = Buffer.from(`${user}:${password}`).toString('base64')
    for (const headers of [
      { authorization: `Bearer ${password}` },
      { authorization: `Basic ${basic}` },
      { 'x-api-key': password },
    ]) {
      expect((await fetch(`${replica.url}/billing/`, { headers })).status).toBe(401)
    }
    await expect(query({ user: 'agent', password, expires_at: '' })).rejects.toMatchObject({ code: '28P01' })
  })
})

it('an upstream that takes tokens only, or that is none, has no passwords', async () => {
  expect(await problemOf(await ask({ upstream: 'billing' }))).toMatchObject({ status: 404, code: 'not_found' })
  expect(await problemOf(await ask({ upstream: 'nothing' }))).toMatchObject({ status: 404, code: 'not_found' })
})

it('an agent has no more of them than it may have', async () => {
  const other = await world.start({ config: configOf({ credentials: { per_principal: 1 } }) })
  await mint({ agent: 'greedy-agent', on: other })
  const second = await ask({ agent: 'greedy-agent', on: other })
  expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(3_500)
  expect(await problemOf(second)).toMatchObject({ status: 429, code: 'rate_limited' })
  await other.stop()
})

it('what was minted and what was refused is on record, and no password is anywhere', async () => {
  const last = await world.start({ config: configOf() })
  const given = await mint({ agent: 'noted-agent', on: last })
  expect(await query(given, { on: last })).toEqual({ one: 1 })
  await expect(query({ ...given, password: 'another' }, { on: last })).rejects.toMatchObject(refused)
  await last.stop()
  const { rows } = await world.admin.query<{ body: string }>(
    `SELECT convert_from(body, 'UTF8') AS body FROM countersign.audit_log
     WHERE kind = 'token_refused' OR (kind = 'credential_minted' AND subject = 'noted-agent')`,
  )
  const details = rows.map(({ body }) => JSON.parse(body).detail)
  expect(details).toContainEqual({ user: given.user, ends_at: given.expires_at })
  expect(details).toContainEqual(
    expect.objectContaining({ reason: 'user name and password are not accepted', source: '127.0.0.1' }),
  )
  for (const text of [JSON.stringify(rows), JSON.stringify(last.log)]) expect(text).not.toContain(given.password)
})
