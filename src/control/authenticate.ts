import type { FastifyRequest } from 'fastify'
import { formatParty, type Person } from '../domain/principal.ts'
import { problemHeaders } from '../domain/problem.ts'
import { isRefusal, type Refusal } from '../domain/refusal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import { type Access, mayEnter } from './access.ts'
import type { PeopleDesk } from './desk.ts'
import { type ControlRefusal, refuseAs } from './problem.ts'
import { createBuckets } from './rate.ts'

export interface Caller {
  readonly person: Person
  readonly token: string
}

export type Authenticate = (request: FastifyRequest, access: Access) => Promise<Caller | ControlRefusal>

/**
 * Finds who asks, by a bearer token of a person and nothing else. Refuses nobody, nobody with a role
 * for the endpoint, and somebody who asks too often.
 */
export function createAuthentication(parts: { people: PeopleDesk; log: Logger; clock: Clock }): Authenticate {
  const { people, log, clock } = parts
  const takeRequest = createBuckets({ perSecond: 10, burst: 60, maxKeys: 10_000 }, () => clock.monotonic())
  const takeFailure = createBuckets({ perSecond: 1, burst: 30, maxKeys: 10_000 }, () => clock.monotonic())

  async function reject(request: FastifyRequest, token: string | null, why: Refusal | null): Promise<ControlRefusal> {
    // Who is known, but by a token for reading, is told so.
    if (token !== null && why !== null && !isRefusal(await people.identify(token, 'read'))) return readOnly()
    // After the check, so that one source's failures (a proxy's, say) never shut out those who are who they say.
    const source = request.socket.remoteAddress ?? 'unknown'
    const waitS = takeFailure(source)
    if (waitS > 0) return tooMany(waitS)
    log.info(
      { event: 'person_refused', source, why: why?.challenge?.description ?? 'no bearer token' },
      'nobody we know',
    )
    return unauthenticated(why)
  }

  return async (request, access) => {
    const token = bearerOf(request)
    if (token === null) return reject(request, null, null)
    const person = await people.identify(token, access.use)
    if (isRefusal(person)) return reject(request, token, person)
    const waitS = takeRequest(formatParty(person))
    if (waitS > 0) return tooMany(waitS)
    if (!mayEnter(access, person.roles)) {
      log.warn({ event: 'role_refused', endpoint: request.routeOptions.url, roles: person.roles }, 'no role for it')
      return refuseAs('forbidden', 'None of your roles is for this endpoint.')
    }
    return { person, token }
  }
}

/** A single `Authorization: Bearer`, with the characters of RFC 6750, section 2.1. */
function bearerOf(request: FastifyRequest): string | null {
  const given = request.raw.headersDistinct['authorization'] ?? []
  const [only = ''] = given
  return given.length === 1 ? (/^Bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(only)?.[1] ?? null) : null
}

function readOnly(): ControlRefusal {
  const detail = 'Not counted. This token lists and shows only; a vote needs a sign-in of its own.'
  return refuseAs('read_only_token', detail, { 'www-authenticate': 'Bearer error="insufficient_scope"' })
}

function unauthenticated(why: Refusal | null): ControlRefusal {
  if (why === null) {
    const detail = 'Send Authorization: Bearer with the access token of a person.'
    return refuseAs('unauthenticated', detail, { 'www-authenticate': 'Bearer' })
  }
  const headers = problemHeaders(why, null)
  // An issuer that cannot be reached is no fault of the token.
  if (why.code !== 'unauthenticated') {
    return refuseAs('unavailable', why.detail, { 'retry-after': headers['retry-after'] ?? '5' })
  }
  return refuseAs('unauthenticated', why.detail, {
    'www-authenticate': headers['www-authenticate'] ?? 'Bearer',
  })
}

function tooMany(waitS: number): ControlRefusal {
  return refuseAs('rate_limited', 'Slow down.', { 'retry-after': String(Math.max(1, Math.ceil(waitS))) })
}
