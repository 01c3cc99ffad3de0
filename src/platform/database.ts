import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { GatewayError } from '../domain/error.ts'
import type { Logger } from './logger.ts'

/** Newer servers are fine; older ones lack what the migrations and the audit log rely on. */
const OLDEST_SERVER = 150_000

const CONNECT_TIMEOUT_MS = 2_000
const STATEMENT_TIMEOUT_MS = 5_000
// Longer than the server's own timeout, which is the better witness of what happened; this one is for a server that is gone.
const ANSWER_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 1_000
const REACHABLE_TIMEOUT_MS = 1_000
const CLOSE_TIMEOUT_MS = 5_000
const LISTEN_PING_MS = 5_000
const BACKOFF_MS = { first: 100, most: 5_000 }

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
} as const

export interface Result<Row extends object> {
  rows: Row[]
  rowCount: number
}

/** Something to send SQL through: the pool, or one transaction. */
export interface Tx {
  query<Row extends object = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<Result<Row>>
}

/** A statement; one with a name is parsed and planned once per connection. */
export interface Statement {
  readonly name?: string
  readonly text: string
  readonly values?: readonly unknown[]
}

/**
 * One connection of one owner, opened at its first use and again after it was lost. Statements sent without awaiting
 * the one before are pipelined, in order, each its own transaction.
 */
export interface DedicatedConnection {
  query<Row extends object = Record<string, unknown>>(statement: Statement): Promise<Result<Row>>
  close(): Promise<void>
}

/**
 * The store. What fails because it cannot be reached, or did not answer in time, is a `GatewayError` with the code
 * `store` and the driver's error as its cause; whether a statement that failed so took effect is then unknown.
 * Other errors of the server (a constraint, a RAISE) pass as they are: see `sqlState`. int8 is read as a number.
 */
export interface Database extends Tx {
  /** READ COMMITTED. Rolled back if `work` throws. The `tx` ends with `work`. */
  transaction<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /**
   * Hears NOTIFY on one connection shared by all channels, which reconnects by itself. Anyone may send a NOTIFY, and
   * some are lost on reconnect: it is a hint. After each reconnect `hear('')` says that something may have been missed.
   */
  listen(channel: string, hear: (payload: string) => void): Promise<void>
  dedicated(): Promise<DedicatedConnection>
  /** Whether the store answers within a second or so. */
  isReachable(): Promise<boolean>
  /** Waits for transactions under way, at most five seconds. */
  close(): Promise<void>
}

