import type { Approval } from '../domain/approval.ts'
import type { Exchange, Outcome, Stored } from '../domain/call.ts'
import { GatewayError } from '../domain/error.ts'
import type { Clock } from '../platform/clock.ts'
import { withdraw } from './end.ts'
import { readDetachedCall } from './finish.ts'
import type { Ground } from './ground.ts'
import { approvalOf, readHeld } from './store.ts'

export interface Runner {
  start(): void
  /** A hint that an approval changed. */
  hear(): void
  /** Takes no more, and waits for those under way, at most `waitMs`. */
  stop(waitMs: number): Promise<void>
}

interface Parts {
  /**
   * Makes the exchange of a stored call, by its upstream's protocol; null if it cannot be made any more. Throws
   * `GatewayError('config')` if only this process cannot.
   */
  revive(approval: Approval, stored: Stored): Promise<Exchange | null>
  /** The gate's: judges again, spends, forwards, and records the outcome. */
  resume(call: Exchange, approval: Approval): Promise<Outcome>
  readonly replicaId: string
  readonly clock: Pick<Clock, 'monotonic'>
  readonly timing?: Partial<RunnerTiming>
}

/** Milliseconds. */
export interface RunnerTiming {
  readonly pollMs: number
  readonly leaseMs: number
  /** Before an approval is tried again that could neither be spent nor ended. */
  readonly retryMs: number
}

/** How long a process leaves alone what its configuration does not let it do. */
const LEAVE_MS = 60_000

const TIMING: RunnerTiming = { pollMs: 1000, leaseMs: 15_000, retryMs: 5000 }
const AT_ONCE = 16

/**
 * Carries detached calls out once they are approved. A lease says which process does it; it is renewed while the process
 * lives, and another one takes over when it has run out. After the spend a lease means nothing: the spend is the lock,
 * and what was spent is never run again.
 */
export function createRunner(ground: Ground, parts: Parts): Runner {
  const { database, keys, log } = ground
  const timing: RunnerTiming = { ...TIMING, ...parts.timing }
  const underWay = new Map<string, Promise<void>>()
  /** What others have to carry out, and until when this process leaves it to them. */
  const left = new Map<string, number>()
  let timer: NodeJS.Timeout | null = null
  let pumping: Promise<void> | null = null
  let isHinted = false
  let isStopped = false

  function hear(): void {
    isHinted = true
    if (pumping || isStopped) return
    pumping = pump()
      .catch((error: unknown) => log.warn({ err: error }, 'detached calls could not be read; trying again'))
      .finally(() => {
        pumping = null
      })
  }

  async function pump(): Promise<void> {
    while (isHinted && !isStopped) {
      isHinted = false
      for (const id of await lease(AT_ONCE - underWay.size)) {
        const run = carryOut(id).finally(() => {
          underWay.delete(id)
          hear()
        })
        underWay.set(id, run)
      }
    }
  }

  async function lease(most: number): Promise<readonly string[]> {
    if (most <= 0) return []
    const { rows } = await database.query<{ id: string }>(
      `WITH due AS MATERIALIZED (
         SELECT id FROM approval
         WHERE state = 'approved' AND is_detached AND use_by > clock_timestamp()
           AND (lease_until IS NULL OR lease_until <= clock_timestamp()) AND id <> ALL ($4)
         ORDER BY decided_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
       UPDATE approval SET lease_by = $1, lease_until = clock_timestamp() + $3 * interval '1 millisecond'
       WHERE id IN (SELECT id FROM due)
       RETURNING id`,
      [parts.replicaId, most, timing.leaseMs, leftToOthers()],
    )
    return rows.map((row) => row.id)
  }

  function leftToOthers(): readonly string[] {
    for (const [id, until] of left) if (until <= parts.clock.monotonic()) left.delete(id)
    return [...left.keys()]
  }

  async function carryOut(id: string): Promise<void> {
    const renewal = setInterval(() => {
      setLease(id, timing.leaseMs).catch((error: unknown) => log.debug({ err: error }, 'a lease was not renewed'))
    }, timing.leaseMs / 3).unref()
    let retryMs = timing.retryMs
    try {
      await run(id)
    } catch (error) {
      log.error({ err: error, approval: id }, 'a detached call could not be carried out')
      if (error instanceof GatewayError && error.code === 'config') {
        left.set(id, parts.clock.monotonic() + LEAVE_MS)
        retryMs = 0
      }
    } finally {
      clearInterval(renewal)
    }
    await setLease(id, retryMs).catch((error: unknown) => log.debug({ err: error }, 'a lease was not given back'))
  }

  async function run(id: string): Promise<void> {
    const held = await readHeld(database, keys, { id })
    if (held?.row.state !== 'approved') return
    const stored = held.isGenuine ? await readDetachedCall(ground, id) : null
    if (!stored) {
      await withdraw(ground, id, 'tampered')
      return
    }
    const approval = approvalOf(held)
    const call = await parts.revive(approval, stored)
    if (!call) {
      await withdraw(ground, id, 'call_changed')
      return
    }
    try {
      await parts.resume(call, approval)
    } finally {
      call.end?.()
    }
  }

  /** Only before the spend, and only of this process's own. */
  async function setLease(id: string, ms: number): Promise<void> {
    await database.query(
      `UPDATE approval SET lease_until = clock_timestamp() + $3 * interval '1 millisecond'
       WHERE id = $1 AND lease_by = $2 AND state = 'approved'`,
      [id, parts.replicaId, ms],
    )
  }

  return {
    start() {
      timer = setInterval(hear, timing.pollMs).unref()
      hear()
    },
    hear,
    async stop(waitMs) {
      isStopped = true
      if (timer) clearInterval(timer)
      await pumping
      const patience = new Promise<void>((resolve) => setTimeout(resolve, waitMs).unref())
      await Promise.race([Promise.all(underWay.values()), patience])
    },
  }
}
