import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Refusal, refuse } from '../../domain/refusal.ts'
import type { Logger } from '../../platform/logger.ts'
import { noteExpectation } from './continue.ts'
import { limitConnections } from './crowded.ts'
import { isUpgradable, type Malformed, type MalformedReason } from './malformed.ts'
import { createRouting, isReserved, type Routing, routeOf } from './routing.ts'
import { endSilentConnections, REQUEST_EVENTS } from './silent.ts'
import { answerMalformed, answerUnread, endRawWith, endWith } from './unread.ts'

/** Ten thousand calls that are held at once, and room for what comes meanwhile. */
const MOST_CONNECTIONS = 12_000

export interface GatewayServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** PEM texts; null only on loopback or behind a proxy that ends TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | null
  /** Whether the last `X-Forwarded-For` is the proxy's word on where a request came from. */
  readonly isBehindTlsProxy: boolean
  readonly log: Logger
  /** Every answer names a call, also to what was not read. */
  newCallId(): string
  /** Told of every request that was not a call, and where it came from. */
  onMalformed(source: string, reason: MalformedReason): void
  /** Bytes of a request's head; tokens with many groups run to 8 KiB. */
  readonly maxHeaderBytes?: number
  readonly maxConnections?: number
  readonly headersTimeoutMs?: number
  readonly keepAliveTimeoutMs?: number
}

export interface GatewayServer {
  /** Routes are added to it before `listen`. Its requests carry a target that was parsed once: see `routeOf`. */
  readonly app: FastifyInstance
  /** Every method that is routed. */
  readonly methods: readonly string[]
  /**
   * Reserves a prefix (`/billing`) for an upstream whose routes are added to `app`. They are found by the prefix alone:
   * the router, which has rules of its own for escapes and dots, sees nothing of the rest.
   */
  readonly mount: Routing['mount']
  /** Sends requests for a host to what is mounted under a prefix, reserved paths aside. */
  readonly mountHost: Routing['mountHost']
  sourceOf(request: IncomingMessage): string
  /** Counts a request that turned out not to be a call only where it was read further. */
  noteMalformed(request: IncomingMessage, reason: MalformedReason): void
  listen(): Promise<{ readonly host: string; readonly port: number }>
  /** Takes no more connections, waits `graceMs` for what is under way, then ends it. */
  close(graceMs: number): Promise<void>
}

const CURRENT = Symbol("the response that a connection's current request waits for")

interface GatewaySocket extends Socket {
  [CURRENT]?: ServerResponse
}

const KIB = 1024
const IDLE_CHECK_MS = 50
const HEADERS_TIMEOUT_MS = 15_000
const NO_UPSTREAM = refuse('not_found', 'Not executed. No upstream is configured under this path.')
const FAILED = refuse('unavailable', 'Not executed. The gateway failed; try again later.', { retryAfterS: 5 })