/** Opens a pool; nothing is connected yet. */
export function openDatabase(options: { url: string; log: Logger; maxConnections?: number }): Database {
  const { log } = options
  const settings = connectionSettings(options.url)
  const pool = new pg.Pool({
    ...settings,
    max: options.maxConnections ?? 10,
    idleTimeoutMillis: 60_000,
    // The pool awaits it, though its types do not say so: nobody gets a connection that is not set up.
    onConnect: prepareSession,
  })
  pool.on('error', (error) => log.warn({ err: error }, 'an idle connection to the store was lost'))

  let closing: Promise<void> | null = null
  const ears = startEars({ settings, log })
  const dedicated = new Set<DedicatedConnection>()

  async function query<Row extends object>(sql: string, params: readonly unknown[] = []): Promise<Result<Row>> {
    try {
      return toResult<Row>(await pool.query(sql, [...params]))
    } catch (error) {
      throw classify(error)
    }
  }

  async function close(): Promise<void> {
    await Promise.all([ears.close(), ...[...dedicated].map((connection) => connection.close())])
    const ended = pool.end()
    const hasEnded = await Promise.race([ended.then(() => true), sleep(CLOSE_TIMEOUT_MS, false, { ref: false })])
    if (!hasEnded) log.warn({ waitedMs: CLOSE_TIMEOUT_MS }, 'closed the store with transactions still under way')
  }

  return {
    query,
    transaction: (work) => runTransaction(pool, work),
    listen: (channel, hear) => ears.listen(channel, hear),
    async dedicated() {
      const connection = openDedicated({ settings, log })
      dedicated.add(connection)
      return {
        query: connection.query,
        async close() {
          dedicated.delete(connection)
          await connection.close()
        },
      }
    },
    async isReachable() {
      const answered = pool.query('SELECT 1').then(
        () => true,
        () => false,
      )
      return await Promise.race([answered, sleep(REACHABLE_TIMEOUT_MS, false, { ref: false })])
    },
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

/** The SQLSTATE of an error of the server, also under a `GatewayError`; null if it is none. */
export function sqlState(error: unknown): string | null {
  if (error instanceof pg.DatabaseError) return error.code ?? null
  return error instanceof GatewayError ? sqlState(error.cause) : null
}

function connectionSettings(url: string): pg.ClientConfig {
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

async function prepareSession(client: pg.ClientBase): Promise<void> {
  const names = Object.keys(SESSION)
  const calls = names.map((_, index) => `set_config($${2 * index + 1}, $${2 * index + 2}, false)`)
  const { rows } = await client.query<{ version: number; is_standby: boolean; isolation: string }>(
    `SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS is_standby,
       current_setting('transaction_isolation') AS isolation, ${calls.join(', ')}`,
    Object.entries(SESSION).flat(),
  )
  const { rows: now } = await client.query<{ transaction_isolation: string }>('SHOW transaction_isolation')
  const server = rows[0]
  if (!server || server.version < OLDEST_SERVER)
    throw new GatewayError('store', 'the store must be Postgres 15 or newer')
  if (server.is_standby) throw new GatewayError('store', 'the store is a standby: it cannot be written to')
  if (now[0]?.transaction_isolation !== 'read committed') {
    throw new GatewayError('store', 'the store does not let a session choose READ COMMITTED')
  }
}

async function connect(settings: pg.ClientConfig, onLost: (error: unknown) => void): Promise<pg.Client> {
  const client = new pg.Client(settings)
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
function end(client: pg.Client): void {
  client.end().catch(() => undefined)
}

async function runTransaction<T>(pool: pg.Pool, work: (tx: Tx) => Promise<T>): Promise<T> {
  let client: pg.PoolClient
  try {
    client = await pool.connect()
  } catch (error) {
    throw classify(error)
  }
  let lost: unknown = null
  const onError = (error: unknown) => {
    lost = error
  }
  // The server may end the session while no statement runs; without a listener that would end the process.
  client.on('error', onError)

  async function send(sql: string, params: readonly unknown[] = []): Promise<pg.QueryResult> {
    try {
      return await client.query(sql, [...params])
    } catch (error) {
      // Without an answer of the server the state of the connection is unknown: it is not used again.
      if (!(error instanceof pg.DatabaseError)) lost ??= error
      throw classify(error)
    }
  }

  let isOpen = true
  const tx: Tx = {
    async query<Row extends object>(sql: string, params?: readonly unknown[]) {
      if (!isOpen) throw new GatewayError('internal', 'a transaction was used after its end')
      return toResult<Row>(await send(sql, params))
    },
  }

  try {
    await send('BEGIN ISOLATION LEVEL READ COMMITTED')
    const value = await work(tx)
    isOpen = false
    const { command } = await send('COMMIT')
    // A statement's error that `work` swallowed has aborted the transaction; Postgres then answers ROLLBACK.
    if (command !== 'COMMIT') throw new GatewayError('internal', 'a transaction was rolled back instead of committed')
    return value
  } catch (error) {
    isOpen = false
    // If it fails, the connection is not used again, and the server rolls back when it is gone.
    if (lost === null) {
      await send('ROLLBACK').catch((failed: unknown) => {
        lost = failed
      })
    }
    throw error
  } finally {
    client.off('error', onError)
    client.release(lost !== null)
  }
}

function openDedicated({ settings, log }: { settings: pg.ClientConfig; log: Logger }): DedicatedConnection {
  let current: Promise<pg.Client> | null = null
  let isClosed = false

  function open(): Promise<pg.Client> {
    if (isClosed) throw new GatewayError('internal', 'a dedicated connection was used after its end')
    if (current) return current
    const opening = connect({ ...settings, pipeline: true }, (error) => {
      log.warn({ err: error }, 'a dedicated connection to the store was lost')
      forget(opening)
    })
    current = opening
    opening.catch(() => forget(opening))
    return opening
  }

  function forget(which: Promise<pg.Client>): void {
    if (current !== which) return
    current = null
    which.then(end, () => undefined)
  }

  return {
    async query<Row extends object>({ name, text, values = [] }: Statement) {
      const using = open()
      const client = await using
      try {
        const statement = name === undefined ? { text, values: [...values] } : { name, text, values: [...values] }
        return toResult<Row>(await client.query(statement))
      } catch (error) {
        const fault = classify(error)
        if (fault instanceof GatewayError) forget(using)
        throw fault
      }
    },
    async close() {
      isClosed = true
      const using = current
      current = null
      const client = await using?.catch(() => null)
      if (client) await Promise.race([client.end(), sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
    },
  }
}

/** The connection that listens, and what keeps it alive. */
function startEars({ settings, log }: { settings: pg.ClientConfig; log: Logger }) {
  const heard = new Map<string, Set<(payload: string) => void>>()
  const stop = new AbortController()
  let opening: Promise<pg.Client> | null = null
  let current: pg.Client | null = null
  let ping: NodeJS.Timeout | null = null

  function connection(): Promise<pg.Client> {
    opening ??= open().catch((error: unknown) => {
      opening = null
      throw error
    })
    return opening
  }

  async function open(): Promise<pg.Client> {
    stop.signal.throwIfAborted()
    const client = await connect(settings, (error) => lose(client, error))
    client.on('end', () => lose(client, new Error('the connection ended')))
    client.on('notification', ({ channel, payload }) => tell(heard.get(channel), payload ?? ''))
    try {
      for (const channel of heard.keys()) await client.query(`LISTEN ${channel}`)
      stop.signal.throwIfAborted()
    } catch (error) {
      end(client)
      throw classify(error)
    }
    current = client
    // Nothing else is sent on this connection, and only a statement shows that the server is gone.
    ping = setInterval(() => client.query('SELECT 1').catch((error: unknown) => lose(client, error)), LISTEN_PING_MS)
    ping.unref()
    return client
  }

  function tell(ears: Iterable<(payload: string) => void> = [], payload: string): void {
    for (const hear of ears) {
      try {
        hear(payload)
      } catch (error) {
        log.error({ err: error }, 'what a NOTIFY was heard for failed')
      }
    }
  }

  function lose(client: pg.Client, error: unknown): void {
    if (current !== client) return
    current = null
    opening = null
    if (ping) clearInterval(ping)
    end(client)
    if (stop.signal.aborted) return
    log.warn({ err: error }, 'the listening connection to the store was lost')
    void reopen()
  }

  async function reopen(): Promise<void> {
    for (let waitMs = BACKOFF_MS.first; !stop.signal.aborted; waitMs = Math.min(2 * waitMs, BACKOFF_MS.most)) {
      try {
        await sleep(waitMs, undefined, { signal: stop.signal, ref: false })
        await connection()
        log.info('listening to the store again')
        for (const ears of heard.values()) tell(ears, '')
        return
      } catch (error) {
        if (!stop.signal.aborted) log.debug({ err: error }, 'the store cannot be listened to yet')
      }
    }
  }

  return {
    async listen(channel: string, hear: (payload: string) => void): Promise<void> {
      if (!/^[a-z_][a-z0-9_]{0,62}$/.test(channel)) throw new GatewayError('internal', `no channel name: ${channel}`)
      // Known before LISTEN is sent, so that a reconnect in between asks for this channel too.
      const ears = heard.get(channel) ?? new Set()
      heard.set(channel, ears.add(hear))
      try {
        const client = await connection()
        await client.query(`LISTEN ${channel}`)
      } catch (error) {
        ears.delete(hear)
        throw classify(error)
      }
    },
    async close(): Promise<void> {
      stop.abort()
      if (ping) clearInterval(ping)
      const client = current
      current = null
      if (client) await Promise.race([client.end(), sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
    },
  }
}

function toResult<Row extends object>(result: pg.QueryResult): Result<Row> {
  // The caller states the shape of its own SELECT; pg cannot know it.
  return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 }
}

/**
 * SQLSTATE classes and codes with which a server says that it cannot serve now: connection exceptions, wrong
 * credentials, no resources, shutting down; and those of a wait that was cut short.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const UNAVAILABLE = /^(08|28|3D|53|57P|58|F0|XX|25006|25P03|25P04|55P03|57014)/

function classify(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof GatewayError) return error
  if (error instanceof TypeError || error instanceof RangeError) return error
  if (error instanceof pg.DatabaseError && !UNAVAILABLE.test(error.code ?? '')) return error
  // What is no answer of the server comes from the driver: it could not connect, was cut off, or waited too long.
  return new GatewayError('store', `the store is unavailable: ${error.message || 'no connection'}`, { cause: error })
}
