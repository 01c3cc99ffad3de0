import { createHash, hash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { continueIfExpected } from './continue.ts'
import { createPile } from './pile.ts'

/** Why a body could not be read to its end. */
export type BodyFault = 'too_large' | 'gone' | 'stalled' | 'no_room'

export interface ReadLimits {
  readonly maxBytes: number
  /** Longest pause between two pieces, in milliseconds. */
  readonly idleMs: number
  /** Longest time for the whole, in milliseconds. */
  readonly totalMs: number
  /** Takes room in memory for so many bytes; false if there is none. */
  take(bytes: number): boolean
}

/** What the head says of the body's length in bytes; null for a chunked one. */
export function declaredLength(request: IncomingMessage): number | null {
  if (request.headers['transfer-encoding'] !== undefined) return null
  return Number(request.headers['content-length'] ?? 0)
}

/** Reads a whole body into memory. One that is declared larger than the limit is not begun. */
export function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  { maxBytes, idleMs, totalMs, take: takeRoom }: ReadLimits,
): Promise<Buffer | BodyFault> {
  const declared = declaredLength(request)
  if (declared === 0) return Promise.resolve(Buffer.alloc(0))
  if (declared !== null && declared > maxBytes) return Promise.resolve('too_large')
  continueIfExpected(request, response)
  return new Promise((resolve) => {
    const pile = createPile()
    const timer = setTimeout(() => done('stalled'), idleMs)
    const deadline = setTimeout(() => done('stalled'), totalMs)
    const take = (chunk: Buffer) => {
      if (pile.bytes + chunk.length > maxBytes) return done('too_large')
      if (!takeRoom(chunk.length)) return done('no_room')
      timer.refresh()
      pile.add(chunk)
    }
    const end = () => done(pile.take())
    const leave = () => done('gone')
    const done = (result: Buffer | BodyFault) => {
      clearTimeout(timer)
      clearTimeout(deadline)
      request.off('data', take).off('end', end).off('close', leave).off('error', leave)
      if (typeof result === 'string') request.pause()
      resolve(result)
    }
    // Whoever else read it would leave nothing to wait for.
    if (request.readableEnded || request.destroyed) return done('gone')
    request.on('data', take).on('end', end).on('close', leave).on('error', leave)
  })
}

/** Pieces smaller than this are put together, up to so many bytes. */
const SMALL_BYTES = 1024
const MOST_SMALL_BYTES = 32 * 1024

/** The gateway ended a body on its way through, for what it held. */
export class BodyRefused extends Error {}

/** A body on its way through: counted, hashed, and told apart from the connection it comes from. */
export interface Upload {
  readonly stream: Readable
  readonly bytes: number
  /** Hex SHA-256 of what has passed. */
  digest(): string
}

/** Looks at a chunk of a body before it passes; false ends it. */
export type Inspect = (chunk: Buffer) => boolean

/**
 * Lets a body stream without being kept. Not the request itself is handed on: whoever ends that stream early would end
 * the client's connection, and with it the answer.
 */
export function streamBody(
  request: IncomingMessage,
  response: ServerResponse,
  { idleMs, inspect }: { readonly idleMs: number; readonly inspect: Inspect | null },
): Upload {
  const sha = createHash('sha256')
  const small = createPile()
  let flushing: NodeJS.Immediate | null = null
  let timer: NodeJS.Timeout | null = null
  const stream = new Readable({
    highWaterMark: 256 * 1024,
    read() {
      if (timer === null) begin()
      request.resume()
    },
    destroy(error, callback) {
      stop()
      callback(error)
    },
  })

  // A field and not a getter, for the sake of its hidden class: see `gone` of an exchange.
  const upload = { stream, bytes: 0, digest: () => sha.copy().digest('hex') }

  function begin() {
    continueIfExpected(request, response)
    timer = setTimeout(() => stream.destroy(new Error('the client sent nothing more of its body')), idleMs)
    if (request.readableEnded || request.destroyed) leave()
    else request.on('data', take).on('end', end).on('close', leave).on('error', leave)
  }
  function take(chunk: Buffer) {
    timer?.refresh()
    if (chunk.length >= SMALL_BYTES && small.bytes === 0) return pass(chunk)
    // What else comes in this turn of the event loop goes along: a million chunks of a byte are a few large ones.
    small.add(chunk)
    if (small.bytes >= MOST_SMALL_BYTES) flush()
    else flushing ??= setImmediate(flush)
  }
  function flush() {
    if (flushing) clearImmediate(flushing)
    flushing = null
    if (small.bytes > 0 && !stream.destroyed) pass(small.take())
  }
  function pass(chunk: Buffer) {
    if (inspect?.(chunk) === false) {
      stream.destroy(new BodyRefused())
      return
    }
    upload.bytes += chunk.length
    sha.update(chunk)
    if (!stream.push(chunk)) request.pause()
  }
  function end() {
    flush()
    stop()
    if (!stream.destroyed) stream.push(null)
  }
  function leave() {
    stream.destroy(new Error('the client left'))
  }
  function stop() {
    if (timer) clearTimeout(timer)
    if (flushing) clearImmediate(flushing)
    request.off('data', take).off('end', end).off('close', leave).off('error', leave)
    request.pause()
  }

  return upload
}

export function sha256Hex(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}
