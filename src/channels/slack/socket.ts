import { setTimeout as delay } from 'node:timers/promises'
import { SocketModeReceiver } from '@slack/bolt'
import type { Logger } from '../../platform/logger.ts'
import { createBoltLogger } from './bolt-logger.ts'
import { createBoundedFetch } from './bounded-fetch.ts'

const MAX_PAUSE_MS = 30_000
const CLOSE_MS = 1000

/**
 * Socket Mode: Slack's callbacks over a WebSocket that we open. The library's own reconnecting is off: it ends for good
 * on a network fault, as a rejection nobody can catch. Here a lost connection is opened again until we stop.
 */
export function createSocket(parts: {
  readonly appToken: string
  readonly apiUrl: string
  readonly timeoutMs: number
  /** Before the first repetition; doubled with each, to half a minute. */
  readonly pauseMs: number
  readonly stopping: AbortSignal
  readonly log: Logger
}) {
  const { appToken, apiUrl, timeoutMs, pauseMs, stopping, log } = parts
  const receiver = new SocketModeReceiver({
    appToken,
    autoReconnectEnabled: false,
    logger: createBoltLogger(log),
    processEventErrorHandler: async ({ error }) => {
      log.error({ err: error }, 'a callback of Slack could not be handled')
      return false
    },
    installerOptions: {
      clientOptions: {
        slackApiUrl: apiUrl,
        retryConfig: { retries: 0 },
        rejectRateLimitedCalls: true,
        fetch: createBoundedFetch({ timeoutMs, signals: [stopping] }),
      },
    },
  })
  const { client } = receiver

  /** Resolves when the connection is gone, or when we stop. */
  function untilClosed(): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        client.removeListener('disconnected', end)
        stopping.removeEventListener('abort', end)
        resolve()
      }
      client.once('disconnected', end)
      stopping.addEventListener('abort', end, { once: true })
    })
  }

  /** Resolves once Slack has said hello. */
  async function connect(): Promise<void> {
    const late = new AbortController()
    const timeout = delay(timeoutMs, null, { signal: AbortSignal.any([late.signal, stopping]) })
    try {
      await Promise.race([
        receiver.start(),
        timeout.then(() => Promise.reject(new Error('Slack did not say hello in time'))),
      ])
    } catch (error) {
      await close()
      throw error
    } finally {
      late.abort()
    }
  }

  async function close(): Promise<void> {
    const done = new AbortController()
    const timeout = delay(CLOSE_MS, false, { signal: done.signal }).catch(() => false)
    const closed = Promise.resolve(client.disconnect()).then(() => true)
    const isClosed = await Promise.race([closed, timeout])
    done.abort()
    // The second time, the library does not wait for the other side to agree.
    if (!isClosed) void client.disconnect()
  }

  return {
    receiver,

    /** Keeps a connection open. Resolves when we stop; never rejects. */
    async keepOpen(): Promise<void> {
      let failures = 0
      while (!stopping.aborted) {
        try {
          await connect()
          failures = 0
          log.info('connected to Slack (Socket Mode)')
          await untilClosed()
          if (!stopping.aborted) log.info('Slack closed the connection; opening another')
        } catch (error) {
          failures += 1
          if (!stopping.aborted)
            log.error({ err: error, failures }, 'no connection to Slack: buttons do not work until there is')
        }
        const pause = Math.min(MAX_PAUSE_MS, failures === 0 ? 0 : pauseMs * 2 ** Math.min(failures - 1, 10))
        await delay(pause, null, { signal: stopping }).catch(() => null)
      }
      await close()
    },
  }
}
