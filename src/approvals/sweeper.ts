import type { Clock } from '../platform/clock.ts'
import { expireOverdue, withdrawLifted, withdrawSuspended } from './end.ts'
import { createForgetting } from './forget.ts'
import type { Ground } from './ground.ts'
import { remindDue } from './remind.ts'
import { beat, sayGoodbye } from './replicas.ts'
import { closeSpent, settleEnded } from './unknown.ts'

export interface Sweeper {
  /** Beats for the first time. Throws `GatewayError` if the store cannot be reached. */
  start(): Promise<void>
  /** One round; does nothing while another one is under way. */
  sweep(): Promise<void>
  /** Says goodbye; calls that are still under way are other replicas' to settle. */
  stop(): Promise<void>
}

interface Parts {
  readonly replicaId: string
  readonly clock: Clock
  /** The id of the oldest call this process has under way, from its arrival to the record of its outcome. */
  oldestCallId(): string | null
  /** How long the key of an approval that is over is kept. */
  readonly keepMs: number
  readonly everyMs?: number
}

const EVERY_MS = 5000
const BATCH = 100
/** Batches of one kind in one round: a backlog must not keep the heart from beating. */
const MOST_BATCHES = 20

/**
 * What any replica does every few seconds, each thing once across all of them: expire, remind, close, erase, forget,
 * count.
 */
export function createSweeper(ground: Ground, parts: Parts): Sweeper {
  const { database, metrics, log } = ground
  const forget = createForgetting(ground, parts)
  let timer: NodeJS.Timeout | null = null
  let sweeping: Promise<void> | null = null

  const steps: Readonly<Record<string, () => Promise<boolean>>> = {
    beat: async () => {
      await heartbeat()
      return false
    },
    expire: async () => (await expireOverdue(ground, { ids: null, most: BATCH })).length === BATCH,
    // What was opened while its agent was being suspended, and what the one who suspended it could not end.
    withdrawSuspended: async () => (await withdrawSuspended(ground, BATCH)) === BATCH,
    withdrawLifted: async () => (await withdrawLifted(ground, BATCH)) === BATCH,
    remind: async () => (await remindDue(ground, BATCH)) === BATCH,
    closeSpent: () => closeSpent(ground),
    settleEnded: () => settleEnded(ground),
    erase,
    forgetKeys: () => forget('idempotency', BATCH),
    forgetOwed: () => forget('outbox', BATCH),
    forgetConversations: () => forget('conversation', BATCH),
    forgetReplicas: () => forget('replica', BATCH),
    forgetClaims: () => forget('claim', BATCH),
    count: async () => {
      await count()
      return false
    },
  }

  function heartbeat(): Promise<void> {
    const { replicaId, clock } = parts
    return beat(database, { replicaId, clock, oldestCallId: parts.oldestCallId() })
  }

  async function erase(): Promise<boolean> {
    const { rowCount } = await database.query(
      `WITH over AS MATERIALIZED (
         SELECT id FROM approval
         WHERE wrapped_key IS NOT NULL AND state NOT IN ('pending', 'approved')
           AND decided_at < clock_timestamp() - $1 * interval '1 millisecond'
           AND coalesce(spent_at, decided_at) < clock_timestamp() - $1 * interval '1 millisecond'
         ORDER BY decided_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
       UPDATE approval SET wrapped_key = NULL WHERE id IN (SELECT id FROM over)`,
      [parts.keepMs, BATCH],
    )
    return rowCount === BATCH
  }

  async function count(): Promise<void> {
    const { rows } = await database.query<{ pending: number; bytes: number }>(
      `SELECT (SELECT count(*) FROM approval WHERE state = 'pending') AS pending,
         (SELECT coalesce(sum(stored_bytes), 0)::bigint FROM approval WHERE stored_bytes > 0) AS bytes`,
    )
    metrics.pendingApprovals.set(rows[0]?.pending ?? 0)
    metrics.heldBytes.set(rows[0]?.bytes ?? 0)
  }

  async function round(): Promise<void> {
    for (const [name, step] of Object.entries(steps)) {
      try {
        for (let batch = 0; batch < MOST_BATCHES && (await step()); batch++);
      } catch (error) {
        // Each step stands alone, and is tried again in the next round.
        log.warn({ err: error, step: name }, 'a step of the sweeper failed')
      }
    }
  }

  function sweep(): Promise<void> {
    sweeping ??= round().finally(() => {
      sweeping = null
    })
    return sweeping
  }

  return {
    async start() {
      await heartbeat()
      timer = setInterval(() => void sweep(), parts.everyMs ?? EVERY_MS).unref()
    },
    sweep,
    async stop() {
      if (timer) clearInterval(timer)
      await sweeping
      await sayGoodbye(database, parts.replicaId)
    },
  }
}
