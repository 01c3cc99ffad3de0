import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Arrival } from '../../domain/call.ts'
import { formatParty } from '../../domain/principal.ts'
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts'
import { tellRefusal } from '../../transports/http/answer.ts'
import { readAsked } from '../../transports/http/call.ts'
import { readCredential } from '../../transports/http/credential.ts'
import { type Line, plainLine, upgradeLine } from '../../transports/http/line.ts'
import { readIdempotencyKey } from '../../transports/http/own-headers.ts'
import { parsePrefer } from '../../transports/http/prefer.ts'
import { routeOf } from '../../transports/http/routing.ts'
import type { GatewayServer } from '../../transports/http/server.ts'
import { responseOn, takeUpgrade } from '../../transports/http/upgrade.ts'
import type { ProtocolParts } from '../../transports/protocol.ts'
import type { Lease, Room } from '../../transports/room.ts'
import { createExchange, type Service } from './exchange.ts'
import { type Fields, type HeaderRules, sortHeaders } from './headers.ts'
import type { RequestModel } from './model.ts'

/** Where requests for one upstream come in. */
export interface Door {
  enter(request: IncomingMessage, response: ServerResponse): void
  enterUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void
}

export interface DoorParts extends Pick<ProtocolParts<never>, 'pass' | 'charge' | 'newCallId' | 'log'> {
  readonly service: Service
  readonly rules: HeaderRules
  /** For bodies that are kept in memory. */
  readonly room: Room
  readonly server: GatewayServer
  /** Whether `Countersign-Prompt` is read. */
  readonly isPromptKept: boolean
}

const KIB = 1024
// A handshake has a body for hardly anybody; it is read before it is known who sends it.
const MAX_HANDSHAKE_BODY = 64 * KIB

/** A call that has arrived, and what is to be done when it is over. */
interface Begun {
  readonly arrival: Arrival
  end(): void
}

export function createDoor(parts: DoorParts): Door {
  const { service, rules, room, server, log, pass, newCallId } = parts
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
        const asked = readAsked(fields.own, { prefer, idempotencyKey, waitMs, isPromptKept: parts.isPromptKept })
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
