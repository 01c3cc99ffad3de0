import type { Notice, NoticeResult, RunningChannel } from '../domain/channel.ts'
import type { Tx } from '../platform/database.ts'
import { computeMac, isValidMac } from '../platform/keys.ts'
import { failWhen } from './fail-when.ts'
import type { Ground } from './ground.ts'

const LABEL = 'countersign notice v1'
/** The first schema that knows of notices; the release before runs without. */
const SCHEMA = 11

/** Milliseconds. */
const TIMING = { pollMs: 1000, deliverMs: 30_000, leaseMs: 60_000, backoffMs: { first: 1000, most: 300_000 } } as const
/** A notice that no channel took for a day is nobody's news. */
const KEPT_MS = 24 * 60 * 60_000

interface Owed {
  readonly id: number
  readonly body: string
  readonly kid: string
  readonly mac: Buffer
  readonly attempts: number
  readonly is_old: boolean
}

export interface Notices {
  start(): void
  /** A hint that something may be owed. */
  hear(): void
  stop(): Promise<void>
}

/** Owes each of these channels the notice, once the transaction commits. */
export async function oweNotice(
  { keys }: Pick<Ground, 'keys'>,
  tx: Tx,
  { notice, channels }: { notice: Notice; channels: readonly string[] },
): Promise<void> {
  const body = JSON.stringify(notice)
  for (const channel of channels) {
    const { kid, mac } = computeMac(keys.mac, LABEL, [channel, body])
    await tx.query('INSERT INTO notice (channel, body, kid, mac) VALUES ($1, $2, $3, $4)', [channel, body, kid, mac])
  }
}

/**
 * Tells channels the notices that they are owed, and forgets each once it was told. As with cards, one is leased before
 * and settled after, so that a crash may have it told twice and loses none.
 */
export function createNotices(
  { database, keys, log, metrics, hasSchema }: Ground,
  { channels }: { channels: readonly RunningChannel[] },
): Notices {
  const stopping = new AbortController()
  let timer: NodeJS.Timeout | null = null
  let telling: Promise<void> | null = null

  function hear(): void {
    if (telling || stopping.signal.aborted || channels.length === 0) return
    telling = tellAll()
      .catch((error: unknown) => log.warn({ err: error }, 'notices could not be read or settled; trying again'))
      .finally(() => {
        telling = null
      })
  }

  async function tellAll(): Promise<void> {
    if (!(await hasSchema(database, SCHEMA))) return
    await Promise.all(channels.map(tellChannel))
  }

  async function tellChannel(channel: RunningChannel): Promise<void> {
    while (!stopping.signal.aborted) {
      const owed = await lease(channel.name)
      if (!owed) return
      const settled = await tellOne(channel, owed)
      metrics.channelDeliveries.inc({ channel: channel.name, result: settled.result })
      await settle(owed, settled)
    }
  }

  async function lease(channel: string): Promise<Owed | null> {
    const { rows } = await database.query<Owed>(
      `WITH due AS MATERIALIZED (
         SELECT id FROM notice WHERE channel = $1 AND next_at <= clock_timestamp()
         ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED)
       UPDATE notice n SET attempts = attempts + 1, next_at = clock_timestamp() + $2 * interval '1 millisecond'
       FROM due WHERE n.id = due.id
       RETURNING n.id, n.body, n.kid, n.mac, n.attempts,
         n.created_at < clock_timestamp() - $3 * interval '1 millisecond' AS is_old`,
      [channel, TIMING.leaseMs, KEPT_MS],
    )
    return rows[0] ?? null
  }

  async function tellOne(channel: RunningChannel, owed: Owed): Promise<NoticeResult> {
    const { body, kid, mac, attempts } = owed
    if (!isValidMac(keys.mac, LABEL, [channel.name, body], { kid, mac })) {
      return { result: 'dropped', cause: 'the notice was altered' }
    }
    if (owed.is_old) return { result: 'dropped', cause: 'no channel took it for a day' }
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(TIMING.deliverMs)])
    const afterMs = Math.min(TIMING.backoffMs.most, TIMING.backoffMs.first * 2 ** Math.min(attempts - 1, 20))
    try {
      // Its MAC says that a gateway wrote it.
      const result = await Promise.race([channel.tell(JSON.parse(body) as Notice, signal), failWhen(signal)])
      return result.result === 'retry' ? { ...result, afterMs: Math.max(afterMs, result.afterMs) } : result
    } catch (error) {
      log.warn({ err: error, channel: channel.name }, 'a channel failed')
      return { result: 'retry', afterMs, cause: 'the channel failed' }
    }
  }

  async function settle({ id }: Owed, settled: NoticeResult): Promise<void> {
    if (settled.result === 'retry') {
      await database.query(
        `UPDATE notice SET next_at = clock_timestamp() + $2 * interval '1 millisecond' WHERE id = $1`,
        [id, settled.afterMs],
      )
      return
    }
    if (settled.result === 'dropped') log.warn({ cause: settled.cause }, 'a notice was dropped')
    await database.query('DELETE FROM notice WHERE id = $1', [id])
  }

  return {
    start() {
      if (channels.length === 0) return
      timer = setInterval(hear, TIMING.pollMs).unref()
      hear()
    },
    hear,
    async stop() {
      if (timer) clearInterval(timer)
      stopping.abort()
      await telling
    },
  }
}
