import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import httpProxy from '@fastify/http-proxy'
import type { Pool } from 'undici'
import type { AssertionSigner } from '../../credentials/assertion.ts'
import type { Injector } from '../../credentials/inject.ts'
import type { Arrival, Exchange, Upstream } from '../../domain/call.ts'
import { formatParty } from '../../domain/principal.ts'
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts'
import { tellRefusal } from '../../transports/http/answer.ts'
import { detachedCall, readAsked } from '../../transports/http/call.ts'
import { readCredential } from '../../transports/http/credential.ts'
import { type Line, plainLine, upgradeLine } from '../../transports/http/line.ts'
import { readIdempotencyKey } from '../../transports/http/own-headers.ts'
import { parsePrefer } from '../../transports/http/prefer.ts'
import { routeOf } from '../../transports/http/routing.ts'
import type { GatewayServer } from '../../transports/http/server.ts'
import { responseOn, takeUpgrade } from '../../transports/http/upgrade.ts'
import { connectUpstream } from '../../transports/http/upstream.ts'
import type { Protocol, ProtocolParts } from '../../transports/protocol.ts'
import { createRoom, type Lease, type Room } from '../../transports/room.ts'
import { createExchange, type Service } from './exchange.ts'
import { type Fields, type HeaderRules, headerRules, sortHeaders } from './headers.ts'
import { type RequestModel, restoreModel } from './model.ts'
import type { HttpOptions } from './options.ts'

/** What HTTP upstreams are given. */
export interface HttpParts extends ProtocolParts<HttpOptions> {
  readonly server: GatewayServer
  readonly injector: Injector
  readonly sign: AssertionSigner
  /** Whether `Countersign-Prompt` is read. */
  readonly isPromptKept?: boolean
  /** The largest response that is kept for a detached call, in bytes. */
  readonly maxKeptBytes?: number
  /** Bytes of bodies of calls under way that are kept in memory. */
  readonly room?: { readonly total: number; readonly perHolder: number }
}

const KIB = 1024
// For one agent as much as the largest `max_body` there may be.
const ROOM = { total: 256 * KIB * KIB, perHolder: 64 * KIB * KIB }
// A handshake has a body for hardly anybody; it is read before it is known who sends it.
const MAX_HANDSHAKE_BODY = 64 * KIB

export async function startHttp(parts: HttpParts) {
  const pools: Pool[] = []
  const services = new Map<string, { readonly service: Service; readonly rules: HeaderRules }>()
  const room = createRoom(parts.room ?? ROOM)
  for (const options of parts.upstreams) {
    const { service, own } = prepareService(options, parts)
    pools.push(...own)
    const rules = headerRules(options.headers.allow, () => parts.injector.headersFor(options.name)[0])
    services.set(options.name, { service, rules })
    const door = createDoor({ service, rules, parts, room })
    await mount(parts.server, options, door)
  }

  return {
    revive(stored: Parameters<Revive>[0], { id, principal, upstream }: Parameters<Revive>[1]): Exchange {
      const found = services.get(upstream)
      const model = restoreModel(stored)
      if (!found || !model) throw new TypeError('the stored call is not one of this gateway')
      return createExchange({
        ...detachedCall({ id, principal }, parts.maxKeptBytes ?? 1024 * KIB),
        service: found.service,
        model,
        body: Buffer.from(stored.body),
        takeRoom: () => true,
        charge: () => null,
      })
    },
    async stop() {
      await Promise.all(pools.map((pool) => pool.destroy()))
    },
  }
}

type Revive = Awaited<ReturnType<Protocol<HttpOptions>['start']>>['revive']

function prepareService(options: HttpOptions, parts: HttpParts): { service: Service; own: readonly Pool[] } {
  const { url, timeouts } = options
  const address = { url, ca: options.ca ?? null, connectTimeoutMs: timeouts.connect }
  const dispatcher = connectUpstream(address)
  const tunnelDispatcher = connectUpstream(address, true)
  const basePath = url.pathname.replace(/\/+$/, '')
  const upstream: Upstream = {
    name: options.name,
    protocol: 'http',
    labels: options.labels,
    mode: options.mode,
    waitMs: options.wait ?? parts.holdWaitMs,
  }
  const usual = headerRules([])
  const service: Service = {
    upstream,
    host: url.host,
    target: url.origin + basePath,
    basePath,
    rewrite: { origin: url.origin, basePath, prefix: options.host === undefined ? `/${options.name}` : '' },
    dispatcher,
    tunnelDispatcher,
    timeouts: { responseMs: timeouts.response, idleMs: timeouts.idle },
    maxBodyBytes: options.max_body,
    maxUpgradedMs: timeouts.upgraded,
    shownHeaders: (model) => headersWorthShowing(model, usual),
    injector: parts.injector,
    sign: options.assertion ? parts.sign : null,
    publicUrl: parts.publicUrl,
    monotonic: () => parts.clock.monotonic(),
  }
  return { service, own: [dispatcher, tunnelDispatcher] }
}

/** Those that only a configuration lets through, and those that change what a request does. */
function headersWorthShowing(model: RequestModel, usual: HeaderRules): ReadonlySet<string> {
  const shown = new Set([
    ...['content-disposition', 'content-encoding', 'content-range', 'range', 'prefer'],
    ...['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since', 'if-range'],
  ])
  const names = model.headers.filter((_name, index) => index % 2 === 0)
  const passedByDefault = sortHeaders(
    names.flatMap((name) => [name, '']),
    usual,
    true,
  )
  if (!isRefusal(passedByDefault)) for (const name of passedByDefault.dropped) shown.add(name)
  return shown
}

