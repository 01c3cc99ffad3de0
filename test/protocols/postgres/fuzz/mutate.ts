import type { Conversation } from './conversations.ts'
import type { Random } from './random.ts'

interface Said {
  readonly turn: number
  readonly bytes: Buffer
}

type Mutation = (said: Said[], random: Random, others: readonly [Conversation, ...Conversation[]]) => void

const LETTERS = 'QPBDECHSXcdfFp!'
/** What a text may be broken with. */
const FRAGMENTS = [
  ...['\0', "'", '"', '\\', ';', '--', '/*', '*/', '$$', '$1', '\ufeff', '\u202e', "E'\\'", "U&'", '_countersign'],
  ...['; DELETE FROM orders;', ' DELETE FROM orders ', "'; DROP TABLE orders --", '; EXECUTE d', 'COMMIT; '],
] as const

/** Each breaks one thing, or two that change places. */
const MUTATIONS = {
  flip(said, random) {
    change(said, random, (bytes) => {
      for (let left = 1 + random.below(8); left > 0; left--) {
        const at = random.below(bytes.length)
        bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
      }
      return bytes
    })
  },
  length(said, random) {
    change(said, random, (bytes, isOpening) => {
      const at = isOpening ? 0 : 1
      if (bytes.length < at + 4) return bytes
      const length = bytes.readInt32BE(at)
      const wrong = [
        length - 1 - random.below(4),
        length + 1 + random.below(60),
        0,
        3,
        4,
        -1,
        0x7fffffff,
        random.below(70_000),
      ]
      bytes.writeInt32BE((wrong[random.below(wrong.length)] ?? 0) | 0, at)
      return bytes
    })
  },
  letter(said, random) {
    change(said, random, (bytes, isOpening) => {
      if (!isOpening) bytes[0] = LETTERS.charCodeAt(random.below(LETTERS.length))
      return bytes
    })
  },
  truncate(said, random) {
    if (random.oneIn(2)) said.length = 1 + random.below(said.length)
    change(said, random, (bytes) => bytes.subarray(0, random.below(bytes.length)))
  },
  duplicate(said, random) {
    const at = random.below(said.length)
    const one = said[at]
    if (one) said.splice(at + random.below(3), 0, ...Array.from({ length: 1 + random.below(3) }, () => one))
  },
  splice(said, random, others) {
    const messages = random.of(others).flat()
    const from = random.below(messages.length)
    const at = random.below(said.length)
    const turn = said[at]?.turn ?? 0
    const part = messages.slice(from, from + 1 + random.below(4))
    said.splice(at + 1, 0, ...part.map((bytes) => ({ turn, bytes })))
  },
  reorder(said, random) {
    const [a, b] = [random.below(said.length), random.below(said.length)]
    const [one, other] = [said[a], said[b]]
    if (!one || !other) return
    said[a] = { turn: one.turn, bytes: other.bytes }
    said[b] = { turn: other.turn, bytes: one.bytes }
  },
  insert(said, random) {
    change(said, random, (bytes) => {
      const at = random.below(bytes.length + 1)
      return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(40)), bytes.subarray(at)])
    })
  },
  /** Its length is made right: what is broken is what the message says. */
  fragment(said, random) {
    change(said, random, (bytes, isOpening) => {
      const head = isOpening ? 4 : 5
      const at = head + random.below(Math.max(1, bytes.length - head))
      const piece = Buffer.from(FRAGMENTS[random.below(FRAGMENTS.length)] ?? '')
      const whole = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)])
      if (whole.length >= head) whole.writeInt32BE(whole.length - head + 4, head - 4)
      return whole
    })
  },
} satisfies Readonly<Record<string, Mutation>>

/** Those that leave whole messages are drawn more often: the others mostly end a session at once. */
const DRAWN = [
  ...(['flip', 'length', 'letter', 'truncate', 'insert'] as const),
  ...(['duplicate', 'splice', 'splice', 'reorder', 'reorder', 'fragment', 'fragment', 'fragment'] as const),
] as const

/** Breaks one message, by a copy of it. */
function change(said: Said[], random: Random, how: (bytes: Buffer, isOpening: boolean) => Buffer): void {
  const at = random.below(said.length)
  const one = said[at]
  if (!one || one.bytes.length === 0) return
  // What begins a connection has no type: its first byte is the first of its length.
  said[at] = { turn: one.turn, bytes: how(Buffer.from(one.bytes), one.bytes[0] === 0) }
}

/** A conversation with up to four things broken, in turns of chunks as a network might cut them. */
export function mutate(
  conversation: Conversation,
  random: Random,
  others: readonly [Conversation, ...Conversation[]],
): readonly (readonly Buffer[])[] {
  const said = conversation.flatMap((messages, turn) => messages.map((bytes): Said => ({ turn, bytes })))
  for (let left = random.below(5); left > 0 && said.length > 0; left--)
    MUTATIONS[random.of(DRAWN)](said, random, others)
  return conversation.map((_, turn) => {
    const bytes = Buffer.concat(said.filter((one) => one.turn === turn).map((one) => one.bytes))
    return cut(bytes, random)
  })
}

function cut(bytes: Buffer, random: Random): Buffer[] {
  const chunks: Buffer[] = []
  let from = 0
  if (!random.oneIn(3)) {
    for (let left = random.below(4); left > 0; left--) {
      const to = from + random.below(bytes.length - from + 1)
      chunks.push(bytes.subarray(from, to))
      from = to
    }
  }
  chunks.push(bytes.subarray(from))
  return chunks.filter(({ length }) => length > 0)
}
