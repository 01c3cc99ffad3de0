import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { countersign, type Replica } from './replica.ts'
import { eventually, problemOf, startWorld, type World } from './world.ts'

let store: TestDatabase
let world: World
let a: Replica
let b: Replica
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  ;[a, b] = await world.startPair()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

/** Works on the server while nobody is connected to the database. */
async function whileClosed(work: (server: pg.Client, database: string) => Promise<void>): Promise<void> {
  const url = new URL(store.adminUrl)
  const database = url.pathname.slice(1)
  url.pathname = '/postgres'
  const server = new pg.Client({ connectionString: url.href })
  await server.connect()
  try {
    await server.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS false`)
    await eventually(async () => {
      await server.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [database])
      await work(server, database)
    })
    await server.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true`)
  } finally {
    await server.end()
  }
}

function backUp(): Promise<void> {
  return whileClosed(async (server, database) => {
    await server.query(`DROP DATABASE IF EXISTS ${database}_backup`)
    await server.query(`CREATE DATABASE ${database}_backup TEMPLATE ${database}`)
  })
}

function restore(): Promise<void> {
  return whileClosed(async (server, database) => {
    await server.query(`DROP DATABASE ${database}`)
    await server.query(`ALTER DATABASE ${database}_backup RENAME TO ${database}`)
  })
}

/** Waits until a replica has written down that the log has come as far as it is now. */
async function hasSeenIt({ dataDir }: Replica): Promise<void> {
  const { seq } = await world.until<{ seq: number }>('SELECT seq::int FROM countersign.audit_head')
  await eventually(async () => {
    const head: unknown = JSON.parse(await readFile(join(dataDir, 'head.json'), 'utf8'))
    expect(head).toMatchObject({ seq: expect.toSatisfy((seen) => seen >= seq) })
  })
}

async function isServing(replica: Replica): Promise<void> {
  await eventually(async () => expect(await world.readyz(replica)).toMatchObject({ status: 200 }))
}

async function isInDoubt(replica: Replica): Promise<void> {
  await eventually(async () => {
    const { status, text } = await world.readyz(replica)
    expect(status).toBe(503)
    expect(JSON.parse(text)).toMatchObject({ ready: false, checks: { store_acknowledged: false } })
  })
}

async function isRefused(replica: Replica, path: string): Promise<void> {
  const refused = await problemOf(await world.call(replica, path, { headers: { prefer: 'wait=0' } }))
  expect(refused).toMatchObject({ status: 503, code: 'unavailable' })
}

async function recover(replica: Replica): Promise<void> {
  const argv = ['store', 'recover', '--config', replica.configFile, '--reason', 'restored from a backup']
  expect(await countersign(...argv)).toMatchObject({ code: 0, err: '' })
}

async function stateOf(id: string): Promise<unknown> {
  const { rows } = await world.admin.query('SELECT state, reason FROM countersign.approval WHERE id = $1', [id])
  return rows[0]
}

describe('a store that is restored to an earlier moment', () => {
  it('has nothing used again, and every call refused until an operator says so', { timeout: 60_000 }, async () => {
    const id = await world.abandon(a, '/refunds/restored')
    const waiting = await world.abandon(b, '/refunds/waiting')
    await world.approve(b, id)
    await backUp()
    await Promise.all([isServing(a), isServing(b)])
    const first = await world.call(a, '/refunds/restored')
    expect([first.status, first.headers.get('countersign-approval')]).toEqual([200, id])

    await hasSeenIt(b)
    await restore()
    // As far as this store knows, the approval is there to be used.
    expect(await world.until('SELECT state FROM countersign.approval WHERE id = $1', [id])).toEqual({
      state: 'approved',
    })
    for (const replica of [a, b]) await isRefused(replica, '/refunds/restored')
    await Promise.all([isInDoubt(a), isInDoubt(b)])
    for (const replica of [a, b]) await isRefused(replica, '/refunds/restored')
    expect((await world.vote(a, waiting)).ok).toBe(false)

    await recover(a)
    await Promise.all([isServing(a), isServing(b)])
    expect(await stateOf(id)).toEqual({ state: 'withdrawn', reason: 'store_failover' })
    expect(await stateOf(waiting)).toEqual({ state: 'withdrawn', reason: 'store_failover' })
    const again = await problemOf(await world.call(b, '/refunds/restored', { headers: { prefer: 'wait=0' } }))
    expect(again).toMatchObject({ status: 403, code: 'approval_pending' })
    expect(again.approval).not.toBe(id)
    expect(world.arrivals('/refunds/restored')).toBe(1)
    const verified = await countersign('audit', 'verify', '--config', a.configFile)
    expect(verified).toMatchObject({ code: 0, out: expect.stringMatching(/^intact/) })
  })

  it('is noticed by a gateway that was killed right after it had used an approval', { timeout: 60_000 }, async () => {
    const id = await world.abandon(a, '/refunds/killed')
    await world.approve(a, id)
    await backUp()
    await Promise.all([isServing(a), isServing(b)])
    await b.kill()
    world.upstream.manner = 'block'
    const arrival = world.upstream.arrivals(1)
    const cut = world.call(a, '/refunds/killed').catch(() => 'cut off')
    await arrival
    await a.kill()
    expect(await cut).toBe('cut off')
    world.upstream.release()

    await restore()
    const again = await world.start({ after: a })
    await isInDoubt(again)
    await isRefused(again, '/refunds/killed')
    await recover(again)
    await isServing(again)
    expect(await stateOf(id)).toEqual({ state: 'withdrawn', reason: 'store_failover' })
    expect(world.arrivals('/refunds/killed')).toBe(1)
    await again.stop()
  })

  it('is noticed by a gateway that was away while the approval was used', { timeout: 60_000 }, async () => {
    const away = await world.start()
    const other = await world.start()
    const id = await world.abandon(away, '/refunds/away')
    await world.approve(away, id)
    await away.kill()
    await backUp()
    await isServing(other)
    expect((await world.call(other, '/refunds/away')).status).toBe(200)
    await other.stop()

    await restore()
    const back = await world.start({ after: away })
    await isInDoubt(back)
    await isRefused(back, '/refunds/away')
    expect(world.arrivals('/refunds/away')).toBe(1)
  })
})
