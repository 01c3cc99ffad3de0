import http, { type IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import Fastify, { type FastifyInstance } from 'fastify'
import { PROBLEM_MEDIA_TYPE, problemOf } from '../../domain/problem.ts'
import { refuse } from '../../domain/refusal.ts'
import type { Logger } from '../../platform/logger.ts'
import { inspectHead, isUpgradable, type Malformed, type MalformedReason } from './malformed.ts'
import type { Target } from './request-target.ts'
import { endSilentConnections } from './silent.ts'

export interface GatewayServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** PEM texts; null only on loopback or behind a proxy that ends TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | null
  /** Whether the last `X-Forwarded-For` is the proxy's word on where a request came from. */
  readonly isBehindTlsProxy: boolean
  readonly log: Logger
  /** Told of every request that was not a call, and where it came from. */
  onMalformed(source: string, reason: MalformedReason): void
  /** Bytes of a request's head; tokens with many groups run to 8 KiB. */
  readonly maxHeaderBytes?: number
  readonly maxConnections?: number
  readonly headersTimeoutMs?: number
  readonly keepAliveTimeoutMs?: number
}

/** An upgrade that came to a mounted prefix. The socket is paused, and its errors are handled. */
export type UpgradeHandler = (request: IncomingMessage, socket: Socket, head: Buffer) => void

export interface GatewayServer {
  /** Routes are added to it before `listen`. Its requests carry a target that was parsed once: see `arrivalOf`. */
  readonly app: FastifyInstance
  /** Every method that is routed. */
  readonly methods: readonly string[]
  /**
   * Reserves a prefix (`/billing`) for an upstream whose routes are added to `app`. They are found by the prefix alone:
   * the router, which has rules of its own for escapes and dots, sees nothing of the rest.
   */
  mount(prefix: string, upgrade: UpgradeHandler): void
  /** Sends requests for a host to what is mounted under a prefix, reserved paths aside. */
  mountHost(host: string, prefix: string): void
  sourceOf(request: IncomingMessage): string
  /** Counts a request that turned out not to be a call only where it was read further. */
  noteMalformed(request: IncomingMessage, reason: MalformedReason): void
  listen(): Promise<{ readonly host: string; readonly port: number }>
  /** Takes no more connections, waits `graceMs` for what is under way, then ends it. */
  close(graceMs: number): Promise<void>
}

const ROUTE = Symbol('where a request was found to go')
const EXPECTS_CONTINUE = Symbol('whether the client waits for 100 Continue')
const CURRENT = Symbol("the response that a connection's current request waits for")

export interface Route {
  readonly target: Target
  /** Where the request belongs: the path's first segment, or what the Host header stands for. */
  readonly prefix: string
  readonly isByHost: boolean
}

interface GatewayRequest extends IncomingMessage {
  [ROUTE]?: Route
  [EXPECTS_CONTINUE]?: boolean
}
interface GatewaySocket extends Socket {
  [CURRENT]?: ServerResponse
}

const KIB = 1024
const IDLE_CHECK_MS = 50
const HEADERS_TIMEOUT_MS = 15_000
const NO_UPSTREAM = refuse('not_found', 'Not executed. No upstream is configured under this path.')

// On every host: an upstream that is routed by its host never gets them.
const RESERVED_PREFIXES = ['/.countersign/', '/.well-known/oauth-protected-resource', '/.well-known/jwks.json']
const RESERVED_PATHS = new Set(['/livez', '/readyz'])

