import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign as signBytes,
  timingSafeEqual,
  verify,
} from 'node:crypto'
import { lengthPrefixed } from '../domain/bytes.ts'
import { GatewayError } from '../domain/error.ts'

/** 256 bits, in an object that neither a log nor JSON shows. */
export interface SecretKey {
  readonly kid: string
  readonly key: KeyObject
}

export interface SigningKey {
  readonly kid: string
  readonly algorithm: 'EdDSA' | 'ES256'
  /** The private key. */
  readonly key: KeyObject
  readonly publicKey: KeyObject
}

/** The key of one purpose, and the one before it, which is still accepted. `kid` is the current one's. */
export interface KeyPair<Key extends { readonly kid: string }> {
  readonly kid: string
  readonly current: Key
  readonly previous: Key | null
}

/** One pair a purpose: what one of them gives away opens nothing else. */
export interface Keys {
  /** Encrypts data keys: held calls, cards, stored responses. */
  readonly payload: KeyPair<SecretKey>
  /** Authenticates what the database must not be able to make up: approvals, votes, policy sets. */
  readonly mac: KeyPair<SecretKey>
  readonly cookie: KeyPair<SecretKey>
  /** Signs Countersign-Assertion. */
  readonly assertion: KeyPair<SigningKey>
  /** Signs statements of the log's head; Ed25519. */
  readonly checkpoint: KeyPair<SigningKey>
}

type Parts = readonly (string | Uint8Array)[]

/**
 * HMAC-SHA-256 with the current key.
 * @param label says what is authenticated, so that a MAC of one thing is none of another
 */
export function computeMac(keys: KeyPair<SecretKey>, label: string, parts: Parts): { kid: string; mac: Buffer } {
  return { kid: keys.current.kid, mac: hmac(keys.current, label, parts) }
}

/** Compares in constant time. False also if the key it names is neither the current nor the previous one. */
export function isValidMac(
  keys: KeyPair<SecretKey>,
  label: string,
  parts: Parts,
  claimed: { readonly kid: string; readonly mac: Uint8Array },
): boolean {
  const key = selectKey(keys, claimed.kid)
  if (!key) return false
  const mac = hmac(key, label, parts)
  return mac.length === claimed.mac.length && timingSafeEqual(mac, claimed.mac)
}

const DERIVED_BYTES = 32

/**
 * 256 bits that whoever lacks the key cannot find, by HKDF-SHA-256 (RFC 5869): a secret that need not be kept anywhere.
 * @param label says what it is for, so that a secret for one thing is none for another
 */
export function deriveSecret({ key }: SecretKey, label: string, parts: Parts): Buffer {
  // Hashed, as Node takes no more than 1,024 bytes of information.
  const info = createHash('sha256').update(lengthPrefixed(label, parts)).digest()
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), info, DERIVED_BYTES))
}

function hmac({ key }: SecretKey, label: string, parts: Parts): Buffer {
  return createHmac('sha256', key).update(lengthPrefixed(label, parts)).digest()
}

/** The key of that name, if it is the current or the previous one. */
export function selectKey<Key extends { readonly kid: string }>(keys: KeyPair<Key>, kid: string): Key | null {
  if (keys.current.kid === kid) return keys.current
  return keys.previous?.kid === kid ? keys.previous : null
}

const CIPHER = 'aes-256-gcm'
const KEY_BYTES = 32
// Random, as NIST SP 800-38D (section 8.2.2) allows for up to 2^32 messages a key. A data key sees a handful, and a
// payload key one for each held call.
const NONCE_BYTES = 12
const TAG_BYTES = 16

const WRAP_LABEL = 'countersign data key v1'
const FIELD_LABEL = 'countersign field v1'

/** The key of one held call: when it is erased, all that was encrypted with it is gone, in backups too. */
export function newDataKey(keys: KeyPair<SecretKey>): { key: KeyObject; wrapped: Buffer } {
  const bytes = randomBytes(KEY_BYTES)
  const kid = Buffer.from(keys.current.kid, 'utf8')
  const sealed = seal(keys.current.key, bytes, lengthPrefixed(WRAP_LABEL, [kid]))
  return { key: createSecretKey(bytes), wrapped: Buffer.concat([Uint8Array.of(kid.length), kid, sealed]) }
}

/** @throws GatewayError `store` if it was altered, or wrapped with a key that is configured no longer */
export function unwrapDataKey(keys: KeyPair<SecretKey>, wrapped: Uint8Array): KeyObject {
  const bytes = Buffer.from(wrapped)
  const kidEnd = 1 + (bytes[0] ?? 0)
  const kid = bytes.subarray(1, kidEnd)
  const key = selectKey(keys, kid.toString('utf8'))
  if (!key) throw new GatewayError('store', 'a data key was wrapped with a payload key that is not configured')
  return createSecretKey(open(key.key, bytes.subarray(kidEnd), lengthPrefixed(WRAP_LABEL, [kid])))
}

