import '@fastify/cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The console's cookies. They are for this host alone, and no script can read them. */
export interface Jar {
  session(request: FastifyRequest): string | null
  keepSession(reply: FastifyReply, secret: string, maxAgeS: number): void
  dropSession(reply: FastifyReply): void
  /** What was sealed while somebody signs in. */
  pending(request: FastifyRequest): string | null
  keepPending(reply: FastifyReply, sealed: string): void
  dropPending(reply: FastifyReply): void
  /** What was sealed while somebody signs in at a chat service. */
  linking(request: FastifyRequest): string | null
  keepLinking(reply: FastifyReply, sealed: string): void
  dropLinking(reply: FastifyReply): void
}

const PENDING_S = 600

/**
 * `__Host-` lets no other host of the domain, and no plain HTTP, set the cookie (RFC 6265bis, section 4.1.3). It needs
 * TLS, which a console on loopback does not have.
 */
export function createJar({ publicUrl }: { publicUrl: string }): Jar {
  const isSecure = publicUrl.startsWith('https:')
  const session = isSecure ? '__Host-countersign' : 'countersign'
  const pending = isSecure ? '__Host-countersign-sign-in' : 'countersign-sign-in'
  const linking = isSecure ? '__Host-countersign-link' : 'countersign-link'
  // Lax: a link in a card leads to a page where one is signed in; no form of another site does.
  const common = { httpOnly: true, secure: isSecure, sameSite: 'lax' } as const

  return {
    session: (request) => request.cookies[session] ?? null,
    keepSession: (reply, secret, maxAgeS) =>
      void reply.setCookie(session, secret, { ...common, path: '/', maxAge: maxAgeS }),
    dropSession: (reply) => void reply.clearCookie(session, { ...common, path: '/' }),
    pending: (request) => request.cookies[pending] ?? null,
    keepPending: (reply, sealed) => void reply.setCookie(pending, sealed, { ...common, path: '/', maxAge: PENDING_S }),
    dropPending: (reply) => void reply.clearCookie(pending, { ...common, path: '/' }),
    linking: (request) => request.cookies[linking] ?? null,
    keepLinking: (reply, sealed) => void reply.setCookie(linking, sealed, { ...common, path: '/', maxAge: PENDING_S }),
    dropLinking: (reply) => void reply.clearCookie(linking, { ...common, path: '/' }),
  }
}
