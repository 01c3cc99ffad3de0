import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createFrames, type Frame, type Framing } from '../../../src/transports/tcp/frames.ts'

const CAP = 64

/** A letter, then how many bytes follow it in 16 bits. Capitals are kept whole, up to a cap; others are passed on. */
function letters(measured: string[] = []): Framing {
  return {
    headBytes: 3,
    measure(bytes, at) {
      const letter = String.fromCharCode(bytes[at] ?? 0)
      const length = bytes.readUInt16BE(at + 1)
      measured.push(`${letter}${length}`)
      if (!/[A-Za-z]/.test(letter)) return { fault: `no letter: ${letter}` }
      const isKept = letter === letter.toUpperCase()
      if (isKept && length > CAP) return { fault: `too long: ${length}` }
      return { bytes: 3 + length, take: isKept ? 'whole' : 'pass' }
    },
  }
}

function message(letter: string, body: Uint8Array): Buffer {
  const head = Buffer.alloc(3)
  head.write(letter, 'latin1')
  head.writeUInt16BE(body.length, 1)
  return Buffer.concat([head, body])
}

/** What was kept, and between that the bytes that were passed on, however they were cut. */
function read(pieces: readonly Buffer[], framing: Framing): (Buffer | string)[] {
  const frames = createFrames(framing)
  const seen: (Buffer | string)[] = []
  let run: Buffer[] = []
  const note = (what: Buffer | string) => {
    if (run.length > 0) seen.push(`passed ${Buffer.concat(run).toString('hex')}`)
    run = []
    if (what !== '') seen.push(what)
  }
  for (const piece of pieces) {
    frames.push(piece)
    for (let frame = frames.next(); frame !== null; frame = frames.next()) {
      if (frame.kind === 'run') run.push(frame.bytes)
      else if (frame.kind === 'message') note(frame.bytes)
      else {
        note(`fault ${frame.fault}`)
        return seen
      }
    }
  }
  note('')
  return seen
}

function cutUp(whole: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => cut % (whole.length + 1)))].sort((a, b) => a - b)
  return [0, ...at].map((start, index) => whole.subarray(start, at[index] ?? whole.length))
}

const messages = fc.array(
  fc.tuple(fc.constantFrom('A', 'B', 'a', 'b'), fc.uint8Array({ maxLength: CAP })).map(([l, body]) => message(l, body)),
  { maxLength: 12 },
)

test('any split of any sequence of messages gives the same messages, measured once each', () => {
  fc.assert(
    fc.property(messages, fc.array(fc.nat(1000), { maxLength: 40 }), (sent, cuts) => {
      const whole = Buffer.concat(sent)
      const [once, split]: [string[], string[]] = [[], []]
      const expected = read([whole], letters(once))
      expect(read(cutUp(whole, cuts), letters(split))).toEqual(expected)
      expect(split).toEqual(once)
      expect(once).toHaveLength(sent.length)
      const kept = sent.filter((each) => /[A-Z]/.test(String.fromCharCode(each[0] ?? 0)))
      expect(expected.filter(Buffer.isBuffer)).toEqual(kept)
    }),
  )
})

test('every byte comes out once and in order, whatever is kept and whatever is passed on', () => {
  fc.assert(
    fc.property(messages, fc.array(fc.nat(1000), { maxLength: 40 }), (sent, cuts) => {
      const whole = Buffer.concat(sent)
      const out = read(cutUp(whole, cuts), letters()).map((each) =>
        Buffer.isBuffer(each) ? each : Buffer.from(each.slice('passed '.length), 'hex'),
      )
      expect(Buffer.concat(out)).toEqual(whole)
    }),
  )
})

test('mutated bytes give frames or a fault, and never more than came', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 }), (pieces) => {
      const frames = createFrames(letters())
      let came = 0
      let left = 0
      for (const piece of pieces) {
        frames.push(Buffer.from(piece))
        came += piece.length
        for (let frame = frames.next(); frame !== null; frame = frames.next()) {
          if (frame.kind === 'fault') return
          left += frame.bytes.length
        }
      }
      expect(left).toBeLessThanOrEqual(came)
      expect(frames.isBetween).toBe(left < came || isInside(pieces, left))
    }),
  )
})

/** Whether the last message that was passed on is not whole. */
function isInside(pieces: readonly Uint8Array[], left: number): boolean {
  const whole = Buffer.concat(pieces)
  let at = 0
  while (at < left) at += 3 + whole.readUInt16BE(at + 1)
  return at > left
}

test('after a fault there is nothing but that fault', () => {
  const frames = createFrames(letters())
  frames.push(Buffer.concat([message('A', Buffer.from('x')), Buffer.from('!00'), message('A', Buffer.from('y'))]))
  expect(frames.next()).toEqual({ kind: 'message', bytes: message('A', Buffer.from('x')) })
  const fault: Frame = { kind: 'fault', fault: 'no letter: !' }
  expect([frames.next(), frames.next()]).toEqual([fault, fault])
})

test('a message over the cap is refused by its head, before its body has come', () => {
  const frames = createFrames(letters())
  frames.push(message('A', Buffer.alloc(CAP + 1)).subarray(0, 3))
  expect(frames.next()).toEqual({ kind: 'fault', fault: 'too long: 65' })
})

test('another framing begins with the message after', () => {
  const frames = createFrames(letters())
  frames.push(Buffer.concat([message('A', Buffer.from('one')), Buffer.from('rest')]))
  frames.next()
  frames.reframe({ headBytes: 1, measure: () => ({ bytes: 1, take: 'whole' }) })
  expect(frames.next()).toEqual({ kind: 'message', bytes: Buffer.from('r') })
})

test('gives back what it could not measure, and everything behind', () => {
  for (const pieces of [['!00rest'], ['!', '0', '0rest'], ['!00', 're', 'st']]) {
    const frames = createFrames(letters())
    for (const piece of pieces) {
      frames.push(Buffer.from(piece))
      frames.next()
    }
    expect(String(frames.drain())).toBe('!00rest')
  }
})
