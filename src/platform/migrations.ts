import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { GatewayError } from '../domain/error.ts'
import { StoreClient } from './client.ts'
import { type Database, sqlState } from './database.ts'
import type { Logger } from './logger.ts'

const SHIPPED = fileURLToPath(new URL('../../migrations', import.meta.url))

// The advisory lock of a database's migrations: "cntrsign" in ASCII. Only administrators migrate, so that nobody else
// who took it could stop more than a migration.
const LOCK = 0x636e747273696e67n
const LOCK_TIMEOUT_MS = 60_000
const CONNECT_TIMEOUT_MS = 10_000
// A migration may rewrite a large table.
const STATEMENT_TIMEOUT_MS = 3_600_000

export const ROLES = {
  owner: 'countersign_owner',
  gateway: 'countersign_gateway',
  auditor: 'countersign_auditor',
} as const

interface Migration {
  readonly version: number
  readonly name: string
  readonly sql: string
  readonly sha256: string
  /** A release that knows only older schemas than this one cannot run with it. */
  readonly compatibleFrom: number
}

interface Applied {
  readonly version: number
  readonly name: string
  readonly sha256: string
}

/**
 * Brings a database to the newest schema, one transaction a file. Several may run at once: one works, the others wait.
 * @param options.adminUrl may create roles and schemas; a superuser, or the administrator of a managed Postgres
 * @param options.gatewayUrl whose login is made a member of `countersign_gateway`
 * @param options.directory of numbered SQL files; those that ship, unless told otherwise
 * @returns the names of the files that were applied
 * @throws GatewayError `config` if an applied file was changed or is missing, `store` if Postgres cannot be reached
 */
export async function migrate(options: {
  adminUrl: string
  gatewayUrl?: string
  log: Logger
  directory?: string
}): Promise<readonly string[]> {
  const { log, gatewayUrl } = options
  const migrations = await readMigrations(options.directory ?? SHIPPED)
  const client = await connect(options.adminUrl)
  try {
    await client.query('SELECT pg_advisory_lock($1)', [LOCK])
    await prepareGround(client, log)
    const pending = toApply(migrations, await readApplied(client))
    for (const migration of pending) {
      await apply(client, migration)
      log.info({ migration: migration.name }, 'migrated the store')
    }
    if (gatewayUrl !== undefined) await admitLogin(client, loginOf(gatewayUrl))
    return pending.map(({ name }) => name)
  } finally {
    // Ends the session, and with it the lock.
    await client.end().catch((error: unknown) => log.debug({ err: error }, 'the connection was already lost'))
  }
}

/**
 * Refuses a store whose schema this release does not know. A release runs with the schema of the one before it and
 * of the one after; a migration that breaks with older releases says from which schema on in a comment,
 * `-- compatible-from: 12`.
 * @param options.oldest the version this release needs at least; the newest it ships, unless told otherwise
 * @throws GatewayError `config`, naming what to do
 */
export async function assertSchema(
  database: Database,
  options: { directory?: string; oldest?: number } = {},
): Promise<void> {
  const newest = (await readMigrations(options.directory ?? SHIPPED)).at(-1)?.version ?? 0
  const oldest = options.oldest ?? newest
  const { version, compatibleFrom } = await readSchema(database)
  if (version < oldest) {
    const found = version === 0 ? 'has no schema yet' : `has schema ${version}, and this release needs ${oldest}`
    throw new GatewayError('config', `the store ${found}: run countersign migrate`)
  }
  if (compatibleFrom > newest) {
    throw new GatewayError('config', `the store has schema ${version}, which is newer than this release can work with`)
  }
}

async function readSchema(database: Database): Promise<{ version: number; compatibleFrom: number }> {
  try {
    const { rows } = await database.query<{ version: number; compatibleFrom: number }>(
      `SELECT coalesce(max(version), 0) AS version, coalesce(max(compatible_from), 0) AS "compatibleFrom"
       FROM countersign.migration`,
    )
    return rows[0] ?? { version: 0, compatibleFrom: 0 }
  } catch (error) {
    const state = sqlState(error)
    // No such schema, no such table: nothing was ever migrated.
    if (state === '3F000' || state === '42P01') return { version: 0, compatibleFrom: 0 }
    if (state !== '42501') throw error
    const message = 'the login of store.url may not read the schema countersign'
    throw new GatewayError('config', `${message}: run countersign migrate, which admits it`, { cause: error })
  }
}

async function readMigrations(directory: string): Promise<readonly Migration[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort()
  const migrations: Migration[] = []
  for (const name of names) {
    const version = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1])
    if (!(version > (migrations.at(-1)?.version ?? 0))) {
      throw new GatewayError('internal', `${name} is not named as a migration, or shares its number with another`)
    }
    const sql = await readFile(join(directory, name), 'utf8')
    const sha256 = createHash('sha256').update(sql).digest('hex')
    const compatibleFrom = Number(/^-- compatible-from: (\d+)$/m.exec(sql)?.[1] ?? 0)
    migrations.push({ version, name, sql, sha256, compatibleFrom })
  }
  return migrations
}

async function connect(adminUrl: string): Promise<pg.Client> {
  const client = new StoreClient({
    connectionString: adminUrl,
    application_name: 'countersign migrate',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
  })
  // What goes wrong between two statements shows at the next one.
  client.on('error', () => undefined)
  try {
    await client.connect()
    return client
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : ''
    throw new GatewayError('store', `the store cannot be reached with store.admin_url: ${why}`, { cause })
  }
}

