import pg from 'pg'
import { GatewayError } from '../domain/error.ts'
import { StoreClient } from './client.ts'

/** Newer servers are fine; older ones lack what the migrations and the audit log rely on. */
const OLDEST_SERVER = 150_000

const CONNECT_TIMEOUT_MS = 2_000
const STATEMENT_TIMEOUT_MS = 5_000
// Longer than the server's own timeout, which is the better witness of what happened; this one is for a server that is gone.
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 1_000

/**
 * What every session is set to, whatever the role, the database or the server say. An intent must be on disk before
 * its call is forwarded; a gateway that hangs must not hold the lock of the chain's head for longer than two seconds.
 */
const SESSION = {
  synchronous_commit: 'on',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  statement_timeout: `${STATEMENT_TIMEOUT_MS}`,
  lock_timeout: '2000',
  idle_in_transaction_session_timeout: '2000',
  // How soon the server notices that a gateway's machine is gone. Servers that cannot do it log that and go on.
  tcp_user_timeout: '2000',
  tcp_keepalives_idle: '10',
  tcp_keepalives_interval: '2',
  tcp_keepalives_count: '3',
  // pg_temp is named last: left out, it would be searched first, and a temporary table could shadow one of ours.
  search_path: 'countersign, pg_temp',
  // How times and bytes are written and read. A role may set these for itself; the driver reads no other forms.
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  standard_conforming_strings: 'on',
} as const

/** Since Postgres 17, where a role may set them for itself: sessions would end in the middle of their work. */
const UNLIMITED = ['transaction_timeout', 'idle_session_timeout']

export interface Result<Row extends object> {
  rows: Row[]
  rowCount: number
}

export function connectionSettings(url: string): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: 'countersign',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types: { getTypeParser },
  }
}

const INT8 = 20

function getTypeParser(oid: number, format?: 'text' | 'binary') {
  // Sequence numbers and counts stay far below 2^53; one that does not stays text, as the driver would have it.
  if (oid === INT8 && format !== 'binary') {
    return (text: string) => (Number.isSafeInteger(Number(text)) ? Number(text) : text)
  }
  return pg.types.getTypeParser(oid, format)
}

export async function prepareSession(client: pg.ClientBase): Promise<void> {
  const names = Object.keys(SESSION)
  const calls = names.map((_, index) => `set_config($${2 * index + 1}, $${2 * index + 2}, false)`)
  const { rows } = await client.query<{ version: number; is_standby: boolean }>(
    `SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS is_standby, ${calls.join(', ')}`,
    Object.entries(SESSION).flat(),
  )
  await client.query(`SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY ($1) AND setting <> '0'`, [
    UNLIMITED,
  ])
  const { rows: now } = await client.query<{ transaction_isolation: string }>('SHOW transaction_isolation')
  const server = rows[0]
  if (!server || server.version < OLDEST_SERVER) throw new GatewayError('store', 'the store is older than Postgres 15')
  if (server.is_standby) throw new GatewayError('store', 'the store is a standby: it cannot be written to')
  if (now[0]?.transaction_isolation !== 'read committed') {
    throw new GatewayError('store', 'the store does not let a session choose READ COMMITTED')
  }
}

export async function connect(settings: pg.ClientConfig, onLost: (error: unknown) => void): Promise<pg.Client> {
  const client = new StoreClient(settings)
  client.on('error', onLost)
  try {
    await client.connect()
    await prepareSession(client)
    return client
  } catch (error) {
    end(client)
    throw classify(error)
  }
}

/** Lets go of a client without waiting: one whose server is gone would not answer the goodbye. */
export function end(client: pg.Client): void {
  client.end().catch(() => undefined)
}

/** The SQLSTATE of an error of the server, also under a `GatewayError`; null if it is none. */
export function sqlState(error: unknown): string | null {
  if (error instanceof pg.DatabaseError) return error.code ?? null
  return error instanceof GatewayError ? sqlState(error.cause) : null
}

/**
 * SQLSTATE classes and codes with which a server says that it cannot serve now: connection exceptions, wrong
 * credentials, no resources, shutting down; and those of a wait that was cut short.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const UNAVAILABLE = /^(08|28|3D|53|57P|58|F0|XX|25006|25P03|25P04|55P03|57014)/

export function classify(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof GatewayError) return error
  if (error instanceof TypeError || error instanceof RangeError) return error
  if (error instanceof pg.DatabaseError && !UNAVAILABLE.test(error.code ?? '')) return error
  // What is no answer of the server comes from the driver: it could not connect, was cut off, or waited too long.
  return new GatewayError('store', `the store is unavailable: ${error.message || 'no connection'}`, { cause: error })
}

export function toResult<Row extends object>(result: pg.QueryResult): Result<Row> {
  // The caller states the shape of its own SELECT; pg cannot know it.
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 }
}
