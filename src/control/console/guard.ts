import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Person } from '../../domain/principal.ts'
import type { Visitor } from '../../identity/front-desk.ts'
import type { FrontDesk } from './desk.ts'
import type { Jar } from './jar.ts'

/** Who asks for a page, and what their forms have to carry. */
export interface Caller extends Visitor {
  readonly csrf: string
  /** Whether the session has not ended meanwhile. */
  isStillIn(): Promise<boolean>
}

export interface Guard {
  /** Null if nobody is signed in. */
  find(request: FastifyRequest): Promise<Caller | null>
  /** Whether a form was sent from a page of this console that this very session was shown. False without a session. */
  isOwnForm(request: FastifyRequest): boolean
  dropSession(reply: FastifyReply): void
}

/** Knows visitors by their cookie, and their forms by where they come from and by a token that no other site can read. */
export function createGuard(parts: { desk: FrontDesk; jar: Jar; publicUrl: string }): Guard {
  const { desk, jar } = parts
  const { origin } = new URL(parts.publicUrl)

  return {
    async find(request) {
      const secret = jar.session(request)
      if (secret === null) return null
      const visitor = await desk.find(secret, { isUse: isNavigation(request) })
      return visitor && { ...visitor, csrf: csrfOf(secret), isStillIn: () => desk.isOpen(secret) }
    },

    isOwnForm(request) {
      const secret = jar.session(request)
      const { origin: sentFrom, 'sec-fetch-site': site } = request.headers
      // Browsers name the origin of every form that is posted (Fetch, section 3.2).
      if (sentFrom !== origin || (site !== undefined && site !== 'same-origin')) return false
      const { body } = request
      const given = typeof body === 'object' && body !== null && 'csrf' in body ? body.csrf : null
      return secret !== null && typeof given === 'string' && isSame(given, csrfOf(secret))
    },

    dropSession: (reply) => jar.dropSession(reply),
  }
}

/** Somebody opened a page or sent a form; pages that keep themselves up to date fetch (Fetch metadata, section 2.1). */
export function isNavigation(request: FastifyRequest): boolean {
  return (request.headers['sec-fetch-dest'] ?? 'document') === 'document'
}

export function mayOpen(roles: readonly string[], person: Person): boolean {
  return person.roles.some((role) => roles.includes(role))
}

/** From the cookie's secret, which the store does not hold: whoever can read the store cannot make one. */
function csrfOf(secret: string): string {
  return createHash('sha256').update('countersign csrf v1\0').update(secret).digest('base64url')
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
