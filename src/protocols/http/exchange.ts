import type { Dispatcher } from 'undici'
import type { AssertionSigner } from '../../credentials/assertion.ts'
import type { Injector } from '../../credentials/inject.ts'
import type { Exchange, Outcome, Release, Upstream } from '../../domain/call.ts'
import type { Json } from '../../domain/json.ts'
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts'
import { NO_ROOM, refuseUnread, tellPending, tellRefusal } from '../../transports/http/answer.ts'
import type { HttpCall } from '../../transports/http/call.ts'
import { forward, type Timeouts } from '../../transports/http/forward.ts'
import type { Rewrite } from '../../transports/http/response-headers.ts'
import { storeResponse } from '../../transports/http/sink.ts'
import { sha256Hex, type Upload } from '../../transports/http/upload.ts'
import { kindOf, parseBody, parseMediaType, unreadableType } from './body.ts'
import { describeRequest } from './describe.ts'
import { type Binding, digestOf, matchKeyOf } from './digest.ts'
import { type RequestModel, restoreModel, storeModel } from './model.ts'
import { methodInspector } from './override.ts'
import { presentRequest } from './present.ts'

/** What all calls to one upstream share. */
export interface Service {
  readonly upstream: Upstream
  readonly host: string
  /** Origin and base path: what a call is bound to. */
  readonly target: string
  readonly basePath: string
  readonly rewrite: Rewrite
  readonly dispatcher: Dispatcher
  readonly tunnelDispatcher: Dispatcher
  readonly timeouts: Timeouts
  readonly maxBodyBytes: number
  readonly maxUpgradedMs: number
  /** Lower-case names of headers a reviewer is shown. */
  shownHeaders(model: RequestModel): ReadonlySet<string>
  readonly injector: Injector
  /** Null if the upstream gets no assertion. */
  readonly sign: AssertionSigner | null
  readonly publicUrl: string
  /** Milliseconds that never go back. */
  monotonic(): number
}

export interface ExchangeParts extends HttpCall {
  readonly service: Service
  readonly model: RequestModel
  /** Null if it has not been read. */
  readonly body: Buffer | null
  /** Takes room in memory for so many bytes of the body, until the call is over; false if there is none. */
  takeRoom(bytes: number): boolean
  /** Asked before so many bytes of the client's are parsed: a refusal if that is too much for its principal. */
  charge(bytes: number): Refusal | null
}

// A body no larger is collected and sent with its head in one write; larger ones stream.
const MAX_COLLECTED_BYTES = 64 * 1024
const OVERRIDES = refuse('malformed', 'Not executed. The body overrides the method.')