/**
 * AES-256-GCM; the nonce stands before the ciphertext, the tag after it.
 * @param associated what the ciphertext belongs to (approval id, digest, field): moved elsewhere it cannot be opened
 */
export function encrypt(key: KeyObject, plaintext: Uint8Array, associated: Parts): Buffer {
  return seal(key, plaintext, lengthPrefixed(FIELD_LABEL, associated))
}

/** @throws GatewayError `store` if it was altered, moved, or encrypted with another key */
export function decrypt(key: KeyObject, sealed: Uint8Array, associated: Parts): Buffer {
  return open(key, sealed, lengthPrefixed(FIELD_LABEL, associated))
}

const VALUE_LABEL = 'countersign value v1'

/**
 * Encrypts something short with a key of the configuration itself: the key's name goes with it, in front.
 * @param associated what it belongs to, beginning with what it is
 */
export function sealValue(keys: KeyPair<SecretKey>, plaintext: Uint8Array, associated: Parts): Buffer {
  const kid = Buffer.from(keys.current.kid, 'utf8')
  const sealed = seal(keys.current.key, plaintext, lengthPrefixed(VALUE_LABEL, [kid, ...associated]))
  return Buffer.concat([Uint8Array.of(kid.length), kid, sealed])
}

/** Null if it was altered, made for something else, or with a key that is configured no longer. */
export function openValue(keys: KeyPair<SecretKey>, sealed: Uint8Array, associated: Parts): Buffer | null {
  const bytes = Buffer.from(sealed)
  const kidEnd = 1 + (bytes[0] ?? 0)
  const kid = bytes.subarray(1, kidEnd)
  const key = selectKey(keys, kid.toString('utf8'))
  if (!key) return null
  try {
    return open(key.key, bytes.subarray(kidEnd), lengthPrefixed(VALUE_LABEL, [kid, ...associated]))
  } catch (error) {
    if (error instanceof GatewayError) return null
    throw error
  }
}

function seal(key: KeyObject, plaintext: Uint8Array, associated: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES }).setAAD(associated)
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function open(key: KeyObject, sealed: Uint8Array, associated: Buffer): Buffer {
  try {
    const tagAt = sealed.length - TAG_BYTES
    if (tagAt < NONCE_BYTES) throw new RangeError('too short for a nonce and a tag')
    const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
    decipher.setAAD(associated).setAuthTag(sealed.subarray(tagAt))
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, tagAt)), decipher.final()])
  } catch (cause) {
    throw new GatewayError('store', 'something the store keeps encrypted was altered, or moved', { cause })
  }
}

/** Signs with the current key: Ed25519 as it is (RFC 8032), ES256 as 64 bytes (RFC 7518, section 3.4). */
export function sign(keys: KeyPair<SigningKey>, bytes: Uint8Array): { kid: string; signature: Buffer } {
  const { kid, key, algorithm } = keys.current
  return { kid, signature: signBytes(digestOf(algorithm), bytes, { key, dsaEncoding: 'ieee-p1363' }) }
}

/** False also if the key it names is neither the current nor the previous one. */
export function isValidSignature(
  keys: KeyPair<SigningKey>,
  bytes: Uint8Array,
  claimed: { readonly kid: string; readonly signature: Uint8Array },
): boolean {
  const found = selectKey(keys, claimed.kid)
  if (!found) return false
  const key = { key: found.publicKey, dsaEncoding: 'ieee-p1363' } as const
  return verify(digestOf(found.algorithm), bytes, key, claimed.signature)
}

function digestOf(algorithm: SigningKey['algorithm']): string | null {
  return algorithm === 'ES256' ? 'sha256' : null
}

/** The public keys that verify what a pair signs, as a JWK Set (RFC 7517). */
export function exportJwks(keys: KeyPair<SigningKey>): { keys: readonly Record<string, unknown>[] } {
  const known = keys.previous ? [keys.current, keys.previous] : [keys.current]
  return {
    keys: known.map(({ kid, algorithm, publicKey }) => ({
      ...publicKey.export({ format: 'jwk' }),
      kid,
      alg: algorithm,
      use: 'sig',
    })),
  }
}

/** The same in PEM (RFC 7468, section 13), the current one first. */
export function exportPublicKeys(keys: KeyPair<SigningKey>): readonly { readonly kid: string; readonly pem: string }[] {
  const known = keys.previous ? [keys.current, keys.previous] : [keys.current]
  return known.map(({ kid, publicKey }) => ({
    kid,
    pem: publicKey.export({ format: 'pem', type: 'spki' }).toString().trimEnd(),
  }))
}

/** Whether one of these public keys, which have no names, has signed it: Ed25519 (RFC 8032). */
export function isSignedByAny(publicKeys: readonly KeyObject[], bytes: Uint8Array, signature: Uint8Array): boolean {
  return publicKeys.some((key) => verify(null, bytes, key, signature))
}
