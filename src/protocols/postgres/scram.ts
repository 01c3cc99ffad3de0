import { createHash, createHmac, pbkdf2, timingSafeEqual, type X509Certificate } from 'node:crypto'
import { promisify } from 'node:util'

/** A server that does not prove that it knows the password, or says what the protocol does not allow. */
export class ScramFault extends Error {
  override readonly name = 'ScramFault'
}

/** A conversation by SCRAM-SHA-256 (RFC 5802, RFC 7677), in the order of its functions. */
export interface Scram {
  readonly mechanism: 'SCRAM-SHA-256' | 'SCRAM-SHA-256-PLUS'
  /** What the client says first. */
  first(): string
  /** The proof, for what the server answered. Throws `ScramFault`. */
  answer(serverFirst: string): Promise<string>
  /** Throws `ScramFault` unless the server knows the password, too. */
  verify(serverFinal: string): void
}

const derive = promisify(pbkdf2)
/** More would only keep this process busy. */
const MAX_ITERATIONS = 1_000_000
const PLUS = 'SCRAM-SHA-256-PLUS'

/**
 * @param how.mechanisms those that the server offers
 * @param how.certificate the server's, if it was verified in a TLS handshake: the conversation is bound to it
 * @param how.nonce random printable ASCII without commas
 * @returns null if none of the mechanisms is spoken here
 */
export function beginScram(how: {
  readonly mechanisms: readonly string[]
  readonly password: string
  readonly certificate: X509Certificate | null
  readonly nonce: string
}): Scram | null {
  const { mechanisms, nonce } = how
  const binding = how.certificate && bindingOf(how.certificate)
  const isBound = binding !== null && mechanisms.includes(PLUS)
  if (!isBound && !mechanisms.includes('SCRAM-SHA-256')) return null
  // `y` says: would have bound, had it been offered. Whoever took the offer away is found out by it.
  const header = isBound ? 'p=tls-server-end-point,,' : binding ? 'y,,' : 'n,,'
  // The user is the one of the startup message; what stands here is ignored.
  const clientFirst = `n=,r=${nonce}`
  let expected: Buffer | null = null

  return {
    mechanism: isBound ? PLUS : 'SCRAM-SHA-256',
    first: () => header + clientFirst,
    async answer(serverFirst) {
      const { serverNonce, salt, iterations } = readServerFirst(serverFirst)
      if (!serverNonce.startsWith(nonce) || serverNonce.length === nonce.length) {
        throw new ScramFault('the nonce is not an extension of ours')
      }
      const bound = Buffer.concat([Buffer.from(header), isBound && binding ? binding : Buffer.alloc(0)])
      const withoutProof = `c=${bound.toString('base64')},r=${serverNonce}`
      const signed = `${clientFirst},${serverFirst},${withoutProof}`
      const salted = await derive(prepare(how.password), salt, iterations, 32, 'sha256')
      const clientKey = hmac(salted, 'Client Key')
      const signature = hmac(createHash('sha256').update(clientKey).digest(), signed)
      const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)))
      expected = hmac(hmac(salted, 'Server Key'), signed)
      return `${withoutProof},p=${proof.toString('base64')}`
    },
    verify(serverFinal) {
      const given = /^v=([A-Za-z0-9+/]{43}=)$/.exec(serverFinal)?.[1]
      if (given === undefined || expected === null) throw new ScramFault('the proof of the server is not one')
      if (!timingSafeEqual(Buffer.from(given, 'base64'), expected))
        throw new ScramFault('the server has another password')
    },
  }
}

function readServerFirst(text: string): { serverNonce: string; salt: Buffer; iterations: number } {
  const found = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,9})$/.exec(text)
  const [, serverNonce, salt, count] = found ?? []
  const iterations = Number(count)
  if (serverNonce === undefined || salt === undefined || !(iterations <= MAX_ITERATIONS)) {
    throw new ScramFault('the challenge is not one')
  }
  return { serverNonce, salt: Buffer.from(salt, 'base64'), iterations }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/**
 * The hash of the certificate (RFC 5929, section 4.1), by the hash that it was signed with; null where that is none of
 * those the RFC has an answer for.
 */
function bindingOf({ raw, signatureAlgorithm = '' }: X509Certificate): Buffer | null {
  const name = /sha-?(1|224|256|384|512)|md5/i.exec(signatureAlgorithm)
  if (!name) return null
  const bits = name[1] === undefined || name[1] === '1' ? '256' : name[1]
  return createHash(`sha${bits}`).update(raw).digest()
}

/** As far as passwords have it: SASLprep (RFC 4013), which leaves ASCII as it is. */
function prepare(password: string): string {
  return password
    .replace(/[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/gu, ' ')
    .replace(/\u034f|[\u00ad\u1806\u200b\u2060\ufeff]|[\u180b-\u180d]|[\u200c\u200d]|[\ufe00-\ufe0f]/gu, '')
    .normalize('NFKC')
}
