import type { Exchange, Outcome, Release } from '../../../domain/call.ts'
import { formatParty } from '../../../domain/principal.ts'
import { isRefusal, type Refusal, refuse } from '../../../domain/refusal.ts'
import {
  type Answer,
  describeRefusal,
  refuseUnread,
  tellPending,
  tellRefusal,
} from '../../../transports/http/answer.ts'
import type { HttpCall } from '../../../transports/http/call.ts'
import { storeResponse } from '../../../transports/http/sink.ts'
import { sha256Hex } from '../../../transports/http/upload.ts'
import type { Lease, Room } from '../../../transports/room.ts'
import { SessionOver } from '../relay/session-over.ts'
import type { Service } from '../session.ts'
import { type ConnectParts, connect, TOO_MANY } from '../upstream/connect.ts'
import type { Fault } from '../wire/report.ts'
import { type Query, readQuery, restoreQuery, storeQuery } from './request.ts'
import { prepareRun, type Run } from './run.ts'

/** What the queries to one upstream share. */
export interface QueryService extends ConnectParts {
  readonly service: Service
  /** Each call takes one as long as it lasts. */
  readonly seats: Room
  /** Of an answer as JSON. */
  readonly maxResultBytes: number
  /** Aborts when the gateway ends. */
  readonly ending: AbortSignal
}

export interface QueryParts extends HttpCall {
  readonly queries: QueryService
  /** Why it is not to be read; null if it has not been. */
  readonly query: Query | Refusal | null
}

/** As much as is kept of any other response. */
export const MAX_KEPT_BYTES = 1024 * 1024
const SETTINGS: ReadonlyMap<string, string> = new Map([
  ['client_encoding', 'UTF8'],
  ['DateStyle', 'ISO'],
])

/**
 * Makes the exchange of one query: what a batch is on the wire, in a session of its own, which begins when the call is
 * first looked at.
 */
export function createQueryExchange(parts: QueryParts): Exchange & { end(): void } {
  const { id, principal, line, asked, queries } = parts
  const { service, ending } = queries
  const about = { callId: id, service }
  const room = service.room.lease(formatParty(principal))
  const gone = new AbortController()
  let seat: Lease | null = null
  let begun: Promise<Begun | Refusal> | null = null

  line.whenGone(() => gone.abort())
  if (ending.aborted) stop()
  ending.addEventListener('abort', stop, { once: true })

  function stop(): void {
    gone.abort(ENDING)
  }

  function begin(): Promise<Begun | Refusal> {
    begun ??= beginOnce()
    return begun
  }

  async function beginOnce(): Promise<Begun | Refusal> {
    const query = parts.query ?? (await readBody())
    if (isRefusal(query)) return query
    seat = queries.seats.lease(formatParty(principal))
    if (!seat.take(1)) return refuse('rate_limited', `Not executed. ${TOO_MANY.message}`, { retryAfterS: 2 })
    const upstream = await connect(queries, { database: query.database, settings: SETTINGS }, gone.signal)
    if ('code' in upstream) return unconnected(upstream)
    const maxBytes = parts.kept ? Math.min(queries.maxResultBytes, MAX_KEPT_BYTES) : queries.maxResultBytes
    try {
      const how = { id, principal, query, service, maxBytes, take: room.take, gone: gone.signal }
      const run = await prepareRun(how, upstream)
      return isRefusal(run) ? run : { query, run }
    } catch (error) {
      upstream.link.destroy()
      if (error instanceof SessionOver) return BROKEN_OFF
      throw error
    }
  }

  async function readBody(): Promise<Query | Refusal> {
    const read = await line.read(service.maxBatchBytes, room.take)
    if (typeof read === 'string') return refuseUnread(read, service.maxBatchBytes)
    return service.charge(principal, read.length) ?? readQuery(read, queries.onlyDatabase)
  }

  async function send(how: Release): Promise<Outcome> {
    const call = await begin()
    if (isRefusal(call)) return tellRefusal(line, call, about)
    if (how.approval) parts.approvedBy(how.approval)
    const { outcome, response } = await call.run.forward(how)
    call.run.end()
    if (response) respond({ ...response, headers: JSON_HEADERS })
    else if (outcome.refusal) respond(describeRefusal(outcome.refusal, about))
    const kept = parts.kept?.() ?? null
    return {
      ...outcome,
      ...(response && { responseHash: sha256Hex(Buffer.from(response.text)) }),
      ...(kept && { response: storeResponse(kept) }),
    }
  }

  function respond({ status, headers, text }: Answer): void {
    const body = Buffer.from(text)
    const list = [...Object.entries(headers).flat(), 'content-length', String(body.length)]
    line.sink.start(status, list, body.length)
    line.sink.end(body)
  }

  return {
    ...asked,
    id,
    upstream: service.upstream,
    principal,
    gone: gone.signal,
    whenGone: () => 'leave',
    async describe(needs, masks) {
      const call = await begin()
      return isRefusal(call) ? call : call.run.exchange.describe(needs, masks)
    },
    async seal(verdict) {
      const call = await begin()
      if (isRefusal(call)) return call
      const sealed = await call.run.exchange.seal(verdict)
      return isRefusal(sealed) ? sealed : { ...sealed, stored: storeQuery(call.query) }
    },
    async adopt(stored) {
      const call = await begin()
      if (isRefusal(call)) return call
      const approved = restoreQuery(stored)
      if (approved === null || !isSame(approved, call.query)) return CHANGED
      return call.run.exchange.adopt({ ...stored, body: call.run.canonical })
    },
    async present(verdict) {
      const call = await begin()
      return isRefusal(call) ? { payload: null, notes: [] } : call.run.exchange.present(verdict)
    },
    held(approval) {
      if (asked.isDetached) tellPending(line, approval, about)
      return Promise.resolve()
    },
    forward: send,
    refuse: (why) => Promise.resolve(tellRefusal(line, why, about)),
    end() {
      ending.removeEventListener('abort', stop)
      // With it goes the session, if there is one.
      gone.abort()
      seat?.end()
      room.end()
    },
  }
}

/** A query that is understood. */
interface Begun {
  readonly query: Query
  readonly run: Run
}

const JSON_HEADERS = { 'content-type': 'application/json', 'cache-control': 'no-store' }
const BROKEN_OFF = refuse('upstream_failed', 'Not executed. The upstream broke off, or did not answer in time.')
const ENDING = refuse('draining', 'Not executed. The gateway restarts; repeat the call.')
const CHANGED = refuse('unavailable', 'Not executed. What was approved is not what was sent.')

function isSame(one: Query, other: Query): boolean {
  return Buffer.compare(storeQuery(one).body, storeQuery(other).body) === 0
}

/** Why there is no session upstream. About one of the reasons the agent can do something: the database that it asked for. */
function unconnected({ code, message }: Fault): Refusal {
  return refuse(code.startsWith('3D') ? 'malformed' : 'upstream_failed', `Not executed. ${message}`)
}
