import type { Approval } from '../domain/approval.ts'
import type { Delivery, DeliveryResult, RunningChannel } from '../domain/channel.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Precedents } from '../domain/precedent.ts'
import type { Clock } from '../platform/clock.ts'
import { failWhen } from './fail-when.ts'
import type { Ground } from './ground.ts'
import { readQuestions } from './questions.ts'
import { readCard } from './read.ts'
import { approvalOf, type Held, readHeld } from './store.ts'

export interface Outbox {
  start(): void
  /** A hint that something may be owed. */
  hear(): void
  /** Waits for deliveries under way, at most as long as one may take. */
  stop(): Promise<void>
}

interface Parts {
  readonly channels: readonly RunningChannel[]
  readonly clock: Clock
  /** From 0 up to 1, to spread retries. */
  readonly random: () => number
  readonly replicaId: string
  withClaim(found: { readonly approval: Approval }): Promise<{ readonly approval: Approval } | null>
  precedents(id: string, told: { readonly channel: string }): Promise<Precedents | null>
  readonly timing?: Partial<OutboxTiming>
}

/** Milliseconds. */
export interface OutboxTiming {
  readonly pollMs: number
  /** How long one delivery may take. */
  readonly deliverMs: number
  /** How long a row is this process's; more than a delivery may take. */
  readonly leaseMs: number
  readonly backoffMs: { readonly first: number; readonly most: number }
}

const TIMING: OutboxTiming = {
  pollMs: 1000,
  deliverMs: 30_000,
  leaseMs: 60_000,
  backoffMs: { first: 1000, most: 300_000 },
}

/** Deliveries under way at once, for each channel. */
const AT_ONCE = 4

interface Owed {
  readonly approval: string
  readonly channel: string
  readonly kind: Delivery['kind']
  readonly conversation: string
  readonly generation: number
  readonly attempts: number
}

type Settled =
  /** `opened`: the thread that the channel was told of. */
  | (DeliveryResult & { readonly opened?: JsonObject | null })
  | { readonly result: 'skipped'; readonly cause: string }
  /** It did not answer: something may have been posted. */
  | { readonly result: 'failed'; readonly cause: string }

/**
 * Tells channels what they are owed. Rows are leased in one short transaction and settled in another, with the network
 * in between: what a crash interrupts is delivered again, so a card may appear twice and is never lost. A card goes
 * before its result; the card of an approval that is over is not sent any more.
 */
