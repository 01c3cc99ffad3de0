import { closureOf, formatParty, type Principal, principalKey } from '../domain/principal.ts'
import type { Effect } from '../domain/verdict.ts'
import type { Database } from '../platform/database.ts'
import type { Logger } from '../platform/logger.ts'
import { createSchemaCheck, type HasSchema } from '../platform/schema.ts'
import { BREAKER_SCHEMA } from './suspensions.ts'

/** Writes down which agents call, with whom, and how often they were held or denied. */
export interface SeenAgents {
  note(principal: Principal, effect: Effect): void
  /** Writes what was counted so far. Throws `GatewayError('store')`; nothing is lost then. */
  flush(): Promise<void>
  start(): void
  /** Writes what was counted, once. */
  stop(): Promise<void>
}

interface Count {
  readonly principal: Principal
  readonly key: Buffer
  calls: number
  holds: number
  denials: number
}

const FLUSH_MS = 1_000
const FORGET_MS = 60 * 60_000
/** Principals between two flushes. While the store is away, more than these are not counted; the log has them. */
const MOST = 10_000
/** How long an agent that does not call is remembered. */
const KEPT_DAYS = 90

export function createSeenAgents({ database, log }: { database: Database; log: Logger }): SeenAgents {
  // While a token is known, its principal is the same object: the key is computed once for it, not once a call.
  const keys = new WeakMap<Principal, { readonly id: string; readonly key: Buffer }>()
  const hasSchema = createSchemaCheck()
  let counts = new Map<string, Count>()
  let timers: readonly NodeJS.Timeout[] = []
  let flushing: Promise<void> = Promise.resolve()

  function note(principal: Principal, effect: Effect): void {
    const { id, key } = keyOf(principal)
    let count = counts.get(id)
    if (!count) {
      if (counts.size >= MOST) return
      count = { principal, key, calls: 0, holds: 0, denials: 0 }
      counts.set(id, count)
    }
    count.calls += 1
    if (effect === 'hold') count.holds += 1
    if (effect === 'deny') count.denials += 1
  }

  function keyOf(principal: Principal): { readonly id: string; readonly key: Buffer } {
    let known = keys.get(principal)
    if (!known) {
      const key = principalKey(principal)
      known = { id: key.toString('base64'), key }
      keys.set(principal, known)
    }
    return known
  }

  function flush(): Promise<void> {
    // One at a time: two would lock the same rows in different orders.
    flushing = flushing.catch(() => undefined).then(flushOnce)
    return flushing
  }

  async function flushOnce(): Promise<void> {
    if (counts.size === 0) return
    const taken = counts
    counts = new Map()
    try {
      await write(database, [...taken.values()])
    } catch (error) {
      for (const [id, count] of taken) {
        const since = counts.get(id)
        if (since) add(since, count)
        else if (counts.size < MOST) counts.set(id, count)
      }
      throw error
    }
  }

  function tryFlush(): Promise<void> {
    return flush().catch((error: unknown) => log.warn({ err: error }, 'which agents call could not be written'))
  }

  return {
    note,
    flush,
    start() {
      const tryForget = () => {
        forget(database, hasSchema).catch((error: unknown) =>
          log.warn({ err: error }, 'old agents could not be forgotten'),
        )
      }
      timers = [setInterval(() => void tryFlush(), FLUSH_MS).unref(), setInterval(tryForget, FORGET_MS).unref()]
    },
    async stop() {
      for (const timer of timers) clearInterval(timer)
      await tryFlush()
    },
  }
}

function add(to: Count, { calls, holds, denials }: Count): void {
  to.calls += calls
  to.holds += holds
  to.denials += denials
}

// Every statement goes over its rows in the order of their keys, so that replicas that write the same ones wait for each
// other instead of dying of it.
async function write(database: Database, counts: readonly Count[]): Promise<void> {
  const issuers = counts.map(({ principal }) => principal.issuer)
  const subjects = counts.map(({ principal }) => principal.subject)
  await database.transaction(async (tx) => {
    await tx.query(
      `INSERT INTO countersign.agent AS a (issuer, subject, seen_at)
       SELECT DISTINCT issuer, subject, now() FROM unnest($1::text[], $2::text[]) AS s (issuer, subject) ORDER BY 1, 2
       ON CONFLICT (issuer, subject) DO UPDATE SET seen_at = greatest(a.seen_at, excluded.seen_at)`,
      [issuers, subjects],
    )
    await tx.query(
      `INSERT INTO countersign.agent_closure AS c (principal_key, issuer, subject, parties, seen_at)
       SELECT DISTINCT ON (key) key, issuer, subject, ARRAY(SELECT json_array_elements_text(parties::json)), now()
       FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[]) AS s (key, issuer, subject, parties) ORDER BY key
       ON CONFLICT (principal_key) DO UPDATE SET seen_at = greatest(c.seen_at, excluded.seen_at)`,
      [
        counts.map(({ key }) => key),
        issuers,
        subjects,
        counts.map(({ principal }) => JSON.stringify(closureOf(principal).map(formatParty))),
      ],
    )
    await tx.query(
      `INSERT INTO countersign.agent_hour AS h (issuer, subject, hour, calls, holds, denials)
       SELECT issuer, subject, date_trunc('hour', now()), sum(calls), sum(holds), sum(denials)
       FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
         AS s (issuer, subject, calls, holds, denials) GROUP BY 1, 2 ORDER BY 1, 2
       ON CONFLICT (issuer, subject, hour) DO UPDATE SET calls = h.calls + excluded.calls,
         holds = h.holds + excluded.holds, denials = h.denials + excluded.denials`,
      [
        issuers,
        subjects,
        counts.map(({ calls }) => calls),
        counts.map(({ holds }) => holds),
        counts.map(({ denials }) => denials),
      ],
    )
  })
}

/** What belongs to somebody who is stopped or held stays: it says who must not resume them. */
async function forget(database: Database, hasSchema: HasSchema): Promise<void> {
  await database.query(`DELETE FROM countersign.agent_hour WHERE hour < now() - interval '25 hours'`)
  const isHeld = (await hasSchema(database, BREAKER_SCHEMA))
    ? `EXISTS (SELECT FROM countersign.breaker_hold b WHERE b.issuer || '|' || b.subject = ANY (c.parties))`
    : 'false'
  await database.query(
    `DELETE FROM countersign.agent_closure c WHERE c.seen_at < now() - $1 * interval '1 day' AND NOT ${isHeld}
       AND NOT EXISTS (SELECT FROM countersign.suspension s WHERE s.issuer || '|' || s.subject = ANY (c.parties))`,
    [KEPT_DAYS],
  )
  await database.query(`DELETE FROM countersign.agent WHERE seen_at < now() - $1 * interval '1 day'`, [KEPT_DAYS])
}
