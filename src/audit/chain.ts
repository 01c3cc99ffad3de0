import { hash } from 'node:crypto'

const LEAF = Uint8Array.of(0x00)
const LINK = Uint8Array.of(0x01)

/** What stands before the first entry: SHA-256 of nothing. */
export const GENESIS: Buffer = sha256('')

/**
 * SHA-256(0x00 ‖ body), as the leaves of RFC 6962, section 2.1: no leaf can be passed off as a link, or the reverse. A
 * text, which must be well formed, stands for its UTF-8; to hash it costs half of what it costs to make its bytes first.
 */
export function leafHash(body: Uint8Array | string): Buffer {
  return sha256(typeof body === 'string' ? `\0${body}` : Buffer.concat([LEAF, body]))
}

/** SHA-256(0x01 ‖ hash of the entry before ‖ leaf): an entry's hash, which stands for all entries up to it. */
export function entryHash(previous: Uint8Array, leaf: Uint8Array): Buffer {
  return sha256(Buffer.concat([LINK, previous, leaf]))
}

/** The commitment that stands for a personal value in the chain: SHA-256(salt ‖ value), the value in UTF-8. */
export function commitmentOf(salt: Uint8Array, value: string): Buffer {
  return sha256(Buffer.concat([salt, Buffer.from(value, 'utf8')]))
}

/** Through a text of its bytes: a Buffer that the library makes has memory of its own, and costs as much as the hash. */
function sha256(data: Uint8Array | string): Buffer {
  return Buffer.from(hash('sha256', data, 'binary'), 'binary')
}