/** A call that has arrived, and what is to be done when it is over. */
interface Begun {
  readonly arrival: Arrival
  end(): void
}

interface Door {
  enter(request: IncomingMessage, response: ServerResponse): void
  enterUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void
}

async function mount(server: GatewayServer, options: HttpOptions, door: Door): Promise<void> {
  const prefix = `/${options.name}`
  await server.app.register(async (scope) => {
    // Fastify reads text/plain by itself; here nothing is read before it is judged.
    scope.removeAllContentTypeParsers()
    await scope.register(httpProxy, {
      prefix,
      // Never used: what is mounted here hands every request over before it is proxied, to go its own way upstream.
      upstream: options.url.origin,
      websocket: false,
      httpMethods: [...server.methods],
      routes: ['/'],
      // Not `handler`: before that, the proxy parses three URLs to find where it would send the request.
      preHandler(request, reply) {
        reply.hijack()
        door.enter(request.raw, reply.raw)
      },
    })
  })
  server.mount(prefix, door.enterUpgrade)
  if (options.host !== undefined) server.mountHost(options.host, prefix)
}

/** Where requests for one upstream come in. */
function createDoor({
  service,
  rules,
  parts,
  room,
}: {
  service: Service
  rules: HeaderRules
  parts: HttpParts
  room: Room
}): Door {
  const { server, log, pass, newCallId } = parts
  const prefixLength = `/${service.upstream.name}`.length

  function enter(request: IncomingMessage, response: ServerResponse): void {
    const call = begin(request, (added) => plainLine(request, response, { idleMs: service.timeouts.idleMs, added }))
    carry(call, response)
  }

  function enterUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const limits = {
      maxBodyBytes: Math.min(service.maxBodyBytes, MAX_HANDSHAKE_BODY),
      maxEarlyBytes: 64 * KIB,
      bodyMs: 30_000,
    }
    const connection = takeUpgrade(request, socket, { head, limits })
    const response = responseOn(request, socket)
    const call = begin(
      request,
      (added) => upgradeLine({ request, response, connection, rewrite: service.rewrite, added }),
      request.headers.upgrade,
    )
    carry(call, response)
  }

  function carry(call: Begun | null, response: ServerResponse): void {
    if (!call) return
    const { arrival } = call
    pass(arrival)
      .catch(async (error: unknown) => {
        log.error({ err: error, call: arrival.id }, 'a call failed')
        if (response.headersSent) response.destroy()
        else await arrival.refuse(refuse('unavailable', 'Perhaps executed. The gateway failed during this call.'))
      })
      .finally(call.end)
  }

  function begin(
    request: IncomingMessage,
    open: (added: () => readonly string[]) => Line,
    upgrade: string | null = null,
  ): Begun | null {
    const id = newCallId()
    // Most calls have no body that is kept.
    let lease: Lease | null = null
    const { target, isByHost } = routeOf(request)
    const fields = sortHeaders(request.rawHeaders, rules, upgrade !== null)
    const added = ['countersign-call', id]
    const line = open(() => added)
    const answer = (why: Refusal) => {
      tellRefusal(line, why, { callId: id, service })
      return Promise.resolve()
    }
    const refuseHeaders = (why: Refusal) => {
      server.noteMalformed(request, 'header_value')
      void answer(why)
      return null
    }
    if (isRefusal(fields)) return refuseHeaders(fields)
    const idempotencyKey = readIdempotencyKey(fields.own)
    if (isRefusal(idempotencyKey)) return refuseHeaders(idempotencyKey)
    if (fields.dropped.length > 0) added.push('countersign-dropped', fields.dropped.join(', '))
    const skipped = isByHost ? 0 : prefixLength
    const prefer = parsePrefer(fields.own.get('prefer'))
    const model = modelOf(request, fields, {
      path: target.path.slice(skipped) || '/',
      decodedPath: target.decodedPath.slice(skipped) || '/',
      query: target.query,
      upgrade,
      prefer: prefer.rest,
    })
    const arrival: Arrival = {
      id,
      upstream: service.upstream,
      credential: readCredential(fields.own, target.query),
      source: server.sourceOf(request),
      refuse: answer,
      open(principal) {
        const { waitMs } = service.upstream
        const isPromptKept = parts.isPromptKept ?? false
        const asked = readAsked(fields.own, { prefer, idempotencyKey, waitMs, isPromptKept })
        return createExchange({
          id,
          principal,
          service,
          line,
          model,
          body: null,
          // An upgrade has no response that could be kept.
          asked: upgrade === null ? asked : { ...asked, isDetached: false },
          takeRoom(bytes) {
            lease ??= room.lease(formatParty(principal))
            return lease.take(bytes)
          },
          charge: (bytes) => parts.charge(principal, bytes),
          approvedBy: (approval) => added.push('countersign-approval', approval.id),
          kept: null,
        })
      },
    }
    return { arrival, end: () => lease?.end() }
  }

  return { enter, enterUpgrade }
}

type Place = Pick<RequestModel, 'path' | 'decodedPath' | 'query' | 'upgrade'> & { readonly prefer: string }

function modelOf(request: IncomingMessage, { passed, own }: Fields, { prefer, ...place }: Place): RequestModel {
  if (prefer !== '') passed.push('prefer', prefer)
  return {
    method: request.method ?? 'GET',
    ...place,
    headers: passed,
    contentType: own.get('content-type') ?? null,
    contentEncoding: own.get('content-encoding') ?? null,
    contentLength: own.has('transfer-encoding') ? null : Number(own.get('content-length') ?? 0),
  }
}
