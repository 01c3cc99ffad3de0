import { createHash, type Hash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'
import type { OutcomeName } from '../../domain/entry.ts'
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts'
import { passResponseHeaders, type Rewrite } from './response-headers.ts'
import type { Sink } from './sink.ts'
import { BodyRefused, sha256Hex, type Upload } from './upload.ts'

export interface ForwardCall {
  readonly dispatcher: Dispatcher
  readonly method: string
  /** The upstream's own path with its query. */
  readonly path: string
  /** Flat names and values. No hop-by-hop header, no Host: both are made here and by the dispatcher. */
  readonly headers: string[]
  /** Bytes that were read, or a body that streams; null for none. */
  readonly body: Buffer | Upload | null
  /** What a streamed body's length was declared to be; null if it comes in chunks. */
  readonly bodyLength: number | null
  readonly sink: Sink
  readonly rewrite: Rewrite
  /** Aborts when the call must stop. Its reason is a `Refusal`. */
  readonly signal: AbortSignal
  readonly timeouts: Timeouts
  /** Told of response bytes as they pass; false ends the stream. */
  spendBytes(count: number): boolean
  /** Where the connection goes if the upstream answers 101; null for a call that is no upgrade. */
  readonly upgrade: { readonly protocol: string; take: TakeTunnel } | null
}

export interface Timeouts {
  /** Milliseconds from the end of the request to the head of the response. */
  readonly responseMs: number
  /** Milliseconds between two pieces of a body. */
  readonly idleMs: number
}

/** Takes both ends over after a 101, and resolves when the tunnel is over. */
export type TakeTunnel = (headers: IncomingHttpHeaders, upstream: Duplex) => Promise<Tunnelled>

export interface Tunnelled {
  readonly name: OutcomeName
  readonly refusal?: Refusal
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface Forwarded {
  readonly name: OutcomeName
  readonly refusal?: Refusal
  /** Whether the client got the head of a response, so that nothing else can be answered. */
  readonly hasStarted: boolean
  readonly status?: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Hex SHA-256; absent for empty bodies. */
  readonly requestHash?: string
  readonly responseHash?: string
}

/**
 * The only way upstream. Sends one request, once: nothing is retried or redirected. Resolves when the sink has taken
 * the whole response, or with what became of the call; never rejects for what an upstream or a client does.
 */
export function forward(call: ForwardCall): Promise<Forwarded> {
  return new Promise((resolve) => {
    const relay = new Relay(call, resolve)
    if (call.signal.aborted) relay.stop()
    else relay.dispatch()
  })
}

const ONCE = { once: true } as const

/** A class, because it is made for every call: closures for its nine callbacks cost a tenth of the throughput. */
class Relay implements Dispatcher.DispatchHandler {
  private readonly call: ForwardCall
  private readonly resolve: (forwarded: Forwarded) => void
  private controller: Dispatcher.DispatchController | null = null
  private isDispatched = false
  private isSettled = false
  private hasStarted = false
  private hasEnded = false
  private status = 0
  private length: number | null = null
  private bytesOut = 0
  /** Kept back if it is the whole body, so that head and body leave in one write. */
  private kept: Buffer | null = null
  private first: Buffer | null = null
  private hash: Hash | null = null

  constructor(call: ForwardCall, resolve: (forwarded: Forwarded) => void) {
    this.call = call
    this.resolve = resolve
  }

  dispatch(): void {
    const { call } = this
    call.signal.addEventListener('abort', this.stop, ONCE)
    call.sink.whenClosed(this.closed)
    if (this.isSettled) return
    const { body, bodyLength } = call
    if (body !== null && !Buffer.isBuffer(body) && bodyLength !== null) {
      call.headers.push('content-length', String(bodyLength))
    }
    this.isDispatched = true
    try {
      call.dispatcher.dispatch(
        {
          method: call.method,
          path: call.path,
          headers: call.headers,
          body: body === null || Buffer.isBuffer(body) ? body : body.stream,
          headersTimeout: call.timeouts.responseMs,
          bodyTimeout: call.timeouts.idleMs,
          upgrade: call.upgrade?.protocol ?? null,
          // Whatever the method: a request is never sent along with others on one connection.
          idempotent: false,
        },
        this,
      )
    } catch (error) {
      this.fail(error)
    }
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.isSettled) controller.abort(new Error('the call is over'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    // Interim responses (RFC 9110, section 15.2) are about this connection, not the client's.
    if (status < 200 || this.isSettled) return
    this.status = status
    const length = headers['content-length']
    this.length = length === undefined ? null : Number(length)
    const passed = passResponseHeaders(headers, this.call.rewrite)
    this.call.sink.start(status, passed, this.length)
    this.hasStarted = true
    this.controller = controller
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.isSettled) return
    this.count(chunk)
    if (!this.call.spendBytes(chunk.length)) {
      this.settle('cut', refuse('rate_limited', 'Cut off. A limit of the rule that allowed this call ran out.'))
      this.call.sink.cut()
      return
    }
    if (chunk.length === this.length) this.kept = chunk
    else if (!this.call.sink.write(chunk)) {
      controller.pause()
      this.call.sink.whenDrained(() => controller.resume())
    }
  }

  onResponseEnd(): void {
    if (this.isSettled) return
    this.hasEnded = true
    this.call.sink.end(this.kept)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(error)
  }

  onRequestUpgrade(_controller: unknown, status: number, headers: IncomingHttpHeaders, socket: Duplex): void {
    const { upgrade } = this.call
    if (this.isSettled || !upgrade) {
      socket.destroy()
      return
    }
    this.status = status
    this.hasStarted = true
    this.release()
    upgrade.take(headers, socket).then(
      (over) => this.finish({ ...over, hasStarted: true, status }),
      (error: unknown) => {
        socket.destroy()
        this.fail(error)
      },
    )
  }

  private count(chunk: Buffer): void {
    this.bytesOut += chunk.length
    // Most bodies are one chunk, and hashing that at once costs half of what a streaming hash does.
    if (this.hash) this.hash.update(chunk)
    else if (this.first) this.hash = createHash('sha256').update(this.first).update(chunk)
    else this.first = chunk
  }

  /** The signal's reason ends the call. Also called when it had ended before the call began. */
  readonly stop = (): void => {
    if (this.isSettled) return
    const reason: unknown = this.call.signal.reason
    const refusal = isRefusal(reason) ? reason : refuse('unavailable', 'Cut off. The gateway ended the call.')
    const hasStarted = this.hasStarted
    this.settle(this.isDispatched ? 'cut' : 'refused', refusal)
    if (hasStarted) this.call.sink.cut()
  }

  private readonly closed = (how: 'whole' | 'gone' | 'full'): void => {
    if (this.isSettled) return
    if (how === 'full') this.settle('cut', refuse('too_large', 'Cut off. The response is larger than what is kept.'))
    else if (how === 'whole' && this.hasEnded) this.settle('forwarded')
    else if (this.call.upgrade === null || !this.hasStarted) this.settle('client_gone')
  }

  private fail(error: unknown): void {
    if (this.isSettled) return
    const hasStarted = this.hasStarted
    if (error instanceof BodyRefused) {
      this.settle('cut', refuse('malformed', 'Cut off. The body overrides the method.'))
      if (hasStarted) this.call.sink.cut()
      return
    }
    const [name, detail] = describeFailure(error)
    this.settle(name, refuse(name === 'upstream_timeout' ? name : 'upstream_failed', detail))
    if (hasStarted) this.call.sink.cut()
  }

  private settle(name: OutcomeName, refusal?: Refusal): void {
    const { body } = this.call
    this.finish({
      name,
      ...(refusal ? { refusal } : {}),
      hasStarted: this.hasStarted,
      ...(this.hasStarted ? { status: this.status } : {}),
      bytesIn: body === null ? 0 : Buffer.isBuffer(body) ? body.length : body.bytes,
      bytesOut: this.bytesOut,
    })
    if (name !== 'forwarded') {
      this.controller?.abort(new Error('the call is over'))
      if (body !== null && !Buffer.isBuffer(body)) body.stream.destroy()
    }
  }

  private finish(forwarded: Forwarded): void {
    if (this.isSettled) return
    this.isSettled = true
    this.release()
    const { body } = this.call
    const requestHash =
      body === null ? null : Buffer.isBuffer(body) ? sha256Hex(body) : body.bytes ? body.digest() : null
    const responseHash = this.hash ? this.hash.digest('hex') : this.first ? sha256Hex(this.first) : null
    this.resolve({
      ...forwarded,
      ...(requestHash === null ? {} : { requestHash }),
      ...(responseHash === null ? {} : { responseHash }),
    })
  }

  private release(): void {
    this.call.signal.removeEventListener('abort', this.stop)
  }
}

const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT'])
/** The request never left: nothing can have come of it. */
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])

function describeFailure(error: unknown): readonly ['upstream_failed' | 'upstream_timeout', string] {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') {
    return ['upstream_timeout', 'Not executed. The upstream could not be reached in time.']
  }
  if (TIMEOUTS.has(code)) {
    return [
      'upstream_timeout',
      'Perhaps executed. The upstream did not answer in time; look before repeating the call.',
    ]
  }
  if (NEVER_SENT.has(code)) return ['upstream_failed', 'Not executed. The upstream could not be reached.']
  if (isCertificateFault(code)) {
    return ['upstream_failed', "Not executed. The upstream's certificate could not be verified."]
  }
  return ['upstream_failed', 'Perhaps executed. The upstream broke off; look before repeating the call.']
}

function isCertificateFault(code: string): boolean {
  return code.startsWith('ERR_TLS_') || code.startsWith('CERT_') || /SELF_SIGNED|UNABLE_TO_|ERR_SSL_/.test(code)
}
