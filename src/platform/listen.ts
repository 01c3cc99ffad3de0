import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { GatewayError } from '../domain/error.ts'
import type { Logger } from './logger.ts'
import { classify, connect, end } from './session.ts'

const PING_MS = 5_000
const BACKOFF_MS = { first: 100, most: 5_000 }
const CLOSE_TIMEOUT_MS = 5_000

/** The connection that listens, and what keeps it alive. */
export function startEars({ settings, log }: { settings: pg.ClientConfig; log: Logger }) {
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
    // It may be lost while it is being set up: then it was never the current one, and `connect` fails.
    let own: pg.Client | null = null
    const client = await connect(settings, (error) => own && lose(own, error))
    own = client
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
    ping = setInterval(() => {
      client.query('SELECT 1').catch((error: unknown) => lose(client, error))
    }, PING_MS)
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