/** The listener for agents: a strict HTTP/1.1 server in front of a Fastify instance. It listens when told to. */
export function createGatewayServer(options: GatewayServerOptions): GatewayServer {
  const { log, onMalformed, tls } = options
  const hosts = new Map<string, string>()
  const upgrades = new Map<string, UpgradeHandler>()
  const tunnels = new Set<Duplex>()
  const server = tls
    ? https.createServer({ ...settings(options), ...tls, handshakeTimeout: HEADERS_TIMEOUT_MS })
    : http.createServer(settings(options))
  // Not `requestTimeout`: it would end uploads and held calls. What may idle is bounded where it is read.
  server.requestTimeout = 0
  server.headersTimeout = options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS
  server.keepAliveTimeout = options.keepAliveTimeoutMs ?? 75_000
  server.maxConnections = options.maxConnections ?? 10_000
  // Later than the time-out for a head that has begun, which is answered.
  endSilentConnections(server, 2 * server.headersTimeout)

  const app = Fastify({
    serverFactory: (handle) => {
      server.on('request', (request, response) => receive(request, response, handle))
      server.on('checkContinue', (request: GatewayRequest, response) => {
        request[EXPECTS_CONTINUE] = true
        receive(request, response, handle)
      })
      return server
    },
    clientErrorHandler: (error, socket) => answerClientError(error, socket as GatewaySocket),
    frameworkErrors: (error, request, reply) => {
      log.warn({ err: error }, 'a request passed inspection and failed in the router')
      answer(reply.hijack().raw, 'target', 'the request could not be routed', sourceOf(request.raw))
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
  app.setNotFoundHandler((_request, reply) => {
    const problem = problemOf(NO_UPSTREAM)
    return reply.code(404).type(PROBLEM_MEDIA_TYPE).send(JSON.stringify(problem))
  })
  app.setErrorHandler((error, request, reply) => {
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
    if (status >= 400 && status < 500) {
      answer(reply.hijack().raw, 'syntax', 'the request could not be read', sourceOf(request.raw))
      return
    }
    log.error({ err: error }, 'a request failed')
    const problem = problemOf(refuse('unavailable', 'Not executed. The gateway failed; try again later.'))
    return reply.code(503).header('retry-after', '5').type(PROBLEM_MEDIA_TYPE).send(JSON.stringify(problem))
  })

  function sourceOf(request: IncomingMessage): string {
    if (options.isBehindTlsProxy) {
      const forwarded = request.headers['x-forwarded-for']
      const last = (Array.isArray(forwarded) ? forwarded.at(-1) : forwarded)?.split(',').at(-1)?.trim()
      if (last) return last.slice(0, 64)
    }
    return request.socket?.remoteAddress ?? 'unknown'
  }

  function receive(request: GatewayRequest, response: ServerResponse, handle: http.RequestListener): void {
    const socket = request.socket as GatewaySocket
    const current = socket[CURRENT]
    if (current && !current.writableEnded) {
      // Bytes behind a call in progress would hide that its client hung up. HTTP allows to close at any time.
      onMalformed(sourceOf(request), 'pipelined')
      socket.destroy()
      return
    }
    socket[CURRENT] = response
    const route = inspect(request)
    if ('reason' in route) {
      onMalformed(sourceOf(request), route.reason)
      writeProblem(response, route)
      return
    }
    request[ROUTE] = route
    const { path, query } = route.target
    request.url = upgrades.has(route.prefix) ? route.prefix : query === '' ? path : `${path}?${query}`
    handle(request as IncomingMessage & { socket: Socket }, response as Parameters<http.RequestListener>[1])
  }

  function inspect(request: IncomingMessage): Route | Malformed {
    const head = inspectHead(request)
    if ('reason' in head) return head
    const { target } = head
    if (hosts.size > 0 && !isReserved(target.path)) {
      const prefix = hosts.get(hostname(request.headers.host ?? ''))
      if (prefix !== undefined) return { target, prefix, isByHost: true }
    }
    const end = target.path.indexOf('/', 1)
    return { target, prefix: end === -1 ? target.path : target.path.slice(0, end), isByHost: false }
  }

  function answer(response: ServerResponse, reason: MalformedReason, detail: string, source: string): void {
    onMalformed(source, reason)
    writeProblem(response, { reason, detail })
  }

  function answerClientError(error: Error & { code?: string }, socket: GatewaySocket): void {
    const current = socket[CURRENT]
    const hasLeft = error.code === 'ECONNRESET' || error.code === 'EPIPE' || error.code === 'HPE_INVALID_EOF_STATE'
    // Its last response is on its way out: what comes behind it is of no interest.
    if (current?.writableEnded && !current.shouldKeepAlive) return
    if (hasLeft || !socket.writable || (current && !current.writableEnded)) {
      // In the middle of a call nothing can be answered but its end.
      if (!hasLeft) onMalformed(socket.remoteAddress ?? 'unknown', 'syntax')
      socket.destroy()
      return
    }
    const fault: Malformed =
      error.code === 'HPE_HEADER_OVERFLOW'
        ? { reason: 'too_long', detail: 'the request head is too long', status: 431 }
        : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? { reason: 'timeout', detail: 'the request head took too long', status: 408 }
          : { reason: 'syntax', detail: 'the request is not HTTP/1.1' }
    onMalformed(socket.remoteAddress ?? 'unknown', fault.reason)
    writeRawProblem(socket, fault)
  }

  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    onMalformed(sourceOf(request), 'expectation')
    const detail = 'the only expectation understood is 100-continue'
    writeProblem(response, { reason: 'expectation', detail, status: 417 })
  })
  server.on('connect', (request: IncomingMessage, socket: Duplex) => {
    socket.on('error', () => socket.destroy())
    onMalformed(sourceOf(request), 'method')
    writeRawProblem(socket, { reason: 'method', detail: 'CONNECT is not forwarded' })
  })
  server.on('upgrade', (request: GatewayRequest, stream: Duplex, head: Buffer) => {
    const socket = stream as GatewaySocket
    socket.on('error', () => socket.destroy())
    tunnels.add(socket)
    socket.on('close', () => tunnels.delete(socket))
    const current = socket[CURRENT]
    if (current && !current.writableEnded) {
      onMalformed(sourceOf(request), 'pipelined')
      socket.destroy()
      return
    }
    const route = inspect(request)
    if ('reason' in route) {
      onMalformed(sourceOf(request), route.reason)
      writeRawProblem(socket, route)
      return
    }
    request[ROUTE] = route
    const handler = upgrades.get(route.prefix)
    if (handler) handler(request, socket, head)
    else endRaw(socket, 404, JSON.stringify(problemOf(NO_UPSTREAM)))
  })

  return {
    app,
    methods,
    sourceOf,
    noteMalformed: (request, reason) => onMalformed(sourceOf(request), reason),
    mount: (prefix, upgrade) => upgrades.set(prefix, upgrade),
    mountHost: (host, prefix) => hosts.set(host.toLowerCase(), prefix),
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
    connectionsCheckingInterval: Math.min(5_000, options.headersTimeoutMs ?? HEADERS_TIMEOUT_MS),
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    // What is not upgraded goes the ordinary way, where inspection refuses it with a proper response.
    shouldUpgradeCallback: (request: IncomingMessage) => isUpgradable(request.headers.upgrade ?? ''),
  }
}

/** The target of a request that `receive` let through, and where it belongs. */
export function routeOf(request: IncomingMessage): Route {
  const route = (request as GatewayRequest)[ROUTE]
  if (!route) throw new TypeError('the request did not come through the gateway server')
  return route
}

/** Tells a client that waits for it to send the body. Nothing happens for others, or a second time. */
export function continueIfExpected(request: IncomingMessage, response: ServerResponse): void {
  const waiting = request as GatewayRequest
  if (!waiting[EXPECTS_CONTINUE]) return
  waiting[EXPECTS_CONTINUE] = false
  response.writeContinue()
}

/** Whether the client still waits for 100 Continue, so that it has sent nothing of its body. */
export function isWaitingToContinue(request: IncomingMessage): boolean {
  return (request as GatewayRequest)[EXPECTS_CONTINUE] === true
}

function isReserved(path: string): boolean {
  return RESERVED_PATHS.has(path) || RESERVED_PREFIXES.some((prefix) => path.startsWith(prefix))
}

function hostname(host: string): string {
  const withoutPort = host.startsWith('[') ? host.slice(0, host.indexOf(']') + 1) : (host.split(':', 1)[0] ?? '')
  return withoutPort.toLowerCase().replace(/\.$/, '')
}

function problemText(fault: Malformed): { status: number; text: string } {
  const problem = problemOf(refuse('malformed', `Not executed. The request was refused unread: ${fault.detail}.`))
  const status = fault.status ?? problem.status
  return { status, text: JSON.stringify({ ...problem, status }) }
}

// A request that was not understood may have a body whose end is not understood either: the connection ends with it.
function writeProblem(response: ServerResponse, fault: Malformed): void {
  const { status, text } = problemText(fault)
  response.shouldKeepAlive = false
  response.writeHead(status, {
    'content-type': PROBLEM_MEDIA_TYPE,
    'content-length': Buffer.byteLength(text),
    connection: 'close',
  })
  response.end(text)
}

function writeRawProblem(socket: Duplex, fault: Malformed): void {
  const { status, text } = problemText(fault)
  endRaw(socket, status, text)
}

function endRaw(socket: Duplex, status: number, text: string): void {
  const head = [
    `HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? ''}`,
    `content-type: ${PROBLEM_MEDIA_TYPE}`,
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`, () => socket.destroy())
}

/** A response on a socket that HTTP was detached from by an upgrade. The socket ends with it. */
export function responseOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.on('finish', () => socket.destroySoon())
  return response
}
