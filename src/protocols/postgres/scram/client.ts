import { timingSafeEqual, type X509Certificate } from 'node:crypto'
import {
  BOUND,
  bindingOf,
  deriveKeys,
  encodeBinding,
  hmac,
  type Mechanism,
  NONCE,
  SCRAM,
  SCRAM_PLUS,
  ScramFault,
  xor,
} from './messages.ts'

/** A conversation as the client, in the order of its functions. */
export interface ScramClient {
  readonly mechanism: Mechanism
  /** What the client says first. */
  first(): string
  /** The proof, for what the server answered. Throws `ScramFault`. */
  answer(serverFirst: string): Promise<string>
  /** Throws `ScramFault` unless the server knows the password, too. */
  verify(serverFinal: string): void
}

/** More would only keep this process busy. */
const MAX_ITERATIONS = 1_000_000

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
}): ScramClient | null {
  const { mechanisms, nonce } = how
  const binding = how.certificate && bindingOf(how.certificate)
  const isBound = binding !== null && mechanisms.includes(SCRAM_PLUS)
  if (!isBound && !mechanisms.includes(SCRAM)) return null
  // `y` says: would have bound, had it been offered. Whoever took the offer away is found out by it.
  const header = isBound ? BOUND : binding ? 'y,,' : 'n,,'
  // The user is the one of the startup message; what stands here is ignored.
  const clientFirst = `n=,r=${nonce}`
  let expected: Buffer | null = null

  return {
    mechanism: isBound ? SCRAM_PLUS : SCRAM,
    first: () => header + clientFirst,
    async answer(serverFirst) {
      const { serverNonce, salt, iterations } = readServerFirst(serverFirst)
      if (!serverNonce.startsWith(nonce) || serverNonce.length === nonce.length) {
        throw new ScramFault('the nonce is not an extension of ours')
      }
      const withoutProof = `c=${encodeBinding(header, binding)},r=${serverNonce}`
      const signed = `${clientFirst},${serverFirst},${withoutProof}`
      const keys = await deriveKeys(prepare(how.password), salt, iterations)
      const proof = xor(keys.client, hmac(keys.stored, signed))
      expected = hmac(keys.server, signed)
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

const SERVER_FIRST = new RegExp(`^r=(${NONCE}),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,9})$`)

function readServerFirst(text: string): { serverNonce: string; salt: Buffer; iterations: number } {
  const [, serverNonce, salt, count] = SERVER_FIRST.exec(text) ?? []
  const iterations = Number(count)
  if (serverNonce === undefined || salt === undefined || !(iterations <= MAX_ITERATIONS)) {
    throw new ScramFault('the challenge is not one')
  }
  return { serverNonce, salt: Buffer.from(salt, 'base64'), iterations }
}

/** As far as passwords have it: SASLprep (RFC 4013), which leaves ASCII as it is. */
function prepare(password: string): string {
  return password
    .replace(/[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/gu, ' ')
    .replace(/\u034f|[\u00ad\u1806\u200b\u2060\ufeff]|[\u180b-\u180d]|[\u200c\u200d]|[\ufe00-\ufe0f]/gu, '')
    .normalize('NFKC')
}
