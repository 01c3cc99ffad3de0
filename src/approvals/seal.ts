import type { Stored } from '../domain/call.ts'
import type { JsonObject } from '../domain/json.ts'
import { decrypt, encrypt, type KeyPair, newDataKey, type SecretKey, unwrapDataKey } from '../platform/keys.ts'

/**
 * What is kept encrypted. The name is part of what each ciphertext is bound to: a call that nobody asked to be carried
 * out without its client is sealed as another one than a detached call, whatever the database says.
 */
export type SealedField = 'call' | 'detached' | 'card' | 'response' | `${'question' | 'reply'}:${number}:${string}`

/** What a ciphertext belongs to: moved to another approval, or to another field, it cannot be opened. */
export interface Binding {
  readonly id: string
  readonly digest: Uint8Array
}

/** A fresh data key for one approval, and what is to be kept of it: the key, encrypted by the gateway's. */
export interface Envelope {
  readonly wrapped: Buffer
  seal(field: SealedField, plaintext: Uint8Array): Buffer
}

export function newEnvelope(keys: KeyPair<SecretKey>, binding: Binding): Envelope {
  const { key, wrapped } = newDataKey(keys)
  return {
    wrapped,
    seal: (field, plaintext) => encrypt(key, plaintext, associated(binding, field)),
  }
}

/** Seals one more field under the key of an envelope that was kept. */
export function sealAlso(
  keys: KeyPair<SecretKey>,
  kept: Binding & { readonly wrapped: Buffer },
  what: { field: SealedField; plaintext: Uint8Array },
): Buffer {
  return encrypt(unwrapDataKey(keys, kept.wrapped), what.plaintext, associated(kept, what.field))
}

/** Null if the key was erased, or nothing was kept. Throws `GatewayError` if it cannot be opened: altered, or moved. */
export function unseal(
  keys: KeyPair<SecretKey>,
  kept: Binding & { readonly wrapped: Buffer | null },
  what: { field: SealedField; sealed: Buffer | null },
): Buffer | null {
  if (kept.wrapped === null || what.sealed === null) return null
  return decrypt(unwrapDataKey(keys, kept.wrapped), what.sealed, associated(kept, what.field))
}

function associated({ id, digest }: Binding, field: SealedField): (string | Uint8Array)[] {
  return [id, digest, field]
}

/** A call or a response as one run of bytes: the length of its head (32 bits, big-endian), its head as JSON, its body. */
export function encodeStored({ head, body }: Stored): Buffer {
  const json = Buffer.from(JSON.stringify(head), 'utf8')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(json.length)
  return Buffer.concat([length, json, body])
}

/** Reads what `encodeStored` wrote. The body is a view of the given bytes. */
export function decodeStored(bytes: Buffer): Stored {
  const headEnd = 4 + bytes.readUInt32BE(0)
  // It was authenticated: nobody but `encodeStored` wrote it.
  const head = JSON.parse(bytes.toString('utf8', 4, headEnd)) as JsonObject
  return { head, body: bytes.subarray(headEnd) }
}
