import http from 'node:http'
import https from 'node:https'
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import { limitConnections } from '../transports/http/crowded.ts'
import type { EndpointName } from './access.ts'
import { createAgentHandlers } from './agents.ts'
import { createApprovalHandlers } from './approvals.ts'
import { createAuthentication } from './authenticate.ts'
import { createClaimHandlers } from './claims.ts'
import { type ConsoleParts, mountConsole } from './console/index.ts'
import { createDelegationHandlers } from './delegations.ts'
import type { AgentDesk, ApprovalDesk, PeopleDesk } from './desk.ts'
import type { Asked } from './endpoints.ts'
import { answer, answerFaults, refusalFor } from './faults.ts'
import { createGrantHandlers } from './grants.ts'
import { mountEndpoint } from './mount.ts'
import { noticesOf } from './notices.ts'
import { describeApi } from './openapi.ts'
import { createAskHandler } from './questions.ts'
import { readStrictJson } from './strict-body.ts'
import { createWhoami } from './whoami.ts'
import type { SignInWire } from './wire.ts'

const KIB = 1024
const MAX_BODY_BYTES = 16 * KIB
const REQUEST_TIMEOUT_MS = 15_000

// Nothing that this listener answers is for a browser to run, frame, sniff or keep; the console's pages say otherwise
// for themselves.
const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

export interface ControlParts {
  readonly queue: ApprovalDesk
  readonly agents: AgentDesk
  readonly people: PeopleDesk
  /** Null where nobody signs in with a browser. */
  readonly console: Pick<
    ConsoleParts,
    'desk' | 'policy' | 'audit' | 'links' | 'linking' | 'passkeys' | 'watch' | 'publicUrl'
  > | null
  /** Where people sign in from the command line. */
  readonly signIn: SignInWire
  /** The names of the upstreams in observe mode, at this moment. */
  observed(): readonly string[]
  /**
   * What chat services call: plugins that add a path of their own with a body parser of their own, and check by
   * themselves who calls. No token of a person is asked for there.
   */
  readonly callbacks: readonly FastifyPluginAsync[]
  /** How people reach it. */
  readonly publicUrl: string | null
  /** PEM texts; null on loopback or behind a proxy that ends TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | null
  readonly log: Logger
  readonly clock: Clock
  readonly maxConnections?: number
}

/**
 * The listener for people: the console, the approver API, and what chat services call. Agents reach another one. It
 * listens once `listen` is called on what this returns, and ends with `close`. The API reads no cookie, the console takes
 * no form that is not its own, and no cross-origin request is answered: a browser has nothing here that another site
 * could use.
 */
export async function createControlServer(parts: ControlParts): Promise<FastifyInstance> {
  const app = Fastify({
    bodyLimit: MAX_BODY_BYTES,
    exposeHeadRoutes: false,
    // What the router refuses (a bad escape in the path) comes here, not to the error handler.
    frameworkErrors: (error, _request, reply) =>
      void answer(reply.headers(SECURITY_HEADERS), refusalFor(error, parts.log)),
    serverFactory: (handle) => createServer(parts, handle),
  })
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(SECURITY_HEADERS)
    if (parts.tls) reply.header('strict-transport-security', 'max-age=31536000')
  })
  letGoAtTheEnd(app)
  answerFaults(app, parts.log)
  readStrictJson(app)
  mountEndpoints(app, parts)
  const { console: pages } = parts
  // Each in a scope of its own, so that its parser serves no other route.
  if (pages) {
    const notices = () => noticesOf(parts.observed())
    await app.register((scope) => mountConsole(scope, { ...parts, ...pages, notices }))
  }
  for (const callback of parts.callbacks) await app.register(callback)
  return app
}

/** Idle connections end with the listener; one that is answered after that would last as long as its client keeps it. */
function letGoAtTheEnd(app: FastifyInstance): void {
  let isEnding = false
  app.addHook('preClose', async () => {
    isEnding = true
  })
  app.addHook('onSend', async (_request, reply) => {
    if (isEnding) reply.header('connection', 'close')
  })
}

function mountEndpoints(app: FastifyInstance, parts: ControlParts): void {
  const notices = () => noticesOf(parts.observed())
  const approvals = createApprovalHandlers(parts.queue, notices, parts.clock)
  const claims = createClaimHandlers(parts.queue, notices)
  const grants = createGrantHandlers(parts.queue.grants, notices)
  const delegations = createDelegationHandlers(parts.queue.delegations, notices)
  const agents = createAgentHandlers(parts.agents, notices)
  const authenticate = createAuthentication(parts)
  const document = describeApi(parts)

  function mount<Name extends EndpointName>(name: Name, handle: (asked: Asked<Name>) => Promise<object>): void {
    mountEndpoint(app, { name, authenticate, handle })
  }
  mount('GET /v1/sign-in', async () => parts.signIn)
  mount('GET /v1/openapi.json', async () => document)
  mount('GET /v1/whoami', createWhoami(parts.people, notices))
  mount('GET /v1/approvals', approvals.list)
  mount('GET /v1/approvals/:id', approvals.show)
  mount('POST /v1/approvals/:id/approve', approvals.vote('approve'))
  mount('POST /v1/approvals/:id/deny', approvals.vote('deny'))
  mount('POST /v1/approvals/:id/override', approvals.vote('override'))
  mount('POST /v1/approvals/:id/claim', claims('claim'))
  mount('POST /v1/approvals/:id/release', claims('release'))
  mount('POST /v1/approvals/:id/ask', createAskHandler(parts.queue, notices))
  mount('GET /v1/grants', grants.list)
  mount('POST /v1/grants/:id/revoke', grants.revoke)
  mount('GET /v1/delegations', delegations.list)
  mount('POST /v1/delegations', delegations.make)
  mount('POST /v1/delegations/:id/end', delegations.end)
  mount('GET /v1/agents', agents.list)
  mount('POST /v1/agents/suspend', agents.turn('suspend'))
  mount('POST /v1/agents/resume', agents.turn('resume'))
}

function createServer(
  { tls, log, maxConnections = 1_000 }: Pick<ControlParts, 'tls' | 'log' | 'maxConnections'>,
  handle: http.RequestListener,
): http.Server {
  const limits = {
    maxHeaderSize: 32 * KIB,
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: REQUEST_TIMEOUT_MS,
    insecureHTTPParser: false,
  }
  const server = tls
    ? https.createServer({ ...limits, ...tls, minVersion: 'TLSv1.2', handshakeTimeout: REQUEST_TIMEOUT_MS }, handle)
    : http.createServer(limits, handle)
  limitConnections(server, { most: maxConnections, events: ['request'], log })
  // The time-outs above begin with the first byte; this one ends connections on which none comes.
  server.timeout = 2 * REQUEST_TIMEOUT_MS
  return server
}
