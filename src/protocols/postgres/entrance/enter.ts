import type { Socket } from 'node:net'
import type { SecureContext, TLSSocket } from 'node:tls'
import type { Credential } from '../../../domain/call.ts'
import type { Principal } from '../../../domain/principal.ts'
import { isRefusal, type Refusal } from '../../../domain/refusal.ts'
import { isMintedUser, type LoginChallenge } from '../../../identity/minted.ts'
import type { Framing } from '../../../transports/tcp/frames.ts'
import { createLink, type Link } from '../../../transports/tcp/link.ts'
import { secureServer } from '../../../transports/tcp/secure.ts'
import { bindingOf, ScramFault } from '../scram/messages.ts'
import { encodeBackend } from '../wire/backend.ts'
import { Malformed } from '../wire/fields.ts'
import { OPENING } from '../wire/framing.ts'
import { decodeOpening, type Opening } from '../wire/opening.ts'
import { encodeFatal, type Fault, faultOf } from '../wire/report.ts'
import type { Cancels } from './cancel.ts'
import { proveByPassword, proveByToken } from './proof.ts'
import { readStartup, type Startup } from './startup.ts'

export interface EntranceParts {
  /** Null where there is no certificate: then tokens are taken on loopback only. */
  readonly tls: SecureContext | null
  readonly cancels: Pick<Cancels, 'request'>
  /** Who presents this token. */
  identify(credential: Credential, source: string): Promise<Principal | Refusal>
  /** What somebody has to prove who says that it is this user, one that the gateway has minted. */
  challenge(user: string, source: string): Promise<LoginChallenge | Refusal>
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
 * parameters, and a token in the place of the password, or that a user whom the gateway has minted knows its own. Null if it
 * comes to nothing: then it was told why and closed. How long that may take is the listener's to say.
 */
export async function enter(socket: Socket, parts: EntranceParts): Promise<Entered | null> {
  let link = createLink(socket, FIRST)
  let secured: TLSSocket | null = null
  const asked = new Set<Opening['type']>()
  try {
    for (;;) {
      const frame = await link.next()
      if (frame === null) return drop(link)
      if (frame.kind !== 'message') {
        if (frame.kind !== 'fault' || frame.fault !== DIRECT_TLS || parts.tls === null) throw NOT_AN_OPENING
        secured = await secure(link, parts.tls, true)
        if (!secured) return null
        link = createLink(secured, OPENING)
        continue
      }
      const opening = decodeOpening(frame.bytes)
      switch (opening.type) {
        case 'ssl_request':
        case 'gss_request': {
          // Each once, and nothing of it within TLS; whoever asks has to wait for the answer.
          if (secured || asked.has(opening.type)) throw new Malformed('encryption was asked for twice')
          asked.add(opening.type)
          if (link.hasMore) throw new Malformed('there are bytes in plain behind the request for encryption')
          link.reframe(OPENING)
          if (opening.type === 'gss_request' || parts.tls === null) {
            link.write(NO)
            continue
          }
          link.write(YES)
          secured = await secure(link, parts.tls, false)
          if (!secured) return null
          link = createLink(secured, OPENING)
          continue
        }
        case 'cancel':
          parts.cancels.request(opening)
          return drop(link)
        case 'startup':
          return await prove(link, opening, { ...parts, secured })
      }
    }
  } catch (error) {
    if (!(error instanceof Malformed) && !(error instanceof ScramFault)) throw error
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

function secure(link: Link, context: SecureContext, isDemanded: boolean): Promise<TLSSocket | null> {
  return secureServer(link.release(), { context, alpn: 'postgresql', isDemanded })
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
  { secured, identify, challenge }: EntranceParts & { readonly secured: TLSSocket | null },
): Promise<Entered | null> {
  if (major !== 3) {
    return refuse(link, {
      code: '0A000',
      message: `The gateway speaks version 3 of the protocol, not ${major}.${minor}.`,
    })
  }
  const startup = readStartup(parameters)
  if ('code' in startup) return refuse(link, startup)
  if (!secured && !isLoopback(link.remoteAddress)) {
    return refuse(link, {
      code: '28000',
      message: 'The gateway takes no token and no password over a connection without TLS.',
      hint: 'Connect with sslmode=verify-full.',
    })
  }
  const spoken = Math.min(minor, NEWEST_MINOR)
  if (minor > NEWEST_MINOR || startup.extensions.length > 0) {
    link.write(
      encodeBackend({ type: 'negotiate_version', version: (3 << 16) | spoken, unknown: [...startup.extensions] }),
    )
  }

  const isMinted = isMintedUser(startup.user)
  const principal = isMinted
    ? await logIn(link, await challenge(startup.user, link.remoteAddress), secured)
    : await proveByToken(link, (credential) => identify(credential, link.remoteAddress))
  if (principal === null) return drop(link)
  if (isRefusal(principal)) {
    const fault = faultOf(principal)
    // Whoever is known and may not come in would not get in with another password either.
    if (principal.code !== 'unauthenticated') return refuse(link, fault)
    return refuse(link, { ...fault, hint: isMinted ? OF_A_USER : OF_A_TOKEN })
  }
  // A user that was minted is no role that anybody asked for. Sessions with one and with the next are alike, so that an agent
  // attaches with the next to what was held for it.
  return { link, startup: isMinted ? { ...startup, user: '' } : startup, principal, minor: spoken }
}

const OF_A_TOKEN = 'The password has to be a token for this gateway: set PGPASSWORD to it.'
const OF_A_USER = 'POST /.countersign/credentials on the gateway gives another user name and password.'

async function logIn(
  link: Link,
  challenge: LoginChallenge | Refusal,
  secured: TLSSocket | null,
): Promise<Principal | Refusal | null> {
  if (isRefusal(challenge)) return challenge
  const own = secured?.getX509Certificate()
  return await proveByPassword(link, challenge, own ? bindingOf(own) : null)
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\./.test(address)
}