/** The roles, the schema, and the list of what was applied. */
async function prepareGround(client: pg.Client, log: Logger): Promise<void> {
  for (const role of Object.values(ROLES)) {
    // Roles belong to the whole server: another database's migration may be creating them at this moment.
    await client.query(`DO $$ BEGIN CREATE ROLE ${role} NOLOGIN;
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
  }
  await becomeAbleToActAsOwner(client)
  await client.query(`CREATE SCHEMA IF NOT EXISTS countersign AUTHORIZATION ${ROLES.owner}`)
  const { rows } = await client.query<{ owner: string; is_public_open: boolean }>(
    `SELECT (SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'countersign') AS owner,
       EXISTS (SELECT FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public'
         AND grantee = 0 AND privilege_type = 'CREATE') AS is_public_open`,
  )
  if (rows[0]?.owner !== ROLES.owner) {
    throw new GatewayError('config', `the schema countersign belongs to ${rows[0]?.owner}, not to ${ROLES.owner}`)
  }
  // Databases that come from before Postgres 15 let everybody put functions into everybody's search path.
  if (rows[0].is_public_open) {
    await client.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC').catch((error: unknown) => {
      log.warn({ err: error }, 'every login may create objects in the schema public, and this one cannot change that')
    })
  }
  await client.query(`SET ROLE ${ROLES.owner}`)
  await client.query(`GRANT USAGE ON SCHEMA countersign TO ${ROLES.gateway}, ${ROLES.auditor};
    CREATE TABLE IF NOT EXISTS countersign.migration (
      version int PRIMARY KEY,
      name text NOT NULL,
      sha256 text NOT NULL,
      compatible_from int NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now()
    );
    GRANT SELECT ON countersign.migration TO ${ROLES.gateway}, ${ROLES.auditor}`)
  await client.query('RESET ROLE')
}

/** The administrator of a managed Postgres is no superuser: it needs to be a member of owner, without inheriting. */
async function becomeAbleToActAsOwner(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ is_superuser: boolean; version: number; is_able: boolean }>(
    `SELECT rolsuper AS is_superuser, current_setting('server_version_num')::int AS version,
       pg_has_role(current_user, '${ROLES.owner}', 'MEMBER') AS is_able FROM pg_roles WHERE rolname = current_user`,
  )
  const { is_superuser: isSuperuser, version = 0, is_able: isAble } = rows[0] ?? {}
  if (isSuperuser) return
  // Since 16, whoever created a role is its administrator, but may not act as it until granted that.
  if (version >= 160_000) await client.query(`GRANT ${ROLES.owner} TO CURRENT_USER WITH SET TRUE, INHERIT FALSE`)
  else if (!isAble) await client.query(`GRANT ${ROLES.owner} TO CURRENT_USER`)
}

async function readApplied(client: pg.Client): Promise<readonly Applied[]> {
  await client.query(`SET ROLE ${ROLES.owner}`)
  const { rows } = await client.query<Applied>(
    'SELECT version, name, sha256 FROM countersign.migration ORDER BY version',
  )
  await client.query('RESET ROLE')
  return rows
}

/** What is still to be applied. What a newer release applied is left alone. */
function toApply(migrations: readonly Migration[], applied: readonly Applied[]): readonly Migration[] {
  const done = new Map(applied.map((each) => [each.version, each]))
  for (const { version, name, sha256 } of migrations) {
    const before = done.get(version)
    if (before && before.sha256 !== sha256) {
      throw new GatewayError('config', `the migration ${name} is not the one that was applied (as ${before.name})`)
    }
    if (!before && applied.some((each) => each.version > version)) {
      throw new GatewayError(
        'config',
        `the store has later migrations, but not ${name}: it was not migrated by a release`,
      )
    }
  }
  return migrations.filter(({ version }) => !done.has(version))
}

async function apply(client: pg.Client, { version, name, sql, sha256, compatibleFrom }: Migration): Promise<void> {
  try {
    await client.query('BEGIN')
    await client.query(sql)
    await client.query(`SET ROLE ${ROLES.owner}`)
    await client.query(
      'INSERT INTO countersign.migration (version, name, sha256, compatible_from) VALUES ($1, $2, $3, $4)',
      [version, name, sha256, compatibleFrom],
    )
    await client.query('COMMIT')
    // A file may set a role or a search path for itself; the next one starts as the first did.
    await client.query('RESET ALL')
    await client.query('RESET ROLE')
  } catch (cause) {
    // The session ends right after this, which rolls back too.
    await client.query('ROLLBACK').catch(() => undefined)
    const why = cause instanceof Error ? cause.message : ''
    throw new GatewayError('store', `the migration ${name} failed, and nothing of it was kept: ${why}`, { cause })
  }
}

function loginOf(gatewayUrl: string): string {
  const login = new pg.Client({ connectionString: gatewayUrl }).user
  if (login) return login
  throw new GatewayError('config', 'store.url names no user')
}

async function admitLogin(client: pg.Client, login: string): Promise<void> {
  const { rows } = await client.query<{ is_member: boolean }>(
    `SELECT pg_has_role(rolname, '${ROLES.gateway}', 'MEMBER') AS is_member FROM pg_roles WHERE rolname = $1`,
    [login],
  )
  if (!rows[0]) throw new GatewayError('config', `the login of store.url, ${login}, does not exist: create it first`)
  if (!rows[0].is_member) await client.query(`GRANT ${ROLES.gateway} TO ${client.escapeIdentifier(login)}`)
}
