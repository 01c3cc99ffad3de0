import type { Framing } from '../../../transports/tcp/frames.ts'
import { type Backend, backendType } from './backend.ts'
import { type Frontend, frontendType } from './frontend.ts'
import { MAX_OPENING_BYTES } from './opening.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** Before a session: messages without a type. */
export const OPENING: Framing = {
  headBytes: 4,
  measure(bytes, at) {
    const length = bytes.readInt32BE(at)
    if (length < 8 || length > MAX_OPENING_BYTES) return { fault: 'the first message has no length that it could have' }
    return { bytes: length, take: 'whole' }
  },
}

/** While a client shows who it is: nothing but that. Tokens have some KiB. */
export const PROVING: Framing = proving(64 * KIB)

/** The same where it does so in a conversation, whose messages are as short as those of PostgreSQL. */
export const CONVERSING: Framing = proving(KIB)

function proving(maxBytes: number): Framing {
  return typed((letter, length) => {
    if (frontendType(letter) !== 'password') return { fault: 'a password was expected' }
    return length > maxBytes ? { fault: 'the password is too long' } : 'whole'
  })
}

/** What a message takes in memory besides its bytes, so that many small ones count as well. */
export const OVERHEAD = 256
export const NO_ROOM = 'this agent has more under way than there is room for'

const SHORT: ReadonlySet<Frontend['type']> = new Set(['flush', 'sync', 'terminate', 'copy_done'])

/**
 * A client in its session. Data of a copy is passed on as it comes; everything else is read whole, as it has to be
 * judged.
 *
 * @param maxBytes of one message that is judged
 * @param takeRoom asked before one is read
 */
export function clientFraming(maxBytes: number, takeRoom: (bytes: number) => boolean): Framing {
  return typed((letter, length) => {
    const type = frontendType(letter)
    if (type === null) return { fault: 'no message has this type' }
    if (type === 'password') return { fault: 'nobody asked for a password' }
    if (type === 'copy_data') return 'pass'
    if (SHORT.has(type) && length > 4) return { fault: 'a message is longer than its fields' }
    if (length + 1 > maxBytes) return { fault: `a message is larger than ${maxBytes} bytes` }
    return takeRoom(length + OVERHEAD) ? 'whole' : { fault: NO_ROOM }
  })
}

/** What an upstream may say in one message that is read whole. */
const MAX_SAID = 16 * MIB
/** A report larger than this is passed on unread. */
const MAX_REPORT = MIB

/**
 * An upstream. Rows and data of a copy are passed on as they come, and so are reports that are too large to be read.
 *
 * @param toPass told of each message that could be passed on, as it begins; false if it is to be read whole all the same
 */
export function upstreamFraming(toPass: (type: Backend['type'], bytes: number) => boolean): Framing {
  return typed((letter, length) => {
    const type = backendType(letter)
    if (type === null) return { fault: 'the upstream sent a message of no known type' }
    const isReport = type === 'error' || type === 'notice'
    const isLong = type === 'data_row' || type === 'copy_data' || (isReport && length > MAX_REPORT)
    if (isLong && toPass(type, length + 1)) return 'pass'
    return length > MAX_SAID ? { fault: 'the upstream sent a message that is too large' } : 'whole'
  })
}

/** What an upstream said, for somebody here who reads all of it. */
export function wholeFraming(maxBytes: number): Framing {
  return typed((letter, length) => {
    if (backendType(letter) === null) return { fault: 'the upstream sent a message of no known type' }
    return length > maxBytes ? { fault: 'a message is larger than there is room for' } : 'whole'
  })
}

function typed(judge: (letter: number, length: number) => 'whole' | 'pass' | { fault: string }): Framing {
  return {
    headBytes: 5,
    measure(bytes, at) {
      const length = bytes.readInt32BE(at + 1)
      if (length < 4) return { fault: 'a message has no length that it could have' }
      const judged = judge(bytes[at] ?? 0, length)
      return typeof judged === 'object' ? judged : { bytes: length + 1, take: judged }
    },
  }
}
