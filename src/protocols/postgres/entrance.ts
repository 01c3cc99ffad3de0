import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import type { Credential } from '../../domain/call.ts'
import type { Principal } from '../../domain/principal.ts'
import { isRefusal, type Refusal } from '../../domain/refusal.ts'
import type { Framing } from '../../transports/tcp/frames.ts'
import { createLink, type Link } from '../../transports/tcp/link.ts'
import { secureServer } from '../../transports/tcp/secure.ts'
import type { Cancels } from './cancel.ts'
import { encodeFatal, type Fault, faultOf } from './report.ts'
import { readStartup, type Startup } from './startup.ts'
import { encodeBackend } from './wire/backend.ts'
import { createReader, Malformed } from './wire/fields.ts'
import { OPENING, PROVING } from './wire/framing.ts'
import { decodeOpening, type Opening } from './wire/opening.ts'

export interface EntranceParts {
  /** Null where there is no certificate: then tokens are taken on loopback only. */
  readonly tls: SecureContext | null
  readonly cancels: Pick<Cancels, 'request'>
  /** Who presents this token. */
  identify(credential: Credential, source: string): Promise<Principal | Refusal>
  /** Told of what was no message, by a source. */
  noteMalformed(source: string): void
}

/** Somebody who has shown who it is. */
export interface Entered {
  readonly link: Link
  readonly startup: Startup
  readonly principal: Principal
  /** Of the protocol's version 3. */
  readonly minor: number
}

/** The newest that is spoken here. */
const NEWEST_MINOR = 2
const TLS_HANDSHAKE = 0x16

/**
 * Takes a connection from its first byte to the moment in which it is known whose it is: TLS, version, startup
 * parameters, and a token in the place of the password. Null if it comes to nothing: then it was told why and closed.
 * How long that may take is the listener's to say.
 */
export async function enter(socket: Socket, parts: EntranceParts): Promise<Entered | null> {
  let link = createLink(socket, FIRST)
  let isSecure = false
  const asked = new Set<Opening['type']>()
  try {
    for (;;) {
      const frame = await link.next()
      if (frame === null) return drop(link)
      if (frame.kind !== 'message') {
        if (frame.kind !== 'fault' || frame.fault !== DIRECT_TLS || parts.tls === null) throw NOT_AN_OPENING
        const secured = await secure(link, parts.tls, true)
        if (!secured) return null
        link = secured
        isSecure = true
        continue
      }
      const opening = decodeOpening(frame.bytes)
      switch (opening.type) {
        case 'ssl_request':
        case 'gss_request': {
          // Each once, and nothing of it within TLS; whoever asks has to wait for the answer.
          if (isSecure || asked.has(opening.type)) throw new Malformed('encryption was asked for twice')
          asked.add(opening.type)
          if (link.hasMore) throw new Malformed('there are bytes in plain behind the request for encryption')
          link.reframe(OPENING)
          if (opening.type === 'gss_request' || parts.tls === null) {
            link.write(NO)
            continue
          }
          link.write(YES)
          const secured = await secure(link, parts.tls, false)
          if (!secured) return null
          link = secured
          isSecure = true
          continue
        }
        case 'cancel':
          parts.cancels.request(opening)
          return drop(link)
        case 'startup':
          return await prove(link, opening, { ...parts, isSecure })
      }
    }
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
    parts.noteMalformed(link.remoteAddress)
    return refuse(link, { code: '08P01', message: `The gateway cannot read this: ${error.message}.` })
  }
}

const YES = Buffer.from('S')
const NO = Buffer.from('N')
const DIRECT_TLS = 'TLS begins here'
const NOT_AN_OPENING = new Malformed('a connection does not begin like this')

/** A handshake of TLS, or the first message of the protocol. */
const FIRST: Framing = {
  headBytes: OPENING.headBytes,
  measure: (bytes, at) => (bytes[at] === TLS_HANDSHAKE ? { fault: DIRECT_TLS } : OPENING.measure(bytes, at)),
}

async function secure(link: Link, context: SecureContext, isDemanded: boolean): Promise<Link | null> {
  const secured = await secureServer(link.release(), { context, alpn: 'postgresql', isDemanded })
  return secured && createLink(secured, OPENING)
}

function drop(link: Link): null {
  link.end()
  return null
}

function refuse(link: Link, fault: Fault): null {
  link.end(encodeFatal(fault))
  return null
}

type Beginning = Extract<Opening, { type: 'startup' }>

async function prove(
  link: Link,
  { major, minor, parameters }: Beginning,
  { isSecure, identify }: EntranceParts & { readonly isSecure: boolean },
): Promise<Entered | null> {
  if (major !== 3) {
    return refuse(link, {
      code: '0A000',
      message: `The gateway speaks version 3 of the protocol, not ${major}.${minor}.`,
    })
  }
  const startup = readStartup(parameters)
  if ('code' in startup) return refuse(link, startup)
  if (!isSecure && !isLoopback(link.remoteAddress)) {
    return refuse(link, {
      code: '28000',
      message: 'The gateway takes no token over a connection without TLS.',
      hint: 'Connect with sslmode=verify-full.',
    })
  }
  const spoken = Math.min(minor, NEWEST_MINOR)
  if (minor > NEWEST_MINOR || startup.extensions.length > 0) {
    link.write(
      encodeBackend({ type: 'negotiate_version', version: (3 << 16) | spoken, unknown: [...startup.extensions] }),
    )
  }

  link.reframe(PROVING)
  link.write(encodeBackend({ type: 'authentication', asks: { method: 'cleartext' } }))
  const frame = await link.next()
  if (frame === null) return drop(link)
  if (frame.kind !== 'message') throw new Malformed('a password was expected')
  const token = readPassword(frame.bytes)
  const credential: Credential = token === '' ? { token: null, problem: null } : { token, via: 'password' }
  const principal = await identify(credential, link.remoteAddress)
  if (isRefusal(principal)) {
    const fault = faultOf(principal)
    const hint = fault.hint ?? 'The password has to be a token for this gateway: set PGPASSWORD to it.'
    return refuse(link, { ...fault, hint })
  }
  return { link, startup, principal, minor: spoken }
}

function readPassword(message: Buffer): string {
  const reader = createReader(message, 5)
  const password = reader.text()
  reader.end()
  return password
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\./.test(address)
}
