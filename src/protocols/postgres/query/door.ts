import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Arrival } from '../../../domain/call.ts'
import { isRefusal, type Refusal, refuse } from '../../../domain/refusal.ts'
import { tellRefusal } from '../../../transports/http/answer.ts'
import { readAsked } from '../../../transports/http/call.ts'
import { readCredential } from '../../../transports/http/credential.ts'
import { plainLine } from '../../../transports/http/line.ts'
import { ownHeaders, readIdempotencyKey } from '../../../transports/http/own-headers.ts'
import { parsePrefer } from '../../../transports/http/prefer.ts'
import { routeOf } from '../../../transports/http/routing.ts'
import type { GatewayServer } from '../../../transports/http/server.ts'
import { answerMalformed, answerUnread, endWith } from '../../../transports/http/unread.ts'
import { createQueryExchange, type QueryService } from './exchange.ts'

export interface QueryDoor {
  /** Resolves when nobody is inside any more. */
  settled(): Promise<unknown>
}

/** How long a client may pause while it sends its body. */
const IDLE_MS = 30_000
const TAKES_NO_QUERY = refuse('malformed', 'Not executed. There is nothing to say behind a question mark here.')
const UNREADABLE = refuse('unreadable', 'Not executed. The body has to be plain: send it without a Content-Encoding.')

/** Takes queries at `POST /<upstream>/query`, for agents that have no driver. */
export async function openQueryDoor(
  queries: QueryService,
  { server, isPromptKept }: { readonly server: GatewayServer; readonly isPromptKept: boolean },
): Promise<QueryDoor> {
  const { service } = queries
  const { upstream, log, pass, newCallId } = service
  const path = `/${upstream.name}/query`
  const elsewhere = refuse('not_found', `Not executed. By HTTP there is POST ${path} here, and nothing else.`)
  const inside = new Set<Promise<void>>()

  await server.app.register(async (scope) => {
    // Nothing is read before it is known who sends it.
    scope.removeAllContentTypeParsers()
    for (const url of [`/${upstream.name}`, `/${upstream.name}/*`]) {
      scope.route({
        method: [...server.methods],
        url,
        onRequest(request, reply) {
          reply.hijack()
          receive(request.raw, reply.raw)
        },
        handler() {},
      })
    }
  })

  function receive(request: IncomingMessage, response: ServerResponse): void {
    // As it was inspected; the router has rules of its own.
    if (routeOf(request).target.path !== path) endWith(response, answerUnread(elsewhere, newCallId()))
    else if (request.method !== 'POST') refuseMethod(request, response)
    else {
      const running = carry(request, response).finally(() => inside.delete(running))
      inside.add(running)
    }
  }

  function refuseMethod(request: IncomingMessage, response: ServerResponse): void {
    server.noteMalformed(request, 'method')
    response.setHeader('allow', 'POST')
    const detail = `what is asked at ${path} is asked by POST`
    endWith(response, answerMalformed({ reason: 'method', detail, status: 405 }, newCallId()))
  }

  async function carry(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = newCallId()
    const added = ['countersign-call', id]
    const line = plainLine(request, response, { idleMs: IDLE_MS, added: () => added })
    const answer = (why: Refusal) => {
      tellRefusal(line, why, { callId: id, service })
      return Promise.resolve()
    }
    const { target } = routeOf(request)
    const own = ownHeaders(request)
    const idempotencyKey = readIdempotencyKey(own)
    if (isRefusal(idempotencyKey)) {
      server.noteMalformed(request, 'header_value')
      return answer(idempotencyKey)
    }
    const prefer = parsePrefer(own.get('prefer'))
    using over = new DisposableStack()
    const arrival: Arrival = {
      id,
      upstream,
      credential: readCredential(own, target.query),
      source: server.sourceOf(request),
      refuse: answer,
      open(principal) {
        const call = createQueryExchange({
          id,
          principal,
          queries,
          line,
          query: target.query !== '' ? TAKES_NO_QUERY : isPlain(own.get('content-encoding')) ? null : UNREADABLE,
          asked: readAsked(own, { prefer, idempotencyKey, waitMs: upstream.waitMs, isPromptKept }),
          approvedBy: (approval) => added.push('countersign-approval', approval.id),
          kept: null,
        })
        over.defer(call.end)
        return call
      },
    }
    try {
      await pass(arrival)
    } catch (error) {
      log.error({ err: error, call: id }, 'a call failed')
      if (response.headersSent) response.destroy()
      else await answer(refuse('unavailable', 'Perhaps executed. The gateway failed during this call.'))
    }
  }

  return { settled: () => Promise.all(inside) }
}

function isPlain(encoding: string | undefined): boolean {
  return encoding === undefined || /^identity$/i.test(encoding)
}
