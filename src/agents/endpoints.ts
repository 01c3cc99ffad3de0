import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Approval } from '../domain/approval.ts'
import type { Principal } from '../domain/principal.ts'
import type { ProblemContext } from '../domain/problem.ts'
import { isRefusal, refuse } from '../domain/refusal.ts'
import { answerJson, answerRefusal } from './answer.ts'
import { createCallLookup, readWait, type StatusAnswer } from './calls.ts'
import { describeMinted, readUpstream } from './credentials.ts'
import type { AgentParts } from './desk.ts'
import { describeResource, metadataUrl } from './discovery.ts'
import { createReadiness } from './readiness.ts'
import type { Replay } from './replay.ts'
import { describePrincipal } from './whoami.ts'

const METADATA_MAX_AGE_S = 300

/**
 * The reserved paths of the gateway listener, for agents themselves: their own held calls, who the gateway takes them
 * for, users and passwords for clients that log in, where to get a token, the keys of assertions, and whether the gateway
 * is well. Everything else under those paths is answered 404, and never reaches an upstream.
 */
export async function agentEndpoints(app: FastifyInstance, parts: AgentParts): Promise<void> {
  const { gateway } = parts
  const own = metadataUrl(gateway.publicUrl, null)
  const lookUp = createCallLookup(parts)
  const checkReadiness = createReadiness(parts.readiness, parts.monotonicMs)

  /** Answers for a principal; nobody else gets past it. */
  function forPrincipal(
    handle: (principal: Principal, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
  ) {
    return async (request: FastifyRequest, reply: FastifyReply) => {
      const principal = await parts.identify(parts.readCredential(request.raw), parts.sourceOf(request.raw))
      if (isRefusal(principal)) return answerRefusal(reply, principal, { metadataUrl: own })
      const barred = parts.admit(principal)
      if (barred) return answerRefusal(reply, barred, { metadataUrl: own })
      const end = parts.begin(principal)
      try {
        return await handle(principal, request, reply.header('cache-control', 'no-store'))
      } finally {
        end()
      }
    }
  }

  const refuseWith = (reply: FastifyReply, why: Parameters<typeof answerRefusal>[1], context: ProblemContext = {}) =>
    answerRefusal(reply, why, { ...context, publicUrl: gateway.publicUrl, metadataUrl: own })

  app.get(
    '/.countersign/whoami',
    forPrincipal(async (principal, _request, reply) => answerJson(reply, 200, describePrincipal(principal))),
  )

  app.get<{ Params: { id: string } }>(
    '/.countersign/calls/:id',
    forPrincipal(async (principal, request, reply) => {
      const { id } = request.params as { id: string } // the route has exactly this parameter
      const waitMs = readWait(new URL(request.raw.url ?? '', 'http://gateway').searchParams.get('wait'))
      if (isRefusal(waitMs)) return refuseWith(reply, waitMs)
      const found = await lookUp(id, principal, waitMs > 0 ? { waitMs, gone: goneOf(reply) } : null)
      if (isRefusal(found)) return refuseWith(reply, found)
      if (found.kind === 'status') return answerStatus(reply, found)
      nameCall(reply, found.call.approval)
      if (found.kind === 'response') return answerResponse(reply, found.response)
      return refuseWith(reply, found.refusal, { callId: found.call.approval.callId })
    }),
  )

  const credentials = forPrincipal(async (principal, request, reply) => {
    const upstream = await readUpstream(request.raw, reply.raw)
    // What is left of the body is not waited for.
    if (isRefusal(upstream)) return refuseWith(reply.header('connection', 'close'), upstream)
    if (!gateway.upstreams.includes(upstream)) return refuseWith(reply, NO_UPSTREAM)
    if (!gateway.minting.includes(upstream)) return refuseWith(reply, TAKES_TOKENS)
    const minted = await parts.mint(principal, upstream)
    return isRefusal(minted) ? refuseWith(reply, minted) : answerJson(reply, 201, describeMinted(minted))
  })
  await app.register(async (scope) => {
    // The body is read once it is known whose it is.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null))
    scope.post('/.countersign/credentials', credentials)
  })

  const describe = async (request: FastifyRequest, reply: FastifyReply) => {
    const { upstream = null } = request.params as { upstream?: string } // of both routes
    if (upstream !== null && !gateway.upstreams.includes(upstream)) return refuseWith(reply, NOTHING_HERE)
    reply.header('cache-control', `public, max-age=${METADATA_MAX_AGE_S}`)
    return answerJson(reply, 200, describeResource(gateway, upstream))
  }
  app.get('/.well-known/oauth-protected-resource', describe)
  app.get('/.well-known/oauth-protected-resource/:upstream', describe)
  app.get('/.well-known/jwks.json', async (_request, reply) => {
    reply.header('cache-control', `public, max-age=${METADATA_MAX_AGE_S}`)
    return answerJson(reply, 200, parts.jwks())
  })

  app.get('/livez', async (_request, reply) =>
    answerJson(reply.header('cache-control', 'no-store'), 200, { live: true }),
  )
  app.get('/readyz', async (_request, reply) => {
    const report = await checkReadiness()
    return answerJson(reply.header('cache-control', 'no-store'), report.ready ? 200 : 503, report)
  })

  for (const rest of ['/.countersign', '/.countersign/*', '/.well-known/oauth-protected-resource/*']) {
    app.all(rest, async (_request, reply) => refuseWith(reply, NOTHING_HERE))
  }
}

const NOTHING_HERE = refuse('not_found', 'There is nothing here.')
const NO_UPSTREAM = refuse('not_found', 'Not minted. There is no upstream of this name.')
const TAKES_TOKENS = refuse(
  'not_found',
  'Not minted. Nobody logs in to this upstream with a user and a password: send the token with every call.',
)

function answerStatus(reply: FastifyReply, { status, isOpen, retryAfterS }: StatusAnswer): FastifyReply {
  nameCall(reply, { callId: status.call, id: status.approval })
  if (isOpen) reply.header('retry-after', String(retryAfterS))
  return answerJson(reply, isOpen ? 202 : 200, status)
}

function answerResponse(reply: FastifyReply, { status, headers, body }: Replay): FastifyReply {
  for (const [name, some] of Map.groupBy(headers, ([name]) => name.toLowerCase())) {
    const values = some.map(([, value]) => value)
    reply.header(name, values.length === 1 ? values[0] : values)
  }
  return reply.code(status).send(Buffer.from(body.buffer, body.byteOffset, body.byteLength))
}

function nameCall(reply: FastifyReply, { callId, id }: Pick<Approval, 'callId' | 'id'>): void {
  reply.header('countersign-call', callId).header('countersign-approval', id)
}

/** Aborts when the client left. Fastify's own `request.signal` aborts as soon as the request is read. */
function goneOf(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort()
  })
  return gone.signal
}
