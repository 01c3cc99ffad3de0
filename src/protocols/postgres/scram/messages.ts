import { createHash, createHmac, pbkdf2, type X509Certificate } from 'node:crypto'
import { promisify } from 'node:util'

/*
 * What both sides of a conversation by SCRAM-SHA-256 (RFC 5802, RFC 7677) need.
 */

/** The other side said what the protocol does not allow, or what would weaken it. Nothing it said is in the message. */
export class ScramFault extends Error {
  override readonly name = 'ScramFault'
}

export const SCRAM = 'SCRAM-SHA-256'
/** The same, bound to the TLS connection that it is held over. */
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS'
export type Mechanism = typeof SCRAM | typeof SCRAM_PLUS

/** The header of a conversation that is bound (RFC 5802, section 7). */
export const BOUND = 'p=tls-server-end-point,,'

/** Printable ASCII without commas. */
export const NONCE = '[\\x21-\\x2b\\x2d-\\x7e]+'

const derive = promisify(pbkdf2)

/** What is made of a password (RFC 5802, section 3). */
export interface ScramKeys {
  readonly client: Buffer
  readonly stored: Buffer
  readonly server: Buffer
}

/** @param password in ASCII, or prepared (RFC 4013) */
export async function deriveKeys(password: string, salt: Buffer, iterations: number): Promise<ScramKeys> {
  const salted = await derive(password, salt, iterations, 32, 'sha256')
  const client = hmac(salted, 'Client Key')
  return { client, stored: sha256(client), server: hmac(salted, 'Server Key') }
}

export function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

export function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** Hides the client's key behind a signature, or takes it out again. */
export function xor(one: Buffer, other: Buffer): Buffer {
  return Buffer.from(one.map((byte, index) => byte ^ (other[index] ?? 0)))
}

/** What the conversation is bound to, as it is sent: the header of the first message, and the binding where it has one. */
export function encodeBinding(header: string, binding: Buffer | null): string {
  const bound = header === BOUND && binding !== null ? [binding] : []
  return Buffer.concat([Buffer.from(header), ...bound]).toString('base64')
}

/**
 * The hash of the server's certificate (RFC 5929, section 4.1), by the hash that it was signed with; null where that is
 * none of those the RFC has an answer for.
 */
export function bindingOf({ raw, signatureAlgorithm = '' }: X509Certificate): Buffer | null {
  const name = /sha-?(1|224|256|384|512)|md5/i.exec(signatureAlgorithm)
  if (!name) return null
  const bits = name[1] === undefined || name[1] === '1' ? '256' : name[1]
  return createHash(`sha${bits}`).update(raw).digest()
}
