import type { Server } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { type WebSocket, WebSocketServer } from 'ws'
import type { FakeState } from './state.ts'

/** What an app did with an envelope. */
export interface Acknowledged {
  /** How often it was delivered until it was acknowledged; 0 if it never was. */
  readonly attempts: number
  readonly payload: Record<string, unknown> | null
}

export interface Sockets {
  /** Resolves as soon as an app is connected. */
  connected(): Promise<void>
  count(): number
  deliver(payload: Record<string, unknown>, type?: 'interactive' | 'slash_commands'): Promise<Acknowledged>
  /** Slack moves its servers: it asks the app to connect again. */
  refresh(): void
  /** The next connections are opened, and then nothing is heard on them. */
  beSilent(times: number): void
  /** The connection breaks without a word. */
  cut(): void
  closeAll(): void
}

const MAX_ATTEMPTS = 3
const PING_MS = 2000

/** Socket Mode (https://docs.slack.dev/apis/events-api/using-socket-mode): tickets are good for one connection. */
export function createSockets(server: Server, state: FakeState, ackMs: number): Sockets {
  const sockets = new WebSocketServer({ noServer: true })
  const waiting = new Map<string, (payload: Record<string, unknown> | null) => void>()
  let onConnect: (() => void)[] = []
  let silent = 0

  server.on('upgrade', (request, socket, head) => {
    const url = new URL(request.url ?? '', 'http://localhost')
    if (url.pathname !== '/link/' || !state.tickets.delete(url.searchParams.get('ticket') ?? '')) {
      socket.end('HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n')
      return
    }
    sockets.handleUpgrade(request, socket, head, (connection) => open(connection))
  })

  function open(connection: WebSocket): void {
    const pinging = setInterval(() => connection.ping('Ping from Slack'), PING_MS)
    connection.on('close', () => clearInterval(pinging))
    connection.on('message', (data) => hear(connection, String(data)))
    if (silent > 0) {
      silent -= 1
      return
    }
    send(connection, {
      type: 'hello',
      num_connections: sockets.clients.size,
      connection_info: { app_id: state.appId },
      debug_info: { host: 'fake', approximate_connection_time: 3600 },
    })
    for (const tell of onConnect) tell()
    onConnect = []
  }

  function hear(connection: WebSocket, text: string) {
    const message: unknown = JSON.parse(text)
    const isEnvelope = typeof message === 'object' && message !== null && 'envelope_id' in message
    const acknowledge = isEnvelope ? waiting.get(String(message.envelope_id)) : undefined
    if (!isEnvelope || !acknowledge) return connection.close(1008, 'unknown envelope')
    const payload = 'payload' in message && typeof message.payload === 'object' ? message.payload : null
    acknowledge(payload === null ? null : { ...payload })
  }

  function send(connection: WebSocket, message: Record<string, unknown>): void {
    connection.send(JSON.stringify(message))
  }

  async function connected(): Promise<void> {
    if (sockets.clients.size > 0) return
    await new Promise<void>((resolve) => onConnect.push(resolve))
  }

  return {
    connected,
    count: () => sockets.clients.size,

    async deliver(payload, type = 'interactive') {
      const id = state.nextId('envelope-')
      const acknowledged = new Promise<Record<string, unknown> | null>((resolve) => waiting.set(id, resolve))
      for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
        await connected()
        const [connection] = sockets.clients
        if (connection) {
          send(connection, {
            envelope_id: id,
            type,
            payload,
            accepts_response_payload: true,
            ...(attempt > 1 ? { retry_attempt: attempt - 1, retry_reason: 'timeout' } : {}),
          })
        }
        const done = new AbortController()
        const timeout = delay(ackMs, 'late' as const, { signal: done.signal }).catch(() => 'late' as const)
        const answer = await Promise.race([acknowledged, timeout])
        done.abort()
        if (answer !== 'late') return { attempts: attempt, payload: answer }
      }
      return { attempts: 0, payload: null }
    },

    refresh() {
      for (const connection of sockets.clients) send(connection, { type: 'disconnect', reason: 'refresh_requested' })
    },
    beSilent(times) {
      silent = times
    },
    cut() {
      for (const connection of sockets.clients) connection.terminate()
    },
    closeAll() {
      for (const connection of sockets.clients) connection.terminate()
      sockets.close()
    },
  }
}
