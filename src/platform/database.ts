import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { GatewayError } from '../domain/error.ts'
import { StoreClient } from './client.ts'
import { type DedicatedConnection, openDedicated } from './dedicated.ts'
import { startEars } from './listen.ts'
import type { Logger } from './logger.ts'
import { classify, connectionSettings, prepareSession, type Result, toResult } from './session.ts'

// What goes with a database is imported from here; where it is written is no one else's business.
export type { DedicatedConnection } from './dedicated.ts'
export { sqlState } from './session.ts'

const REACHABLE_TIMEOUT_MS = 1_000
const CLOSE_TIMEOUT_MS = 5_000

/** Something to send SQL through: the pool, or one transaction. */
export interface Tx {
  query<Row extends object = Record<string, unknown>>(sql: string, params?: readonly unknown[]): Promise<Result<Row>>
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
  // The pool awaits it, though its types say that nothing is returned: nobody gets a connection that is not set up.
  const setUp = { onConnect: prepareSession }
  const pool = new pg.Pool({
    ...settings,
    max: options.maxConnections ?? 10,
    idleTimeoutMillis: 60_000,
    ...setUp,
    // The types say that it is made without its settings.
    Client: StoreClient as unknown as new () => StoreClient,
  })
  pool.on('error', (error) => log.warn({ err: error }, 'an idle connection to the store was lost'))

  const allGone = awaitGone(pool)

  let closing: Promise<void> | null = null
  const ears = startEars({ settings, log })
  const dedicated = new Set<DedicatedConnection>()

  const prepare = createPreparation()

  async function query<Row extends object>(sql: string, params: readonly unknown[] = []): Promise<Result<Row>> {
    try {
      return toResult<Row>(await pool.query(prepare(sql, params)))
    } catch (error) {
      throw classify(error)
    }
  }

  async function close(): Promise<void> {
    await Promise.all([ears.close(), ...[...dedicated].map((connection) => connection.close())])
    const ended = pool.end().then(allGone)
    const hasEnded = await Promise.race([ended.then(() => true), sleep(CLOSE_TIMEOUT_MS, false, { ref: false })])
    if (!hasEnded) log.warn({ waitedMs: CLOSE_TIMEOUT_MS }, 'closed the store with transactions still under way')
  }

  return {
    query,
    transaction: (work) => runTransaction(pool, prepare, work),
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

/** The pool says that it has ended when it has told its clients to: until they have, the server still serves them. */
function awaitGone(pool: pg.Pool): () => Promise<void> {
  const allGone = Promise.withResolvers<void>()
  let open = 0
  let isEnding = false
  const look = () => isEnding && open === 0 && allGone.resolve()
  pool.on('connect', () => {
    open += 1
  })
  pool.on('remove', () => {
    open -= 1
    look()
  })
  return () => {
    isEnding = true
    look()
    return allGone.promise
  }
}

type Prepare = (sql: string, params: readonly unknown[]) => pg.QueryConfig

const MOST_PREPARED = 500

/**
 * Gives each statement a name, so that a connection parses and plans it once: for the short statements here that takes
 * longer than running them. Texts are few, since what varies is in the parameters; of more than expected the rest goes
 * without a name. What has no parameters may be several statements, which cannot be prepared.
 */
function createPreparation(): Prepare {
  const names = new Map<string, string>()
  return (sql, params) => {
    if (params.length === 0) return { text: sql }
    let name = names.get(sql)
    if (name === undefined && names.size < MOST_PREPARED) {
      name = `countersign_${names.size}`
      names.set(sql, name)
    }
    return { ...(name !== undefined && { name }), text: sql, values: [...params] }
  }
}

async function runTransaction<T>(pool: pg.Pool, prepare: Prepare, work: (tx: Tx) => Promise<T>): Promise<T> {
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
      return await client.query(prepare(sql, params))
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
