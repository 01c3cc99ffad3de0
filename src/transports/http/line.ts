import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isWaitingToContinue } from './continue.ts'
import type { TakeTunnel } from './forward.ts'
import { passResponseHeaders, type Rewrite } from './response-headers.ts'
import { clientSink, type Sink } from './sink.ts'
import { tunnel } from './tunnel.ts'
import { type UpgradeConnection, writeSwitching } from './upgrade.ts'
import { type BodyFault, declaredLength, type Inspect, readBody, streamBody, type Upload } from './upload.ts'

/** How the bytes of one call come in and go out. */
export interface Line {
  /** Reads the whole body, as far as `take` finds room for it. It is asked once. */
  read(maxBytes: number, take: (bytes: number) => boolean): Promise<Buffer | BodyFault | 'malformed'>
  /** Lets the body stream instead. */
  stream(inspect: Inspect | null): Upload
  readonly sink: Sink
  /** Answers in the upstream's place; nothing happens if the client is gone or an answer has begun. */
  answer(status: number, headers: Readonly<Record<string, string>>, text: string): void
  whenGone(told: () => void): void
  /** Null for a call that is no upgrade. */
  tunnel(ends: { readonly signal: AbortSignal; readonly maxMs: number; spendBytes(count: number): boolean }): TakeTunnel
}

// A client that is refused while it still sends: what it has left to send is read up to here, or its connection ends.
const MAX_UNREAD_BYTES = 1024 * 1024

// A body that is kept in memory is not waited for as long as one that streams.
const READ_IDLE_MS = 30_000
const READ_TOTAL_MS = 300_000

/** A request that waits on its connection. `added` are response headers of the gateway's own. */
export function plainLine(
  request: IncomingMessage,
  response: ServerResponse,
  { idleMs, added }: { idleMs: number; added: () => readonly string[] },
): Line {
  return {
    read: (maxBytes, take) =>
      readBody(request, response, { maxBytes, take, idleMs: Math.min(idleMs, READ_IDLE_MS), totalMs: READ_TOTAL_MS }),
    stream: (inspect) => streamBody(request, response, { idleMs, inspect }),
    sink: clientSink(response, added),
    answer(status, headers, text) {
      if (response.destroyed || response.headersSent) return
      const unread = request.complete ? 0 : (declaredLength(request) ?? Number.POSITIVE_INFINITY)
      const mustClose = unread > MAX_UNREAD_BYTES || isWaitingToContinue(request)
      writeAnswer(response, { status, headers, text, added, mustClose })
    },
    whenGone(told) {
      // Not the request's own `close` or signal: those come as soon as its body is read.
      const tell = () => {
        if (!response.writableFinished) told()
      }
      if (response.closed || response.destroyed) tell()
      else response.on('close', tell)
    },
    tunnel: () => () => Promise.reject(new TypeError('the request is no upgrade')),
  }
}

interface UpgradeLineParts {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly connection: UpgradeConnection
  readonly rewrite: Rewrite
  readonly added: () => readonly string[]
}

/** A request for an upgrade, on a socket that HTTP was detached from. */
export function upgradeLine({ request, response, connection, rewrite, added }: UpgradeLineParts): Line {
  return {
    async read(_maxBytes, take) {
      const read = await connection.body()
      return typeof read === 'string' || take(read.length) ? read : 'no_room'
    },
    stream: () => {
      throw new TypeError('the body of an upgrade is read, not streamed')
    },
    sink: clientSink(response, added),
    answer(status, headers, text) {
      if (response.destroyed || response.headersSent || !response.socket) return
      writeAnswer(response, { status, headers, text, added, mustClose: true })
    },
    whenGone: connection.whenGone,
    tunnel: (ends) => async (headers, upstream) => {
      const wanted = request.headers.upgrade?.toLowerCase()
      if (headers.upgrade?.toLowerCase() !== wanted) {
        upstream.destroy()
        throw new TypeError('the upstream switched to another protocol')
      }
      const early = connection.release()
      response.detachSocket(connection.socket)
      const passed = passResponseHeaders(acceptOwnKey(headers, request.headers['sec-websocket-key']), rewrite)
      writeSwitching(connection.socket, passed.concat(added()), headers.upgrade)
      return tunnel({ client: connection.socket, upstream, early, ...ends })
    },
  }
}

/**
 * What is forwarded on approval is the handshake that was approved, perhaps by an earlier attempt of this client; the
 * answer has to fit this attempt's key (RFC 6455, section 4.2.2).
 */
function acceptOwnKey(headers: IncomingMessage['headers'], key: string | undefined): IncomingMessage['headers'] {
  if (key === undefined || headers['sec-websocket-accept'] === undefined) return headers
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return { ...headers, 'sec-websocket-accept': accept }
}

/** A call whose response is kept, and which nobody waits for. */
export function storedLine(sink: Sink): Line {
  return {
    read: () => Promise.resolve('gone'),
    stream: () => {
      throw new TypeError('a stored body is not streamed')
    },
    sink,
    answer() {},
    whenGone() {},
    tunnel: () => () => Promise.reject(new TypeError('an upgrade has no stored response')),
  }
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  readonly added: () => readonly string[]
  readonly mustClose: boolean
}

function writeAnswer(response: ServerResponse, { status, headers, text, added, mustClose }: Answer): void {
  const list = Object.entries(headers).flat()
  list.push('content-length', String(Buffer.byteLength(text)), ...added())
  if (mustClose) list.push('connection', 'close')
  response.writeHead(status, list)
  response.end(text)
}