/** Makes the exchange of one HTTP call. */
export function createExchange(parts: ExchangeParts): Exchange {
  const { id, principal, service, line, asked } = parts
  const about = { callId: id, service }
  let { model } = parts
  let body: Buffer | null = parts.body ?? (model.contentLength === 0 ? NO_BODY : null)
  let parsed: { readonly value?: Json } | null = null
  // Why no more of the body can be had, once a part of it was read and dropped.
  let broken: Refusal | null = null
  // Made for every call, though most are over before anyone asks: a getter in its place would give each exchange a
  // hidden class of its own, and V8 keeps those, with all that hangs on them, until a full collection.
  const gone = new AbortController()
  line.whenGone(() => gone.abort())

  async function readWhole(): Promise<Buffer | Refusal> {
    if (body !== null) return body
    if (broken !== null) return broken
    if (model.contentLength !== null && model.contentLength > service.maxBodyBytes) {
      return refuseUnread('too_large', service.maxBodyBytes)
    }
    const read = await line.read(service.maxBodyBytes, parts.takeRoom)
    if (typeof read === 'string') {
      broken = refuseUnread(read, service.maxBodyBytes)
      return broken
    }
    broken = parts.charge(read.length)
    if (broken !== null) return broken
    body = read
    model = { ...model, contentLength: read.length }
    return read
  }

  /** The body as policy and people may read it; read and parsed at most once. */
  async function readParsed(): Promise<{ readonly value?: Json } | Refusal> {
    if (parsed !== null) return parsed
    const bytes = await readWhole()
    if (isRefusal(bytes)) return bytes
    const override = findOverride(bytes)
    if (override !== null) return override
    const result = parseBody(bytes, parseMediaType(model.contentType ?? undefined), model.contentEncoding ?? undefined)
    if (!isRefusal(result)) parsed = result
    return result
  }

  /** Why a body that is whole could replace the method; null if it cannot. */
  function findOverride(bytes: Buffer): Refusal | null {
    if (bytes.length === 0) return null
    const inspect = methodInspector(model)
    if (isRefusal(inspect)) return inspect
    return inspect?.(bytes) === false ? OVERRIDES : null
  }

  function binding(): Binding {
    const { upstream, target, injector } = service
    return { principal, upstream: upstream.name, target, credential: injector.referenceOf(upstream.name) }
  }

  /** What is sent as the body, without reading more of it than has to be. */
  async function outgoingBody(): Promise<Buffer | Upload | null | Refusal> {
    const type = kindOf(parseMediaType(model.contentType ?? undefined))
    const length = model.contentLength
    if (broken !== null) return broken
    if (body === null && type === 'form') {
      // Frameworks read a method out of forms: a form is never sent unread.
      const read = await readParsed()
      if (isRefusal(read)) return read
    }
    if (body === null && (model.upgrade !== null || (length !== null && length <= MAX_COLLECTED_BYTES))) {
      const read = await line.read(Math.max(MAX_COLLECTED_BYTES, service.maxBodyBytes), parts.takeRoom)
      if (read === 'no_room') return NO_ROOM
      if (typeof read === 'string') return refuse('malformed', 'Not executed. The body did not come whole.')
      const override = findOverride(read)
      if (override !== null) return override
      body = read
    }
    if (body === null) {
      const inspect = methodInspector(model)
      return isRefusal(inspect) ? inspect : line.stream(inspect)
    }
    return body.length === 0 ? null : body
  }

  async function send({ approval, signal, spendBytes }: Release): Promise<Outcome> {
    const startedAt = service.monotonic()
    const read = body?.length === 0 ? null : body
    const outgoing = body === null ? await unlessStopped(outgoingBody(), signal) : read
    if (isRefusal(outgoing)) return tellRefusal(line, outgoing, about)
    if (approval) parts.approvedBy(approval)
    // It was judged: the upstream may take its time, and a parsed body takes many times its bytes.
    parsed = null
    const path = model.query === '' ? service.basePath + model.path : `${service.basePath}${model.path}?${model.query}`
    const headers = [...model.headers, ...service.injector.headersFor(service.upstream.name)]
    if (service.sign) {
      const { upstream, sign } = service
      const bodyHash = outgoing === null ? EMPTY_HASH : Buffer.isBuffer(outgoing) ? sha256Hex(outgoing) : null
      const asserted = { upstream: upstream.name, principal, callId: id, method: model.method, path, bodyHash }
      headers.push('countersign-assertion', sign({ ...asserted, approvalId: approval?.id ?? null }))
    }
    const result = await forward({
      dispatcher: model.upgrade === null ? service.dispatcher : service.tunnelDispatcher,
      method: model.method,
      path,
      headers,
      body: outgoing,
      bodyLength: model.contentLength,
      sink: line.sink,
      rewrite: service.rewrite,
      signal,
      timeouts: service.timeouts,
      spendBytes,
      upgrade:
        model.upgrade === null
          ? null
          : { protocol: model.upgrade, take: line.tunnel({ signal, maxMs: service.maxUpgradedMs, spendBytes }) },
    })
    const { hasStarted, ...outcome } = result
    if (!hasStarted && outcome.refusal) tellRefusal(line, outcome.refusal, about)
    const kept = parts.kept?.() ?? null
    return {
      ...outcome,
      durationMs: Math.round(service.monotonic() - startedAt),
      ...(kept === null ? {} : { response: storeResponse(kept) }),
    }
  }

  return {
    ...asked,
    id,
    upstream: service.upstream,
    principal,
    whenGone: () => 'leave',
    gone: gone.signal,
    async describe(needs) {
      let value: { readonly value: Json } | undefined
      if (needs.has('body') || parsed !== null) {
        const read = await readParsed()
        if (isRefusal(read)) return read
        if (read.value !== undefined) value = { value: read.value }
        else if (needs.has('body')) return unreadableType(parseMediaType(model.contentType ?? undefined))
      }
      const action = describeRequest(model, { name: service.upstream.name, host: service.host }, value)
      return action ? [action] : refuse('malformed', 'Not executed. The query is not UTF-8.')
    },
    async seal() {
      const read = await readParsed()
      if (isRefusal(read)) return read
      const bytes = body ?? NO_BODY
      return {
        digest: digestOf(model, bytes, binding()),
        matchKey: matchKeyOf(model, bytes, binding()),
        stored: { head: storeModel(model), body: bytes },
      }
    },
    async adopt(stored) {
      const restored = restoreModel(stored)
      if (!restored) return refuse('unavailable', 'Not executed. The approved call was stored in a form unknown here.')
      model = restored
      body = Buffer.from(stored.body)
      parsed = null
      const read = await readParsed()
      return isRefusal(read) ? read : digestOf(model, body, binding())
    },
    async present() {
      const bytes = await readWhole()
      if (isRefusal(bytes)) return { payload: UNREADABLE, notes: [] }
      return { payload: presentRequest(model, bytes, service.shownHeaders(model)), notes: [] }
    },
    held(approval) {
      // What is forwarded on approval is read anew.
      parsed = null
      if (asked.isDetached) tellPending(line, approval, about)
      return Promise.resolve()
    },
    forward: send,
    refuse: (why) => Promise.resolve(tellRefusal(line, why, about)),
  }
}

const NO_BODY = Buffer.alloc(0)
const EMPTY_HASH = sha256Hex(NO_BODY)
/** It is not known what it is: nobody approves it by sight. */
const UNREADABLE = { mediaType: null, bytes: 0, text: null, isCut: true, redacted: [] } as const

/** What comes first: the work's result, or the refusal that the signal aborts with. */
function unlessStopped<T>(work: Promise<T>, signal: AbortSignal): Promise<T | Refusal> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      const reason: unknown = signal.reason
      resolve(isRefusal(reason) ? reason : refuse('unavailable', 'Not executed. The gateway ended the call.'))
    }
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