/** The listener for agents: a strict HTTP/1.1 server in front of a Fastify instance. It listens when told to. */
export function createGatewayServer(options: GatewayServerOptions): GatewayServer {
  const { log, newCallId, onMalformed, tls } = options
  const routing = createRouting()
  const tunnels = new Set<Duplex>()
  const server = tls
    ? https.createServer({ ...settings(options), ...tls, handshakeTimeout: HEADERS_TIMEOUT_MS })
    : http.createServer(settings(options))
  // Not `requestTimeout`: it would end uploads and held calls. What may idle is bounded where it is read.
  server.requestTimeout = 0
  server.headersTimeout = options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS
  server.keepAliveTimeout = options.keepAliveTimeoutMs ?? 75_000
  limitConnections(server, { most: options.maxConnections ?? MOST_CONNECTIONS, events: REQUEST_EVENTS, log })
  // Later than the time-out for a head that has begun, which is answered.
  endSilentConnections(server, 2 * server.headersTimeout)

  const app = Fastify({
    serverFactory: (handle) => {
      server.on('request', (request, response) => receive(request, response, handle))
      server.on('checkContinue', (request, response) => {
        noteExpectation(request)
        receive(request, response, handle)
      })
      return server
    },
    clientErrorHandler: (error, socket) => answerClientError(error, socket as GatewaySocket),
    frameworkErrors: (error, request, reply) => {
      log.warn({ err: error }, 'a request passed inspection and failed in the router')
      refuseMalformed(request.raw, reply.hijack().raw, { reason: 'target', detail: 'the request could not be routed' })
    },
    logger: false,
    exposeHeadRoutes: false,
    // The gate answers calls that come while the gateway drains.
    return503OnClosing: false,
    genReqId: () => '',
    requestIdHeader: false,
    trustProxy: false,
    routerOptions: { maxParamLength: 16 * KIB, caseSensitive: true, ignoreTrailingSlash: false },
  })
  const methods = http.METHODS.filter((method) => method !== 'CONNECT' && method !== 'TRACE')
  for (const method of methods) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }
  // What the gateway answers itself needs no body, and nobody is known yet who could be made to wait for one.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.setNotFoundHandler((request, reply) => send(request, reply, NO_UPSTREAM))
  app.setErrorHandler((error, request, reply) => {
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
    if (status >= 400 && status < 500) {
      const fault = { reason: 'syntax', detail: 'the request could not be read' } as const
      refuseMalformed(request.raw, reply.hijack().raw, fault)
      return
    }
    log.error({ err: error }, 'a request failed')
    return send(request, reply, FAILED)
  })

  function send(request: FastifyRequest, reply: FastifyReply, why: Refusal): FastifyReply {
    const isCall = !isReserved(routeOf(request.raw).target.path)
    const { status, headers, body } = answerUnread(why, isCall ? newCallId() : null)
    return reply.code(status).headers(headers).send(body)
  }

  function sourceOf(request: IncomingMessage): string {
    if (options.isBehindTlsProxy) {
      const forwarded = request.headers['x-forwarded-for']
      const last = (Array.isArray(forwarded) ? forwarded.at(-1) : forwarded)?.split(',').at(-1)?.trim()
      if (last) return last.slice(0, 64)
    }
    return request.socket?.remoteAddress ?? 'unknown'
  }

  function receive(request: IncomingMessage, response: ServerResponse, handle: http.RequestListener): void {
    if (endIfPipelined(request)) return
    const socket: GatewaySocket = request.socket
    socket[CURRENT] = response
    const route = routing.find(request)
    if ('reason' in route) {
      refuseMalformed(request, response, route)
      return
    }
    const { path, query } = route.target
    request.url = routing.upgradeOf(route) ? route.prefix : query === '' ? path : `${path}?${query}`
    handle(request as IncomingMessage & { socket: Socket }, response as Parameters<http.RequestListener>[1])
  }

  /** Bytes behind a call in progress would hide that its client hung up. HTTP allows to close at any time. */
  function endIfPipelined(request: IncomingMessage): boolean {
    if (!isBusy(request.socket)) return false
    onMalformed(sourceOf(request), 'pipelined')
    request.socket.destroy()
    return true
  }

  function refuseMalformed(request: IncomingMessage, response: ServerResponse, fault: Malformed): void {
    onMalformed(sourceOf(request), fault.reason)
    endWith(response, answerMalformed(fault, newCallId()))
  }

  function refuseMalformedRaw(source: string, socket: Duplex, fault: Malformed): void {
    onMalformed(source, fault.reason)
    endRawWith(socket, answerMalformed(fault, newCallId()))
  }

  function answerClientError(error: Error & { code?: string }, socket: GatewaySocket): void {
    const current = socket[CURRENT]
    const source = socket.remoteAddress ?? 'unknown'
    const hasLeft = error.code === 'ECONNRESET' || error.code === 'EPIPE' || error.code === 'HPE_INVALID_EOF_STATE'
    // Its last response is on its way out: what comes behind it is of no interest.
    if (current?.writableEnded && !current.shouldKeepAlive) return
    if (hasLeft || !socket.writable || isBusy(socket)) {
      // In the middle of a call nothing can be answered but its end.
      if (!hasLeft) onMalformed(source, 'syntax')
      socket.destroy()
      return
    }
    refuseMalformedRaw(source, socket, faultOf(error.code ?? ''))
  }

  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    if (endIfPipelined(request)) return
    const detail = 'the only expectation understood is 100-continue'
    refuseMalformed(request, response, { reason: 'expectation', detail, status: 417 })
  })
  server.on('connect', (request: IncomingMessage, socket: Duplex) => {
    socket.on('error', () => socket.destroy())
    if (endIfPipelined(request)) return
    refuseMalformedRaw(sourceOf(request), socket, { reason: 'method', detail: 'CONNECT is not forwarded' })
  })
  server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    const socket = stream as GatewaySocket
    socket.on('error', () => socket.destroy())
    tunnels.add(socket)
    socket.on('close', () => tunnels.delete(socket))
    if (endIfPipelined(request)) return
    const route = routing.find(request)
    if ('reason' in route) {
      refuseMalformedRaw(sourceOf(request), socket, route)
      return
    }
    const upgrade = routing.upgradeOf(route)
    if (upgrade) upgrade(request, socket, head)
    else endRawWith(socket, answerUnread(NO_UPSTREAM, isReserved(route.target.path) ? null : newCallId()))
  })

  return {
    app,
    methods,
    sourceOf,
    noteMalformed: (request, reason) => onMalformed(sourceOf(request), reason),
    mount: routing.mount,
    mountHost: routing.mountHost,
    async listen() {
      await app.listen({ host: options.host, port: options.port })
      const address = server.address()
      if (address === null || typeof address === 'string') throw new TypeError('the listener has no port')
      return { host: address.address, port: address.port }
    },
    async close(graceMs) {
      const closed = app.close()
      // Node ends those that are idle at this moment; those that answer later would wait for their client to let go.
      const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
      const timer = setTimeout(() => {
        server.closeAllConnections()
        for (const tunnel of tunnels) tunnel.destroy()
      }, graceMs)
      await closed
      clearInterval(idle)
      clearTimeout(timer)
    },
  }
}

function settings(options: GatewayServerOptions): http.ServerOptions {
  return {
    insecureHTTPParser: false,
    // Looked at by us, so that its absence is answered as a problem.
    requireHostHeader: false,
    maxHeaderSize: options.maxHeaderBytes ?? 32 * KIB,
    // Twice as often as heads may take: who is late is told so before the silent are ended.
    connectionsCheckingInterval: Math.min(5_000, (options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS) / 2),
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    // What is not upgraded goes the ordinary way, where inspection refuses it with a proper response.
    shouldUpgradeCallback: (request: IncomingMessage) => isUpgradable(request.headers.upgrade ?? ''),
  }
}

/** Whether a call on this connection still waits for its answer. */
function isBusy(socket: GatewaySocket): boolean {
  const current = socket[CURRENT]
  return current !== undefined && !current.writableEnded
}

/** What the HTTP parser's error says of the request. */
function faultOf(code: string): Malformed {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return { reason: 'too_long', detail: 'the request head is too long', status: 431 }
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { reason: 'timeout', detail: 'the request head took too long', status: 408 }
    default:
      return { reason: 'syntax', detail: 'the request is not HTTP/1.1' }
  }
}
