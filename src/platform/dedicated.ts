import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { GatewayError } from '../domain/error.ts'
import type { Logger } from './logger.ts'
import { classify, connect, end, type Result, toResult } from './session.ts'

const CLOSE_TIMEOUT_MS = 5_000

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

export function openDedicated({ settings, log }: { settings: pg.ClientConfig; log: Logger }): DedicatedConnection {
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
