import { GatewayError } from '../domain/error.ts'
import type { Database } from '../platform/database.ts'

/** Statements and transactions that may wait for their turn; beyond it something is wrong, and waiting would hide it. */
const MOST_WAITING = 50_000

/**
 * The store with at most so many statements and transactions of this lane under way; others wait in order. Thousands of
 * calls may be held in one moment: in the pool's own queue they would time out, and keep everybody else from the store.
 * A statement of a lane is never sent from within one of its transactions: they could wait for each other for ever.
 */
export function openLane(database: Database, { atOnce }: { atOnce: number }): Database {
  const waiting: (() => void)[] = []
  let under = 0
  // Taken from the front; cut off now and then instead of shifted, which would move the rest each time.
  let next = 0

  async function take<T>(work: () => Promise<T>): Promise<T> {
    if (under >= atOnce) {
      if (waiting.length - next >= MOST_WAITING) throw new GatewayError('store', 'too much waits for the store')
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else {
      under += 1
    }
    try {
      return await work()
    } finally {
      pass()
    }
  }

  /** Gives the place to the one that waits longest. */
  function pass(): void {
    const resolve = waiting[next]
    if (!resolve) {
      under -= 1
      return
    }
    next += 1
    if (next === waiting.length || next > 1000) {
      waiting.splice(0, next)
      next = 0
    }
    resolve()
  }

  return {
    ...database,
    query: (sql, params) => take(() => database.query(sql, params)),
    transaction: (work) => take(() => database.transaction(work)),
  }
}
