import { createHash } from 'node:crypto'
import { lengthPrefixed } from '../../domain/bytes.ts'
import { type Principal, principalKey } from '../../domain/principal.ts'
import { parseMediaType } from './body.ts'
import type { RequestModel } from './model.ts'

/** What a call is bound to besides its own bytes. */
export interface Binding {
  readonly principal: Principal
  readonly upstream: string
  /** The upstream's origin and base path. */
  readonly target: string
  /** Which credential is presented, without its secret. */
  readonly credential: Buffer
}

/**
 * SHA-256 over everything that is forwarded and everyone it is forwarded for, each part length-prefixed. Outside of it
 * is only what the gateway adds at the moment of sending: the credential's secret, `Countersign-Assertion`, `Host`,
 * `Connection` and `Content-Length`.
 */
export function digestOf(model: RequestModel, body: Uint8Array, binding: Binding): Buffer {
  return sha256('countersign http call v1', [
    principalKey(binding.principal),
    binding.upstream,
    sha256('countersign http target v1', [binding.target, binding.credential]),
    model.upgrade === null ? '' : `upgrade ${model.upgrade}`,
    model.method,
    model.path,
    model.query,
    String(model.headers.length),
    ...model.headers,
    body,
  ])
}

/**
 * SHA-256 over the call without what a client makes anew for every attempt, so that a retry finds its approval. What is
 * then forwarded are the bytes that were approved, never the retry's.
 */
export function matchKeyOf(model: RequestModel, body: Uint8Array, binding: Binding): Buffer {
  const boundary = boundaryOf(model.contentType ?? undefined)
  const steady: string[] = []
  for (let index = 0; index + 1 < model.headers.length; index += 2) {
    const name = model.headers[index] ?? ''
    if (isVolatile(name)) continue
    const value = model.headers[index + 1] ?? ''
    steady.push(name, name === 'content-type' && boundary !== null ? parseMediaType(value).essence : value)
  }
  return sha256(boundary === null ? 'countersign http match v1' : 'countersign http multipart match v1', [
    principalKey(binding.principal),
    binding.upstream,
    binding.target,
    model.upgrade === null ? '' : `upgrade ${model.upgrade.toLowerCase()}`,
    model.method,
    model.path,
    model.query,
    String(steady.length),
    ...steady,
    boundary === null ? body : withoutBoundary(body, boundary),
  ])
}

const VOLATILE = new Set(['idempotency-key', 'user-agent', 'accept-encoding', 'sec-websocket-key', 'pragma'])
const VOLATILE_PARTS =
  /(?:^|-)(?:date|timestamp|trace|traceparent|retry|attempt|request-id|invocation-id|idempotency|nonce)/

function isVolatile(name: string): boolean {
  return VOLATILE.has(name) || VOLATILE_PARTS.test(name)
}

/** Null unless the boundary is all that the type says of a multipart body: whatever else it says is part of the call. */
function boundaryOf(contentType: string | undefined): string | null {
  const { essence, boundary } = parseMediaType(contentType)
  const isPlain = /^[^;]*;[ \t]*boundary=(?:"[^"\\]+"|[^\s;"]+)[ \t]*$/i.test(contentType ?? '')
  return isPlain && essence.startsWith('multipart/') ? boundary : null
}

/** Each boundary becomes a character that no byte is: what looks like the boundary of another body stays what it is. */
function withoutBoundary(body: Uint8Array, boundary: string): Buffer {
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
  return Buffer.from(text.replaceAll(`--${boundary}`, '\u0100'), 'utf8')
}

function sha256(label: string, parts: readonly (string | Uint8Array)[]): Buffer {
  return createHash('sha256').update(lengthPrefixed(label, parts)).digest()
}
