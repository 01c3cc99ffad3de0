import { hash } from 'node:crypto'

const LEAF = Uint8Array.of(0x00)
const LINK = Uint8Array.of(0x01)

/** What stands before the first entry: SHA-256 of nothing. */
export const GENESIS: Buffer = hash('sha256', '', 'buffer')

/** SHA-256(0x00 ‖ body), as the leaves of RFC 6962, section 2.1: no leaf can be passed off as a link, or the reverse. */
export function leafHash(body: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([LEAF, body]), 'buffer')
}

/** SHA-256(0x01 ‖ hash of the entry before ‖ leaf): an entry's hash, which stands for all entries up to it. */
export function entryHash(previous: Uint8Array, leaf: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([LINK, previous, leaf]), 'buffer')
}

/** The commitment that stands for a personal value in the chain: SHA-256(salt ‖ value), the value in UTF-8. */
export function commitmentOf(salt: Uint8Array, value: string): Buffer {
  return hash('sha256', Buffer.concat([salt, Buffer.from(value, 'utf8')]), 'buffer')
}
