import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { generateKeys } from '../../src/platform/load-keys.ts'
import { countersign, type Replica } from '../e2e/replica.ts'
import { eventually, problemOf, startWorld, type World } from '../e2e/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { blocks, readPage } from './pages.ts'

const page = readPage('docs/operations.md')
const [create = '', suspend = ''] = blocks(page, 'sql')

describe('stopping an agent', () => {
  let store: TestDatabase
  let world: World
  let replica: Replica
  beforeAll(async () => {
    store = await createTestDatabase()
    world = await startWorld(store)
    replica = await world.start()
  })
  afterAll(async () => {
    await world[Symbol.asyncDispose]()
    await store.close()
  })

  it('stops its calls until it is resumed', async () => {
    const statements = suspend.replaceAll('https://idp.example.com', world.issuer).split(/;\n/)
    const [stop = '', show = '', resume = ''] = statements
    expect((await world.call(replica, '/a', { method: 'GET' })).status).toBe(200)
    await world.admin.query(stop)
    expect(await problemOf(await world.call(replica, '/a', { method: 'GET' }))).toMatchObject({ code: 'suspended' })
    const { rows } = await world.admin.query(show)
    expect(rows).toMatchObject([{ subject: 'support-agent', reason: 'it deletes what it should not' }])
    await world.admin.query(resume)
    const call = async () => expect((await world.call(replica, '/a', { method: 'GET' })).status).toBe(200)
    await eventually(call)
  })
})

describe('a Postgres of your own', () => {
  const name = `operations_${process.pid}_${Date.now()}`
  let admin: pg.Client
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'countersign-docs-'))
    admin = new pg.Client({ connectionString: inject('cluster').adminUrl })
    await admin.connect()
  })
  afterAll(async () => {
    await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    await admin.query(`DROP ROLE IF EXISTS ${name}_login`)
    await admin.end()
    await rm(folder, { recursive: true })
  })

  it('is made, migrated and served as it says', async () => {
    // Names of databases and roles belong to the whole cluster.
    for (const statement of create.replaceAll('countersign', name).split(/;\n/)) {
      if (statement !== '') await admin.query(statement)
    }
    const [configFile, dataDir] = [join(folder, 'countersign.yaml'), join(folder, 'data')]
    await writeFile(configFile, JSON.stringify(configOf(dataDir)), { mode: 0o600 })
    const first = await countersign('migrate', '--config', configFile)
    expect(first).toMatchObject({ code: 0, out: expect.stringContaining('applied 0001_audit.sql') })
    const again = await countersign('migrate', '--config', configFile)
    expect(again).toMatchObject({ code: 0, out: 'the schema is the newest already\n' })
    // A log without an entry has no head yet; that it was looked at needs all that a gateway may do in the store.
    expect(await countersign('audit', 'verify', '--config', configFile)).toMatchObject({ code: 14, err: '' })
  })

  function configOf(dataDir: string) {
    const url = new URL(inject('cluster').adminUrl)
    url.pathname = `/${name}`
    const login = new URL(url)
    Object.assign(login, { username: `${name}_login`, password: 'change me' })
    return {
      gateway: { public_url: 'https://gateway.example.com' },
      control: { public_url: 'https://approvals.example.com' },
      store: { url: login.href, admin_url: url.href },
      data_dir: dataDir,
      keys: generateKeys(),
      agent_issuers: [{ issuer: 'https://idp.example.com', audiences: ['https://gateway.example.com'], owner: 'none' }],
      upstreams: [{ name: 'billing', protocol: 'http', url: 'https://billing.internal' }],
    }
  }
})
