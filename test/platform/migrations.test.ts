import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/domain/error.ts'
import { openDatabase } from '../../src/platform/database.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { assertSchema, migrate } from '../../src/platform/migrations.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../postgres.ts'

const log = createLogger({ level: 'silent' })

const FIRST = `SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;
CREATE TABLE thing (id int PRIMARY KEY);
GRANT SELECT ON thing TO countersign_gateway;`
const SECOND = `SET ROLE countersign_owner;
INSERT INTO countersign.thing VALUES (1);`

describe('migrate', () => {
  let store: TestDatabase
  let directory: string

  beforeEach(async () => {
    store = await createEmptyDatabase()
    directory = await mkdtemp(join(tmpdir(), 'migrations-'))
    await writeFile(join(directory, '0001_first.sql'), FIRST)
    await writeFile(join(directory, '0002_second.sql'), SECOND)
  })

  afterEach(async () => {
    await store.close()
    await rm(directory, { recursive: true })
  })

  const run = () => migrate({ adminUrl: store.adminUrl, gatewayUrl: store.url, log, directory })

  it('applies the files in order, and nothing the second time', async () => {
    expect(await run()).toEqual(['0001_first.sql', '0002_second.sql'])
    expect(await run()).toEqual([])
    const { rows } = await store.database.query(
      'SELECT version, name, length(sha256) FROM countersign.migration ORDER BY 1',
    )
    expect(rows).toEqual([
      { version: 1, name: '0001_first.sql', length: 64 },
      { version: 2, name: '0002_second.sql', length: 64 },
    ])
    expect((await store.database.query('SELECT id FROM countersign.thing')).rows).toEqual([{ id: 1 }])
  })

  it('gives everything to an owner that nobody can log in as', async () => {
    await run()
    const { rows } = await store.database.query(
      `SELECT tableowner, rolcanlogin FROM pg_tables JOIN pg_roles ON rolname = tableowner WHERE schemaname = 'countersign'`,
    )
    expect(rows).toEqual([
      { tableowner: 'countersign_owner', rolcanlogin: false },
      { tableowner: 'countersign_owner', rolcanlogin: false },
    ])
  })

  it('lets the gateway neither create nor change what it was not granted', async () => {
    await run()
    const denied = { code: '42501' }
    await expect(store.database.query('CREATE TABLE countersign.mine (id int)')).rejects.toMatchObject(denied)
    await expect(store.database.query('CREATE TABLE public.mine (id int)')).rejects.toMatchObject(denied)
    await expect(store.database.query('DELETE FROM countersign.migration')).rejects.toMatchObject(denied)
    await expect(store.database.query('INSERT INTO countersign.thing VALUES (2)')).rejects.toMatchObject(denied)
  })

  it('keeps nothing of a file that fails, and all of those before it', async () => {
    await writeFile(join(directory, '0002_second.sql'), `${SECOND}\nSELECT 1 / 0;`)
    await expect(run()).rejects.toMatchObject({ code: 'store', message: expect.stringContaining('0002_second.sql') })
    expect((await store.database.query('SELECT count(*) FROM countersign.thing')).rows).toEqual([{ count: 0 }])
    await writeFile(join(directory, '0002_second.sql'), SECOND)
    expect(await run()).toEqual(['0002_second.sql'])
  })

  it('refuses an applied file that was changed', async () => {
    await run()
    await writeFile(join(directory, '0001_first.sql'), `${FIRST} -- later`)
    await expect(run()).rejects.toMatchObject({ code: 'config', message: expect.stringContaining('0001_first.sql') })
  })

  it('refuses two files with one number, and a file without', async () => {
    await writeFile(join(directory, '0002_other.sql'), 'SELECT 1')
    await expect(run()).rejects.toBeInstanceOf(GatewayError)
    await rm(join(directory, '0002_other.sql'))
    await writeFile(join(directory, 'third.sql'), 'SELECT 1')
    await expect(run()).rejects.toBeInstanceOf(GatewayError)
  })

  it('refuses a file that comes in below one that was applied', async () => {
    await writeFile(join(directory, '0004_fourth.sql'), 'SELECT 1')
    await run()
    await writeFile(join(directory, '0003_third.sql'), 'SELECT 1')
    await expect(run()).rejects.toMatchObject({ code: 'config', message: expect.stringContaining('0003_third.sql') })
  })

  it('applies each file once when several run at the same time', async () => {
    const applied = await Promise.all([run(), run(), run()])
    expect(applied.flat().sort()).toEqual(['0001_first.sql', '0002_second.sql'])
  })

  it('refuses a login that does not exist', async () => {
    const gatewayUrl = store.url.replace(/\/\/[^:]+:/, '//nobody_at_all:')
    await expect(migrate({ adminUrl: store.adminUrl, gatewayUrl, log, directory })).rejects.toMatchObject({
      code: 'config',
      message: expect.stringContaining('nobody_at_all'),
    })
  })

  it('says that the store cannot be reached', async () => {
    await expect(migrate({ adminUrl: 'postgres://a:b@127.0.0.1:1/c', log, directory })).rejects.toMatchObject({
      code: 'store',
    })
  })

  it('runs as an administrator who is no superuser, as on managed Postgres', async () => {
    const { database } = store
    const admin = openDatabase({ url: store.adminUrl, log })
    const name = new URL(store.adminUrl).pathname.slice(1)
    try {
      // Another run of the tests in this cluster has made the roles: this administrator may hand them out, as its creator could.
      await run()
      await admin.query(`DROP SCHEMA countersign CASCADE`)
      await admin.query(`CREATE ROLE managed_${name} LOGIN CREATEROLE PASSWORD 'managed'`)
      for (const role of ['owner', 'gateway', 'auditor']) {
        await admin.query(`GRANT countersign_${role} TO managed_${name} WITH ADMIN TRUE, SET FALSE, INHERIT FALSE`)
      }
      await admin.query(`GRANT CREATE ON DATABASE ${name} TO managed_${name}`)
      const adminUrl = store.adminUrl.replace(/\/\/[^@]+@/, `//managed_${name}:managed@`)
      expect(await migrate({ adminUrl, log, directory })).toHaveLength(2)
      expect((await database.query('SELECT id FROM countersign.thing')).rows).toEqual([{ id: 1 }])
    } finally {
      await admin.query(`DROP OWNED BY managed_${name}`)
      await admin.query(`DROP ROLE managed_${name}`)
      await admin.close()
    }
  })

  describe('assertSchema', () => {
    it('says how to migrate a store that never was', async () => {
      await expect(assertSchema(store.database, { directory })).rejects.toMatchObject({
        code: 'config',
        message: expect.stringContaining('countersign migrate'),
      })
    })

    it('accepts the newest schema, and one that is older but new enough', async () => {
      await run()
      await assertSchema(store.database, { directory })
      await writeFile(join(directory, '0003_third.sql'), 'SELECT 1')
      await assertSchema(store.database, { directory, oldest: 2 })
    })

    it('refuses a schema that is too old', async () => {
      await run()
      await writeFile(join(directory, '0003_third.sql'), 'SELECT 1')
      await expect(assertSchema(store.database, { directory })).rejects.toMatchObject({
        code: 'config',
        message: expect.stringContaining('countersign migrate'),
      })
    })

    it('accepts a newer schema unless that one breaks with this release', async () => {
      await writeFile(join(directory, '0003_third.sql'), '-- compatible-from: 2\nSELECT 1')
      await run()
      const other = await mkdtemp(join(tmpdir(), 'migrations-'))
      try {
        await writeFile(join(other, '0001_first.sql'), FIRST)
        await expect(assertSchema(store.database, { directory: other })).rejects.toMatchObject({ code: 'config' })
        await writeFile(join(other, '0002_second.sql'), SECOND)
        await assertSchema(store.database, { directory: other })
      } finally {
        await rm(other, { recursive: true })
      }
    })
  })
})

it('applies the migrations that ship', async () => {
  const store = await createTestDatabase()
  try {
    await assertSchema(store.database)
  } finally {
    await store.close()
  }
})
