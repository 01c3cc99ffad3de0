/** What is to become of a message, told by its head: kept until it is whole, or passed on as it comes. */
export type Plan =
  | {
      /** All of it, head included. */
      readonly bytes: number
      readonly take: 'whole' | 'pass'
    }
  | { readonly fault: string }

/** How a protocol's messages are told apart. */
export interface Framing {
  /** As many bytes of a message have to be there to measure it. */
  readonly headBytes: number
  /** Measures the message that begins at `at`. Called once for each, in order. */
  measure(bytes: Buffer, at: number): Plan
}

/**
 * What a stream of bytes holds next: a message, whole; a run of bytes to be passed on, which are pieces of messages in
 * their order; or why the rest cannot be read.
 */
export type Frame =
  | { readonly kind: 'message'; readonly bytes: Buffer }
  | { readonly kind: 'run'; readonly bytes: Buffer }
  | { readonly kind: 'fault'; readonly fault: string }

/** Cuts a stream into messages. Pure: bytes go in as they came, frames come out. */
export interface Frames {
  push(chunk: Buffer): void
  /** The next frame; null until more has come. After a fault there is only that fault. */
  next(): Frame | null
  /** From the next message on. Messages that were measured before are what they were. */
  reframe(framing: Framing): void
  /** Takes out what came and was not given out, the head of what could not be measured included. */
  drain(): Buffer
  /** Bytes that came and were not looked at yet. */
  readonly queuedBytes: number
  /** Whether the rest of a message that is passed on is still to come. */
  readonly isInside: boolean
  /** Whether bytes are here that no frame has carried out yet, or the rest of a message is still to come. */
  readonly isBetween: boolean
}

const FIRST_BYTES = 1024
const NOTHING = Buffer.alloc(0)

export function createFrames(first: Framing): Frames {
  let framing = first
  const chunks: Buffer[] = []
  let queuedBytes = 0
  // Where the first chunk goes on.
  let at = 0
  // The rest of a message that is passed on.
  let passing = 0
  // A message that does not lie in one chunk; until it was measured, its head.
  let part: Part | null = null
  // What was measured and begins right where `at` is.
  let planned: Exclude<Plan, { fault: string }> | null = null
  let fault: Frame | null = null

  function next(): Frame | null {
    while (fault === null) {
      const chunk = chunks[0]
      if (chunk === undefined) return null
      const frame = passing > 0 ? passOn(chunk) : part !== null ? complete(chunk, part) : begin(chunk)
      if (at === chunk.length) {
        chunks.shift()
        at = 0
      }
      if (frame !== null) return frame
    }
    return fault
  }

  function skip(bytes: number): void {
    at += bytes
    queuedBytes -= bytes
  }

  /** As far as messages that are passed on follow each other in this chunk. */
  function passOn(chunk: Buffer): Frame {
    const start = at
    for (;;) {
      const piece = Math.min(passing, chunk.length - at)
      passing -= piece
      skip(piece)
      if (passing > 0 || chunk.length - at < framing.headBytes) break
      const plan = framing.measure(chunk, at)
      if ('fault' in plan) {
        fault = { kind: 'fault', ...plan }
        break
      }
      if (plan.take === 'whole') {
        planned = plan
        break
      }
      passing = plan.bytes
    }
    return { kind: 'run', bytes: chunk.subarray(start, at) }
  }

  function begin(chunk: Buffer): Frame | null {
    const there = chunk.length - at
    if (planned === null) {
      if (there < framing.headBytes) return collect(chunk, { bytes: framing.headBytes, isHead: true })
      const plan = framing.measure(chunk, at)
      if ('fault' in plan) {
        fault = { kind: 'fault', ...plan }
        return null
      }
      if (plan.take === 'pass') {
        passing = plan.bytes
        return passing === 0 ? null : passOn(chunk)
      }
      planned = plan
    }
    const { bytes } = planned
    planned = null
    if (there < bytes) return collect(chunk, { bytes, isHead: false })
    const start = at
    skip(bytes)
    return { kind: 'message', bytes: chunk.subarray(start, at) }
  }

  function collect(chunk: Buffer, { bytes, isHead }: { bytes: number; isHead: boolean }): null {
    part = createPart(bytes, isHead)
    skip(part.add(chunk, at))
    return null
  }

  function complete(chunk: Buffer, open: Part): Frame | null {
    skip(open.add(chunk, at))
    if (!open.isFull()) return null
    if (!open.isHead) {
      part = null
      return { kind: 'message', bytes: open.bytes() }
    }
    const head = open.bytes()
    const plan = framing.measure(head, 0)
    part = 'fault' in plan ? open : null
    if ('fault' in plan) {
      fault = { kind: 'fault', ...plan }
      return null
    }
    if (plan.take === 'pass') {
      passing = plan.bytes - head.length
      return { kind: 'run', bytes: head }
    }
    if (plan.bytes === head.length) return { kind: 'message', bytes: head }
    part = createPart(plan.bytes, false)
    part.add(head, 0)
    return null
  }

  return {
    push(chunk) {
      if (chunk.length === 0) return
      chunks.push(chunk)
      queuedBytes += chunk.length
    },
    next,
    reframe(later) {
      framing = later
    },
    drain() {
      const [first = NOTHING, ...others] = chunks
      const rest = Buffer.concat([part?.bytes() ?? NOTHING, first.subarray(at), ...others])
      part = null
      chunks.length = 0
      at = 0
      queuedBytes = 0
      return rest
    },
    get queuedBytes() {
      return queuedBytes
    },
    get isInside() {
      return passing > 0
    },
    get isBetween() {
      return queuedBytes > 0 || passing > 0 || part !== null
    },
  }
}

interface Part {
  readonly isHead: boolean
  /** Takes as much as it lacks, and says how much that was. */
  add(chunk: Buffer, at: number): number
  isFull(): boolean
  /** Those that are there. */
  bytes(): Buffer
}

/** Grows with what has come, not with what was announced: a length alone takes no memory. */
function createPart(length: number, isHead: boolean): Part {
  let buffer = Buffer.allocUnsafe(Math.min(length, FIRST_BYTES))
  let filled = 0
  return {
    isHead,
    add(chunk, at) {
      const count = Math.min(length - filled, chunk.length - at)
      if (filled + count > buffer.length) {
        const larger = Buffer.allocUnsafe(Math.min(length, Math.max(2 * buffer.length, filled + count)))
        buffer.copy(larger, 0, 0, filled)
        buffer = larger
      }
      chunk.copy(buffer, filled, at, at + count)
      filled += count
      return count
    },
    isFull: () => filled === length,
    bytes: () => buffer.subarray(0, filled),
  }
}
