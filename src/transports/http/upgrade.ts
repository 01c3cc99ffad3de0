import { type IncomingHttpHeaders, type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { BodyFault } from './upload.ts'

/** A connection that asked for an upgrade, read by us from then on, so that a hang-up is noticed while it is held. */
export interface UpgradeConnection {
  readonly socket: Socket
  /** The request's body, read whole: it comes on the socket, outside the HTTP parser. */
  body(): Promise<Buffer | BodyFault | 'malformed'>
  /** Stops reading here, and returns what the client sent beyond its request. */
  release(): Buffer
  whenGone(told: () => void): void
}

export interface UpgradeLimits {
  readonly maxBodyBytes: number
  /** What a client may send ahead of the answer, in bytes. */
  readonly maxEarlyBytes: number
  /** Longest wait for the body, in milliseconds. */
  readonly bodyMs: number
}

/** Takes a socket over from Node's `upgrade` event. */
export function takeUpgrade(
  request: IncomingMessage,
  socket: Socket,
  { head, limits }: { head: Buffer; limits: UpgradeLimits },
): UpgradeConnection {
  const reader =
    request.headers['transfer-encoding'] === undefined
      ? lengthReader(Number(request.headers['content-length'] ?? 0), limits.maxBodyBytes)
      : chunkedReader(limits.maxBodyBytes)
  const early: Buffer[] = []
  let earlyBytes = 0
  let isGone = false
  let isReleased = false
  const listeners: (() => void)[] = []
  const body = Promise.withResolvers<Buffer | BodyFault | 'malformed'>()
  const timer = setTimeout(() => body.resolve('stalled'), limits.bodyMs)

  function take(chunk: Buffer) {
    const rest = reader.result === null ? reader.push(chunk) : chunk
    if (reader.result !== null) {
      clearTimeout(timer)
      body.resolve(reader.result)
    }
    if (rest.length === 0) return
    earlyBytes += rest.length
    if (earlyBytes > limits.maxEarlyBytes) socket.destroy()
    else early.push(rest)
  }
  function leave() {
    if (isReleased || isGone) return
    isGone = true
    clearTimeout(timer)
    body.resolve('gone')
    for (const told of listeners) told()
    socket.destroy()
  }

  take(head)
  socket.on('data', take)
  // A client that closes its side before the answer has left: nobody waits for a tunnel it cannot write to.
  socket.on('end', leave)
  socket.on('close', leave)
  socket.resume()

  return {
    socket,
    body: () => body.promise,
    release() {
      isReleased = true
      clearTimeout(timer)
      socket.pause()
      socket.off('data', take).off('end', leave).off('close', leave)
      return Buffer.concat(early)
    },
    whenGone(told) {
      if (isGone) told()
      else listeners.push(told)
    },
  }
}

interface BodyReader {
  /** Null until the body is whole, or is found not to be one. */
  result: Buffer | 'too_large' | 'malformed' | null
  /** Takes bytes, and returns those behind the body. */
  push(chunk: Buffer): Buffer
}

const NOTHING = Buffer.alloc(0)

function lengthReader(length: number, maxBytes: number): BodyReader {
  const chunks: Buffer[] = []
  let missing = length
  const reader: BodyReader = {
    result: length > maxBytes ? 'too_large' : length === 0 ? NOTHING : null,
    push(chunk) {
      const mine = chunk.subarray(0, missing)
      missing -= mine.length
      chunks.push(mine)
      if (missing === 0) reader.result = Buffer.concat(chunks)
      return chunk.subarray(mine.length)
    },
  }
  return reader
}

/**
 * Chunked coding (RFC 9112, section 7.1) without chunk extensions or trailers, which nobody needs here and parsers
 * disagree on.
 */
function chunkedReader(maxBytes: number): BodyReader {
  const chunks: Buffer[] = []
  let size = 0
  let pending: Buffer = NOTHING
  const reader: BodyReader = {
    result: null,
    push(chunk) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
      while (reader.result === null) {
        const lineEnd = pending.indexOf('\r\n')
        if (lineEnd === -1) {
          if (pending.length > 16) reader.result = 'malformed'
          return NOTHING
        }
        const digits = pending.toString('latin1', 0, lineEnd)
        if (!/^[0-9a-fA-F]{1,8}$/.test(digits)) {
          reader.result = 'malformed'
          return NOTHING
        }
        const length = Number.parseInt(digits, 16)
        if (size + length > maxBytes) {
          reader.result = 'too_large'
          return NOTHING
        }
        const end = lineEnd + 2 + length
        if (pending.length < end + 2) return NOTHING
        if (pending.toString('latin1', end, end + 2) !== '\r\n') {
          reader.result = 'malformed'
          return NOTHING
        }
        if (length > 0) chunks.push(pending.subarray(lineEnd + 2, end))
        size += length
        pending = pending.subarray(end + 2)
        if (length === 0) reader.result = Buffer.concat(chunks)
      }
      return pending
    },
  }
  return reader
}

/** A response on a socket that HTTP was detached from by an upgrade. The socket ends with it. */
export function responseOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.on('finish', () => socket.destroySoon())
  return response
}

/** The head of a 101, written to a client whose socket HTTP was detached from. */
export function writeSwitching(
  socket: Socket,
  headers: readonly string[],
  upgrade: IncomingHttpHeaders['upgrade'],
): void {
  let head = `HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${upgrade ?? ''}\r\n`
  for (let index = 0; index + 1 < headers.length; index += 2) head += `${headers[index]}: ${headers[index + 1]}\r\n`
  socket.write(`${head}\r\n`, 'latin1')
}
