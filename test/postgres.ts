import { createHash, randomUUID } from 'node:crypto'
import { copyFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { inject } from 'vitest'
import { type Database, openDatabase } from '../src/platform/database.ts'
import { createLogger } from '../src/platform/logger.ts'
import { migrate } from '../src/platform/migrations.ts'

export interface TestDatabase {
  /** The superuser's. */
  readonly adminUrl: string
  /** The gateway login's. */
  readonly url: string
  /** Opened with `url`. */
  readonly database: Database
  close(): Promise<void>
}

const MIGRATIONS = new URL('../migrations/', import.meta.url)

const log = createLogger({ level: 'fatal' })

/** A fresh database with every migration applied: a copy of a template, which is made once a run. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const template = await ensureTemplate()
  // A copy of its files: to write each page into the log as well takes several times as long.
  return await createDatabase(`TEMPLATE ${template} STRATEGY file_copy`)
}

/** A fresh database with the migrations up to this one: what a release before left. */
export async function createOlderDatabase(schema: number): Promise<TestDatabase> {
  const directory = await mkdtemp(join(tmpdir(), 'countersign-migrations-'))
  try {
    for (const name of await readdir(MIGRATIONS)) {
      if (Number.parseInt(name, 10) <= schema) await copyFile(new URL(name, MIGRATIONS), join(directory, name))
    }
    const store = await createEmptyDatabase()
    await migrate({ adminUrl: store.adminUrl, gatewayUrl: store.url, log, directory })
    return store
  } finally {
    await rm(directory, { recursive: true })
  }
}

/** A fresh database without anything in it. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  return await createDatabase('')
}

async function createDatabase(how: string): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await asAdmin((client) => client.query(`CREATE DATABASE ${name} ${how}`))
  const cluster = inject('cluster')
  const url = inDatabase(cluster.url, name)
  const database = openDatabase({ url, log })
  return {
    adminUrl: inDatabase(cluster.adminUrl, name),
    url,
    database,
    async close() {
      await database.close()
      await asAdmin((client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`))
    },
  }
}

/** Named after what the migrations hold, so that a run that watches makes a new one when they change. */
async function ensureTemplate(): Promise<string> {
  const hash = createHash('sha256')
  for (const name of (await readdir(MIGRATIONS)).sort())
    hash.update(name).update(await readFile(new URL(name, MIGRATIONS)))
  const template = `template_${hash.digest('hex').slice(0, 32)}`
  await asAdmin(async (client) => {
    // Test files run at the same time; the first one makes it.
    await client.query('SELECT pg_advisory_lock(1)')
    const { rows } = await client.query('SELECT FROM pg_database WHERE datname = $1', [template])
    if (rows.length > 0) return
    const unfinished = `${template}_unfinished`
    await client.query(`DROP DATABASE IF EXISTS ${unfinished} WITH (FORCE)`)
    await client.query(`CREATE DATABASE ${unfinished}`)
    const { adminUrl, url } = inject('cluster')
    await migrate({ adminUrl: inDatabase(adminUrl, unfinished), gatewayUrl: url, log })
    await client.query(`ALTER DATABASE ${unfinished} RENAME TO ${template}`)
  })
  return template
}

async function asAdmin<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: inject('cluster').adminUrl })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function inDatabase(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.href
}
