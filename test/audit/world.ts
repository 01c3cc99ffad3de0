import { createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { Limits } from '../../src/audit/group-commit.ts'
import { headPath, openAudit } from '../../src/audit/open.ts'
import type { Entry } from '../../src/domain/entry.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { type Database, openDatabase, type Tx } from '../../src/platform/database.ts'
import { newCallId } from '../../src/platform/id.ts'
import type { Keys } from '../../src/platform/keys.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { createMetrics } from '../../src/platform/metrics.ts'

export const log = createLogger({ level: 'silent' })
export const keys = makeKeys()
export const ISSUER = 'https://idp.example.com'

export const AGENT: Principal = {
  issuer: ISSUER,
  subject: 'agent-7',
  onBehalfOf: { issuer: ISSUER, subject: 'alice' },
  actors: [],
  owner: { issuer: ISSUER, subject: 'olga' },
  groups: [],
  client: 'support-bot',
  expiresAt: 0,
}

export function makeKeys(): Pick<Keys, 'checkpoint' | 'mac'> {
  const { privateKey: key, publicKey } = generateKeyPairSync('ed25519')
  const secret = createSecretKey(randomBytes(32))
  return {
    checkpoint: { kid: 'c1', current: { kid: 'c1', algorithm: 'EdDSA', key, publicKey }, previous: null },
    mac: { kid: 'm1', current: { kid: 'm1', key: secret }, previous: null },
  }
}

export function intentOf(more: Partial<Entry> = {}): Entry & { kind: 'intent'; callId: string } {
  return {
    principal: AGENT,
    upstream: 'billing',
    verb: 'GET',
    resource: '/refunds/12',
    effect: 'allow',
    rule: 'billing/reads',
    policyVersion: 3,
    ...more,
    kind: 'intent',
    callId: more.callId ?? newCallId(),
  }
}

export function outcomeOf(callId: string, more: Partial<Entry> = {}): Entry {
  return { kind: 'outcome', callId, upstream: 'billing', outcome: 'forwarded', detail: { status: 200 }, ...more }
}

export async function temporaryDirectory(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'countersign-audit-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

/** One gateway process, as far as the audit log goes: its own pool, its own data directory. */
export async function openGateway(options: {
  url: string
  dataDir: string
  limits?: Limits
  pollMs?: number
  keys?: Pick<Keys, 'checkpoint' | 'mac'>
  withdrawOlder?: (thanMs: number) => Promise<void>
}) {
  const database: Database = openDatabase({ url: options.url, log })
  const opened = await openAudit({
    database,
    keys: options.keys ?? keys,
    dataDir: options.dataDir,
    clock: systemClock,
    log,
    metrics: createMetrics(),
    pollMs: options.pollMs ?? 50,
    ...(options.limits && { limits: options.limits }),
  }).catch(async (error: unknown) => {
    await database.close()
    throw error
  })
  opened.follow(options.withdrawOlder ?? (async () => {}))
  return {
    ...opened,
    database,
    headPath: headPath(options.dataDir),
    async close() {
      await opened.close()
      await database.close()
    },
  }
}

/** Runs SQL as the superuser. */
export async function asSuperuser<T>(adminUrl: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: adminUrl })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** A superuser's transaction, in which a log can be damaged and looked at; it is rolled back in the end. */
export async function openScratch(adminUrl: string): Promise<{ tx: Tx; close(): Promise<void> }> {
  const client = new pg.Client({ connectionString: adminUrl })
  await client.connect()
  await client.query('BEGIN')
  return {
    tx: {
      async query<Row extends object>(text: string, params: readonly unknown[] = []) {
        const { rows, rowCount } = await client.query<Row>({ text, values: [...params], types: INT8_AS_NUMBER })
        return { rows, rowCount: rowCount ?? 0 }
      },
    },
    async close() {
      await client.query('ROLLBACK')
      await client.end()
    },
  }
}

const INT8_AS_NUMBER = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format),
}

/** What an administrator bent on harm does first: takes the triggers away. */
export async function damage(tx: Tx, ...statements: readonly string[]): Promise<void> {
  for (const table of ['audit_entry', 'audit_entry_000000', 'audit_personal']) {
    await tx.query(`ALTER TABLE countersign.${table} DISABLE TRIGGER ALL`)
  }
  for (const statement of statements) await tx.query(statement)
}

/** A copy of a database that nobody is connected to. */
export async function copyDatabase(original: { readonly url: string; readonly adminUrl: string }) {
  const name = new URL(original.url).pathname.slice(1)
  const copy = `copy_${randomBytes(8).toString('hex')}`
  const inDatabase = (url: string, database: string) => Object.assign(new URL(url), { pathname: `/${database}` }).href
  const maintenanceUrl = inDatabase(original.adminUrl, 'postgres')
  await asSuperuser(maintenanceUrl, (client) => client.query(`CREATE DATABASE ${copy} TEMPLATE ${name}`))
  const database = openDatabase({ url: inDatabase(original.url, copy), log })
  return {
    url: inDatabase(original.url, copy),
    adminUrl: inDatabase(original.adminUrl, copy),
    database,
    async close() {
      await database.close()
      await asSuperuser(maintenanceUrl, (client) => client.query(`DROP DATABASE ${copy} WITH (FORCE)`))
    },
  }
}