export function createOutbox(ground: Ground, parts: Parts): Outbox {
  const { database, keys, metrics, log } = ground
  const { channels, replicaId } = parts
  const timing: OutboxTiming = { ...TIMING, ...parts.timing }
  const stopping = new AbortController()
  const running = new Map<string, number>(channels.map((channel) => [channel.name, 0]))
  const underWay = new Set<Promise<void>>()
  let timer: NodeJS.Timeout | null = null
  let pumping: Promise<void> | null = null
  let isHinted = false

  function hear(): void {
    isHinted = true
    if (pumping || stopping.signal.aborted || channels.length === 0) return
    pumping = pump()
      .catch((error: unknown) => log.warn({ err: error }, 'what channels are owed could not be read; trying again'))
      .finally(() => {
        pumping = null
      })
  }

  async function pump(): Promise<void> {
    while (isHinted && !stopping.signal.aborted) {
      isHinted = false
      await skipStale()
      for (const channel of channels) await pumpChannel(channel)
    }
  }

  async function pumpChannel(channel: RunningChannel): Promise<void> {
    const room = AT_ONCE - (running.get(channel.name) ?? 0)
    if (room <= 0) return
    for (const owed of await lease(channel.name, room)) {
      running.set(channel.name, (running.get(channel.name) ?? 0) + 1)
      const delivery = handle(channel, owed).finally(() => {
        running.set(channel.name, (running.get(channel.name) ?? 1) - 1)
        underWay.delete(delivery)
        hear()
      })
      underWay.add(delivery)
    }
  }

  /**
   * The card of an approval that is over before anything was posted, and then its result, are nobody's news; unless it
   * was overridden: reviewers who were passed over are told in any case.
   */
  async function skipStale(): Promise<void> {
    await database.query(
      `WITH stale AS MATERIALIZED (
         SELECT c.approval, c.channel FROM outbox c JOIN approval a ON a.id = c.approval
         WHERE c.kind = 'card' AND c.done_at IS NULL AND c.channel = ANY($1) AND NOT c.is_uncertain
           AND a.state NOT IN ('pending', 'approved')
           AND NOT EXISTS (SELECT FROM vote v WHERE v.approval = a.id AND v.via LIKE 'override:%')
         ORDER BY c.approval LIMIT 100 FOR UPDATE OF c SKIP LOCKED)
       UPDATE outbox o SET done_at = clock_timestamp(), end_result = 'skipped', cause = 'over before it was posted',
         lease_by = NULL, lease_until = NULL
       FROM stale WHERE o.approval = stale.approval AND o.channel = stale.channel AND o.done_at IS NULL`,
      [channels.map((channel) => channel.name)],
    )
  }

  async function lease(channel: string, most: number): Promise<readonly Owed[]> {
    const { rows } = await database.query<Owed>(
      `WITH due AS MATERIALIZED (
         SELECT approval, kind FROM outbox d
         WHERE channel = $1 AND done_at IS NULL AND next_at <= clock_timestamp()
           AND (lease_until IS NULL OR lease_until <= clock_timestamp())
           AND (kind = 'card' OR NOT EXISTS (SELECT FROM outbox c
             WHERE c.approval = d.approval AND c.channel = d.channel AND c.kind = 'card' AND c.done_at IS NULL))
         ORDER BY next_at LIMIT $3 FOR UPDATE SKIP LOCKED)
       UPDATE outbox o SET lease_by = $2, lease_until = clock_timestamp() + $4 * interval '1 millisecond',
         attempts = attempts + 1, is_uncertain = true
       FROM due WHERE o.approval = due.approval AND o.channel = $1 AND o.kind = due.kind
       RETURNING o.approval, o.channel, o.kind, o.conversation, o.generation, o.attempts`,
      [channel, replicaId, most, timing.leaseMs],
    )
    return rows
  }

  async function handle(channel: RunningChannel, owed: Owed): Promise<void> {
    try {
      const settled = await deliver(channel, owed)
      metrics.channelDeliveries.inc({ channel: channel.name, result: settled.result })
      await settle(owed, settled)
    } catch (error) {
      // The lease runs out, and it is delivered again.
      log.warn({ err: error, approval: owed.approval, channel: channel.name }, 'a delivery could not be settled')
    }
  }

  async function deliver(channel: RunningChannel, owed: Owed): Promise<Settled> {
    const held = await readHeld(database, keys, { id: owed.approval })
    if (!held?.isGenuine) return { result: 'skipped', cause: 'the approval was altered' }
    const card = await readCard(ground, database, held)
    if (!card) return { result: 'skipped', cause: 'the card was erased' }
    const isForPending = owed.kind === 'reminder' || owed.kind === 'question'
    if (isForPending && held.row.state !== 'pending') return { result: 'skipped', cause: 'it is decided' }
    const { posted, opened } = await readPosted(owed)
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(timing.deliverMs)])
    const conversation = { key: owed.conversation, opened }
    const delivery: Delivery = { kind: owed.kind, ...(await surround(held, owed)), card, posted, conversation }
    try {
      return { ...(await Promise.race([channel.deliver(delivery, signal), failWhen(signal)])), opened }
    } catch (error) {
      log.warn({ err: error, approval: owed.approval, channel: channel.name }, 'a channel failed')
      return { result: 'failed', cause: 'the channel failed' }
    }
  }

  /** What a card says beside the call, as long as people may decide on it. */
  async function surround(
    held: Held,
    { kind, channel }: Owed,
  ): Promise<Pick<Delivery, 'approval' | 'precedents' | 'questions'>> {
    const approval = approvalOf(held)
    if (approval.state !== 'pending') return { approval }
    const precedents = kind === 'reminder' ? null : await parts.precedents(approval.id, { channel })
    const questions = await readQuestions(ground, database, held.row)
    return { approval, ...(await parts.withClaim({ approval })), precedents, questions }
  }

  async function readPosted(owed: Owed): Promise<{ posted: JsonObject | null; opened: JsonObject | null }> {
    const { rows } = await database.query<{ posted: JsonObject | null; opened: JsonObject | null }>(
      `SELECT (SELECT posted FROM outbox WHERE approval = $1 AND channel = $2 AND kind = 'card') AS posted,
         (SELECT opened FROM conversation WHERE channel = $2 AND key = $3) AS opened`,
      [owed.approval, owed.channel, owed.conversation],
    )
    return rows[0] ?? { posted: null, opened: null }
  }

  async function settle(owed: Owed, settled: Settled): Promise<void> {
    if (settled.result === 'retry' || settled.result === 'failed') return postpone(owed, settled)
    await database.transaction(async (tx) => {
      // What is changed later is the card: a reminder stays as it is.
      if (settled.result === 'delivered' && owed.kind !== 'reminder') {
        await tx.query(`UPDATE outbox SET posted = $3 WHERE approval = $1 AND channel = $2 AND kind = 'card'`, [
          owed.approval,
          owed.channel,
          JSON.stringify(settled.posted),
        ])
        await tx.query(
          // A card that was told of a thread and began another one has found it gone: the next go where this one is.
          `INSERT INTO conversation (channel, key, opened) VALUES ($1, $2, $3)
           ON CONFLICT (channel, key) DO UPDATE SET opened = CASE
             WHEN conversation.opened IS NULL OR ($4 AND conversation.opened = $5::jsonb)
               THEN coalesce(EXCLUDED.opened, conversation.opened)
             ELSE conversation.opened END`,
          [
            owed.channel,
            owed.conversation,
            settled.conversation && JSON.stringify(settled.conversation),
            owed.kind === 'card',
            settled.opened ? JSON.stringify(settled.opened) : null,
          ],
        )
      }
      // A newer generation is owed as before; it only is not this process's any more.
      await tx.query(
        `UPDATE outbox SET lease_by = NULL, lease_until = NULL, is_uncertain = false,
           done_at = CASE WHEN generation = $4 THEN clock_timestamp() END,
           end_result = CASE WHEN generation = $4 THEN $5 END, cause = CASE WHEN generation = $4 THEN $6 END
         WHERE approval = $1 AND channel = $2 AND kind = $3 AND lease_by = $7 AND done_at IS NULL`,
        [
          owed.approval,
          owed.channel,
          owed.kind,
          owed.generation,
          settled.result,
          settled.result === 'delivered' ? null : settled.cause,
          replicaId,
        ],
      )
    })
    if (settled.result === 'dropped') {
      log.warn({ approval: owed.approval, channel: owed.channel, cause: settled.cause }, 'a message was dropped')
    }
  }

  async function postpone(owed: Owed, why: Extract<Settled, { result: 'retry' | 'failed' }>): Promise<void> {
    const { first, most } = timing.backoffMs
    const backoffMs = Math.min(most, first * 2 ** Math.min(owed.attempts - 1, 20)) * (0.5 + parts.random() / 2)
    const afterMs = why.result === 'retry' ? Math.max(why.afterMs, backoffMs) : backoffMs
    await database.query(
      `UPDATE outbox SET lease_by = NULL, lease_until = NULL, is_uncertain = is_uncertain AND $7, cause = $6,
         next_at = clock_timestamp() + $5 * interval '1 millisecond'
       WHERE approval = $1 AND channel = $2 AND kind = $3 AND lease_by = $4 AND done_at IS NULL`,
      [owed.approval, owed.channel, owed.kind, replicaId, afterMs, why.cause, why.result === 'failed'],
    )
  }

  async function measureLag(): Promise<void> {
    const { rows } = await database.query<{ channel: string; lag: number }>(
      `SELECT c.channel, coalesce(extract(epoch FROM clock_timestamp() - min(o.created_at)), 0)::float8 AS lag
       FROM unnest($1::text[]) AS c (channel) LEFT JOIN outbox o ON o.channel = c.channel AND o.done_at IS NULL
       GROUP BY c.channel`,
      [channels.map((channel) => channel.name)],
    )
    for (const { channel, lag } of rows) metrics.channelLagSeconds.set({ channel }, lag)
  }

  return {
    start() {
      if (channels.length === 0) return
      timer = setInterval(() => {
        hear()
        measureLag().catch((error: unknown) => log.debug({ err: error }, 'the lag of channels is not known'))
      }, timing.pollMs).unref()
      hear()
    },
    hear,
    async stop() {
      if (timer) clearInterval(timer)
      stopping.abort()
      await pumping
      await Promise.all(underWay)
    },
  }
}
