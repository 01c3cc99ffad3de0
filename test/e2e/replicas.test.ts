import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLogger } from '../../src/platform/logger.ts'
import { migrate } from '../../src/platform/migrations.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { compareRecords } from './agree.ts'
import { countersign, type Replica } from './replica.ts'
import { problemOf, startWorld, type World } from './world.ts'

const MANY = 100

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

async function countOf(kind: string, approval: string): Promise<number> {
  const { rows } = await world.admin.query<{ count: number }>(
    'SELECT count(*)::int FROM countersign.audit_log WHERE kind = $1 AND approval_id = $2',
    [kind, approval],
  )
  return rows[0]?.count ?? 0
}

describe('two gateways on one store', () => {
  it('forward a call that one holds once, when it is approved through the other', async () => {
    const held = world.call(a, '/refunds/one')
    const id = await world.approvalOf('/refunds/one')
    expect(world.arrivals('/refunds/one')).toBe(0)
    await world.approve(b, id)
    const response = await held
    expect(response.status).toBe(200)
    expect(response.headers.get('countersign-approval')).toBe(id)
    const call = response.headers.get('countersign-call')
    expect(world.upstream.received()).toMatchObject([{ path: '/refunds/one', assertion: { approval: id, call } }])
  })

  it('count a hundred votes that come at once as one decision', async () => {
    const held = world.call(a, '/refunds/crowd')
    const id = await world.approvalOf('/refunds/crowd')
    const tokens = await Promise.all(Array.from({ length: MANY }, (_, index) => world.personToken(`person-${index}`)))
    const answers = await Promise.all(
      tokens.map((token, index) => world.vote(index % 2 === 0 ? a : b, id, { token }).then((answer) => answer.status)),
    )
    expect(new Set(answers)).toEqual(new Set([200, 409]))
    expect((await held).status).toBe(200)
    expect(await countOf('decided', id)).toBe(1)
    expect(await countOf('vote', id)).toBe(answers.filter((status) => status === 200).length)
    expect(await countOf('spent', id)).toBe(1)
    expect(world.arrivals('/refunds/crowd')).toBe(1)
  })

  it('give the response to one of a hundred retries, and tell the others where to look', async () => {
    const headers = { 'idempotency-key': 'one-hundred' }
    const retries = Array.from({ length: MANY }, (_, index) =>
      world.call(index % 2 === 0 ? a : b, '/refunds/retried', { headers }),
    )
    const id = await world.approvalOf('/refunds/retried')
    await world.until(
      `SELECT FROM countersign.audit_log WHERE kind = 'intent' AND resource = '/refunds/retried' HAVING count(*) = $1`,
      [MANY],
    )
    await world.approve(b, id)
    const answers = await Promise.all(retries)
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const losers = await Promise.all(answers.filter(({ status }) => status !== 200).map(problemOf))
    expect(losers).toHaveLength(MANY - 1)
    for (const loser of losers) expect(loser).toMatchObject({ status: 409, code: 'already_spent', approval: id })
    const statusUrl = new URL(losers[0]?.status_url ?? '')
    const status = await fetch(`${b.url}${statusUrl.pathname}`, {
      headers: { authorization: `Bearer ${await world.agentToken()}` },
    })
    expect(await status.json()).toMatchObject({ approval: id, state: 'spent', outcome: 'forwarded' })
    expect(await countOf('held', id)).toBe(1)
    expect(await countOf('spent', id)).toBe(1)
    expect(world.arrivals('/refunds/retried')).toBe(1)
  })

  it('forward nothing for a client that has left, until a retry comes', async () => {
    const id = await world.abandon(a, '/refunds/left')
    await world.approve(a, id)
    // Longer than any replica takes to look for approvals it may have missed.
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(world.arrivals('/refunds/left')).toBe(0)
    const retry = await world.call(b, '/refunds/left', { headers: { prefer: 'wait=0' } })
    expect(retry.status).toBe(200)
    expect(retry.headers.get('countersign-approval')).toBe(id)
    expect(world.arrivals('/refunds/left')).toBe(1)
  })

  it('go on while the store is migrated to the schema of the next release', async () => {
    const directory = join(world.directory, 'migrations')
    await mkdir(directory)
    const shipped = fileURLToPath(new URL('../../migrations', import.meta.url))
    for (const name of await readdir(shipped)) await copyFile(join(shipped, name), join(directory, name))
    const next = [
      'SET ROLE countersign_owner;',
      'ALTER TABLE countersign.approval ADD COLUMN colour text;',
      'CREATE TABLE countersign.later (id int PRIMARY KEY);',
    ]
    await writeFile(join(directory, '9998_later.sql'), next.join('\n'))
    const log = createLogger({ level: 'fatal' })
    expect(await migrate({ adminUrl: store.adminUrl, directory, log })).toEqual(['9998_later.sql'])

    const held = world.call(a, '/refunds/migrated')
    await world.approve(b, await world.approvalOf('/refunds/migrated'))
    expect((await held).status).toBe(200)
    // One of this release may also start on it, until a migration says that it may not.
    const late = await world.start()
    expect((await world.call(late, '/customers', { method: 'GET' })).status).toBe(200)
    await late.stop()
    await writeFile(join(directory, '9999_apart.sql'), '-- compatible-from: 9999\nSELECT 1;')
    await migrate({ adminUrl: store.adminUrl, directory, log })
    const { configFile } = await world.prepare()
    expect(await countersign('serve', '--config', configFile)).toMatchObject({
      code: expect.toSatisfy((code) => code !== 0),
      err: expect.stringMatching(/^.*newer than this release can work with\n$/),
    })
    expect((await world.call(b, '/customers', { method: 'GET' })).status).toBe(200)
  })

  it('leave a log that agrees with what the upstream received', async () => {
    expect(await compareRecords(world.admin, world.upstream.received())).toMatchObject({ contradictions: [] })
  })
})
