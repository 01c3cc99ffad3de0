import { createPrivateKey, type KeyObject, randomUUID, sign } from 'node:crypto'
import { formatParty, type Party, type Principal } from '../domain/principal.ts'

/** What one assertion says, besides who it is for. */
export interface Asserted {
  /** The upstream's name: the audience. Names stay when addresses move, and two upstreams may share an address. */
  readonly upstream: string
  readonly principal: Principal
  readonly callId: string
  readonly approvalId: string | null
  readonly method: string
  /** As it is sent upstream, with its query. */
  readonly path: string
  /** Hex SHA-256 of the body; null if it streams and is not known yet. */
  readonly bodyHash: string | null
}

/** A private key with the name it has in /.well-known/jwks.json. */
export interface AssertionKey {
  readonly kid: string
  /** Ed25519, or EC on P-256. PEM, or a key object. */
  readonly key: KeyObject | string
}

export type AssertionSigner = (asserted: Asserted) => string

const LIFETIME_S = 60

/**
 * Makes `Countersign-Assertion`: a JWT that tells an upstream which principal, call and approval a request comes from
 * (RFC 7519; `act` as in RFC 8693). It is bound to one request and ends after 60 s.
 *
 * Signing is synchronous: a call takes longer to hand to a thread and back than it takes to sign (ES256 27 µs, Ed25519 42).
 *
 * @param parts.issuer the gateway's public URL
 * @param parts.now milliseconds since the epoch
 */
export function createAssertionSigner(parts: {
  issuer: string
  /** Asked at every call, so that a key may be rotated. */
  key(): AssertionKey
  now(): number
  newId?: () => string
}): AssertionSigner {
  const { issuer, now, newId = randomUUID } = parts
  let prepared: Prepared | null = null

  return ({ upstream, principal, callId, approvalId, method, path, bodyHash }) => {
    const given = parts.key()
    if (prepared?.given !== given) prepared = prepare(given)
    const issuedAt = Math.floor(now() / 1000)
    const claims = {
      iss: issuer,
      aud: upstream,
      iat: issuedAt,
      exp: issuedAt + LIFETIME_S,
      jti: newId(),
      ...subjectOf(principal),
      call: callId,
      ...(approvalId === null ? {} : { approval: approvalId }),
      method,
      path,
      ...(bodyHash === null ? {} : { body_sha256: bodyHash }),
    }
    const input = `${prepared.header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
    return `${input}.${prepared.sign(input)}`
  }
}

interface Prepared {
  readonly given: AssertionKey
  readonly header: string
  sign(input: string): string
}

function prepare(given: AssertionKey): Prepared {
  const key = typeof given.key === 'string' ? createPrivateKey(given.key) : given.key
  const isEd25519 = key.asymmetricKeyType === 'ed25519'
  if (!isEd25519 && key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new TypeError('the assertion key must be Ed25519 or EC P-256')
  }
  const header = { alg: isEd25519 ? 'EdDSA' : 'ES256', typ: 'countersign-assertion+jwt', kid: given.kid }
  return {
    given,
    header: Buffer.from(JSON.stringify(header)).toString('base64url'),
    sign: (input) =>
      isEd25519
        ? sign(null, Buffer.from(input), key).toString('base64url')
        : joseSignature(sign('sha256', Buffer.from(input), key)).toString('base64url'),
  }
}

const NUMBER_BYTES = 32

/**
 * An ES256 signature as JOSE has it, two numbers side by side (RFC 7518, section 3.4), from OpenSSL's DER (RFC 3279,
 * section 2.2.3). To ask Node for that form takes 40 µs more, which is twice what signing takes.
 */
function joseSignature(der: Buffer): Buffer {
  const joined = Buffer.alloc(2 * NUMBER_BYTES)
  // A SEQUENCE of two INTEGERs, none of which has 128 bytes: every length is one byte.
  let at = 2
  for (const end of [NUMBER_BYTES, 2 * NUMBER_BYTES]) {
    const length = der[at + 1] ?? 0
    // Without the zero in front that keeps it positive; a short one fills its place from the right.
    const digits = der.subarray(at + 2 + Math.max(0, length - NUMBER_BYTES), at + 2 + length)
    digits.copy(joined, end - digits.length)
    at += 2 + length
  }
  return joined
}

/**
 * Whom the call is for is the subject, who makes it the actor, and prior actors are nested (RFC 8693, section 4.1). A
 * subject is named with its issuer, since the assertion's own issuer is the gateway.
 */
function subjectOf(principal: Principal): Record<string, unknown> {
  const groups = principal.groups.map((group) => `${group.issuerName}/${group.name}`)
  const shared = {
    ...(principal.owner ? { owner: formatParty(principal.owner) } : {}),
    ...(groups.length > 0 ? { groups } : {}),
  }
  if (!principal.onBehalfOf) return { sub: formatParty(principal), ...shared }
  const chain: readonly Party[] = [principal, ...principal.actors]
  const act = chain.reduceRight<Record<string, unknown> | null>(
    (prior, party) => ({ iss: party.issuer, sub: party.subject, ...(prior ? { act: prior } : {}) }),
    null,
  )
  return { sub: formatParty(principal.onBehalfOf), act, ...shared }
}
