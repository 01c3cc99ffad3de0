import { randomBytes, randomUUID } from 'node:crypto'

// Crockford's base 32 leaves out I, L, O and U, so that an id survives being read aloud.
const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const APPROVAL_ID_LENGTH = 10
const USER_ID_LENGTH = 20

/**
 * A call's id: UUIDv7 (RFC 9562, section 5.7), so that ids sort by time in an index. 74 of its bits are random.
 * @param now milliseconds since the epoch
 * @param random a UUIDv4 whose random bits are used; Node draws those from a buffered pool, which a gateway needs per call
 */
export function newCallId(now: number = Date.now(), random: string = randomUUID()): string {
  const time = now.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(15)}`
}

/**
 * An approval's id: 10 characters of Crockford's base 32, 50 random bits. Short enough for people to type; it is not a
 * secret, who may see or decide an approval never depends on knowing its id.
 */
export function newApprovalId(random: Uint8Array = randomBytes(APPROVAL_ID_LENGTH)): string {
  return encode(random.subarray(0, APPROVAL_ID_LENGTH))
}

/** What tells one user name from another: 100 random bits in lower case, so that nothing has to quote it. No secret either. */
export function newUserId(random: Uint8Array = randomBytes(USER_ID_LENGTH)): string {
  return encode(random.subarray(0, USER_ID_LENGTH)).toLowerCase()
}

/** Five bits of each byte. */
function encode(random: Uint8Array): string {
  let id = ''
  for (const byte of random) id += CROCKFORD[byte & 31]
  return id
}
