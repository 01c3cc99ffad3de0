import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeBackend, encodeBackend } from '../../../../src/protocols/postgres/wire/backend.ts'
import { encodeMessage, type Field, Malformed } from '../../../../src/protocols/postgres/wire/fields.ts'
import { clientFraming, OPENING, PROVING, upstreamFraming } from '../../../../src/protocols/postgres/wire/framing.ts'
import { decodeFrontend, encodeFrontend } from '../../../../src/protocols/postgres/wire/frontend.ts'
import { decodeOpening, encodeOpening } from '../../../../src/protocols/postgres/wire/opening.ts'
import { createFrames, type Framing } from '../../../../src/transports/tcp/frames.ts'
import { backend, frontend, opening } from './arbitrary.ts'

describe('what is written is read the same, and read is written the same', () => {
  test('by a client', () => {
    fc.assert(
      fc.property(frontend, (message) => {
        expect(decodeFrontend(encodeFrontend(message))).toEqual(message)
      }),
    )
  })
  test('by a server', () => {
    fc.assert(
      fc.property(backend, (message) => {
        expect(decodeBackend(encodeBackend(message))).toEqual(message)
      }),
    )
  })
  test('before a session', () => {
    fc.assert(
      fc.property(opening, (message) => {
        expect(decodeOpening(encodeOpening(message))).toEqual(message)
      }),
    )
  })
})

describe('mutated bytes are refused, or are what they are read as', () => {
  const mutated = <T>(messages: fc.Arbitrary<T>, encode: (message: T) => Buffer) =>
    fc
      .tuple(messages, fc.array(fc.tuple(fc.nat(1000), fc.nat(255)), { minLength: 1, maxLength: 3 }))
      .map(([message, changes]) => {
        const bytes = encode(message)
        // The length stays: another one is the framing's to see.
        for (const [at, byte] of changes) if (at % bytes.length > 4) bytes[at % bytes.length] = byte
        return bytes
      })
  test.each([
    ['client', mutated(frontend, encodeFrontend), (bytes: Buffer) => encodeFrontend(decodeFrontend(bytes))],
    ['server', mutated(backend, encodeBackend), (bytes: Buffer) => encodeBackend(decodeBackend(bytes))],
    ['opening', mutated(opening, encodeOpening), (bytes: Buffer) => encodeOpening(decodeOpening(bytes))],
  ])('%s', (_name, bytes, again) => {
    fc.assert(
      fc.property(bytes, (changed) => {
        try {
          const written = again(changed)
          // Of a version that is not spoken nothing is read.
          if (written.length !== 9) expect(written.equals(changed)).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(Malformed)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('refuses what the specification does not allow', () => {
  const own = (type: string, ...fields: Field[]) => encodeMessage(type, fields)
  const none: Field = { int16: 0 }

  test.each<[string, Buffer]>([
    ['an unknown type', own('!')],
    ['a text without an end', own('Q', { bytes: Buffer.from('SELECT 1') })],
    ['bytes behind a text', own('Q', { text: 'SELECT 1' }, { bytes: Buffer.from('; DELETE\0') })],
    ['a text that is not UTF-8', own('Q', { bytes: Buffer.from([0xbf, 0x27, 0]) })],
    ['an overlong form', own('Q', { bytes: Buffer.from([0xc0, 0xa7, 0]) })],
    ['half of a surrogate pair', own('Q', { bytes: Buffer.from([0xed, 0xa0, 0x80, 0]) })],
    ['a count without its list', own('P', { text: '' }, { text: 'x' }, { int16: 2 }, { int32: 1 })],
    ['no count', own('P', { text: '' }, { text: 'x' })],
    ['a format beside text and binary', own('B', { text: '' }, { text: '' }, { int16: 1 }, { int16: 2 }, none, none)],
    [
      'more formats than values',
      own('B', { text: '' }, { text: '' }, { int16: 2 }, none, none, { int16: 1 }, { value: null }, none),
    ],
    ['a value of negative length', own('B', { text: '' }, { text: '' }, none, { int16: 1 }, { int32: -2 }, none)],
    ['a value longer than its message', own('B', { text: '' }, { text: '' }, none, { int16: 1 }, { int32: 9 }, none)],
    ['a negative row limit', own('E', { text: '' }, { int32: -1 })],
    ['neither statement nor portal', own('D', { int8: 0x58 }, { text: '' })],
    ['a Sync with something in it', own('S', { int8: 0 })],
  ])('a client: %s', (_name, bytes) => {
    expect(() => decodeFrontend(bytes)).toThrow(Malformed)
  })

  test.each<[string, Buffer]>([
    ['a way to authenticate that does not exist', own('R', { int32: 99 })],
    ['a cancel key that is too short', own('K', { int32: 1 }, { bytes: Buffer.alloc(3) })],
    ['a cancel key that is too long', own('K', { int32: 1 }, { bytes: Buffer.alloc(257) })],
    ['a status of no transaction', own('Z', { int8: 0x58 })],
    ['a textual copy with a binary column', own('G', { int8: 0 }, { int16: 1 }, { int16: 1 })],
    [
      'a report with a field twice',
      own('E', { int8: 0x4d }, { text: 'a' }, { int8: 0x4d }, { text: 'b' }, { int8: 0 }),
    ],
    ['a report without an end', own('E', { int8: 0x4d }, { text: 'a' })],
  ])('a server: %s', (_name, bytes) => {
    expect(() => decodeBackend(bytes)).toThrow(Malformed)
  })

  test.each<[string, Buffer]>([
    ['a request that does not exist', encodeMessage(null, [{ int16: 1234 }, { int16: 1 }])],
    ['something behind an SSLRequest', encodeMessage(null, [{ int32: 80877103 }, { int8: 0 }])],
    [
      'a cancel key of three bytes',
      encodeMessage(null, [{ int32: 80877102 }, { int32: 1 }, { bytes: Buffer.alloc(3) }]),
    ],
    ['a parameter twice', startup('user', 'a', 'user', 'b')],
    ['no end', encodeMessage(null, [{ int32: 196608 }, { text: 'user' }, { text: 'a' }])],
    ['something behind the end', encodeMessage(null, [{ int32: 196608 }, { int8: 0 }, { int8: 0 }])],
  ])('before a session: %s', (_name, bytes) => {
    expect(() => decodeOpening(bytes)).toThrow(Malformed)
  })
})

function startup(...parameters: string[]): Buffer {
  return encodeMessage(null, [{ int32: 196608 }, ...parameters.map((text) => ({ text })), { int8: 0 }])
}

describe('the length of a message is judged by its head', () => {
  const first = (framing: Framing, bytes: Buffer) => {
    const frames = createFrames(framing)
    frames.push(bytes)
    return frames.next()?.kind ?? 'waits'
  }
  const head = (type: string, length: number) => {
    const bytes = Buffer.alloc(5)
    bytes.write(type, 'latin1')
    bytes.writeInt32BE(length, 1)
    return bytes
  }
  test.each<[string, Framing, Buffer, string]>([
    ['an opening of 10,000 bytes', OPENING, Buffer.from([0, 0, 0x27, 0x10]), 'waits'],
    ['one more', OPENING, Buffer.from([0, 0, 0x27, 0x11]), 'fault'],
    ['an opening too short for a version', OPENING, Buffer.from([0, 0, 0, 7]), 'fault'],
    ['a negative length', OPENING, Buffer.from([0xff, 0xff, 0xff, 0xff]), 'fault'],
    ['a password', PROVING, head('p', 20_000), 'waits'],
    ['a password too long', PROVING, head('p', 65_537), 'fault'],
    ['a query in place of a password', PROVING, head('Q', 20), 'fault'],
    ['a query', clientFraming(1000, () => true), head('Q', 999), 'waits'],
    ['a query too long', clientFraming(1000, () => true), head('Q', 1000), 'fault'],
    ['a length that does not hold itself', clientFraming(1000, () => true), head('Q', 3), 'fault'],
    ['a negative one', clientFraming(1000, () => true), head('Q', -1), 'fault'],
    ['a Sync with something in it', clientFraming(1000, () => true), head('S', 5), 'fault'],
    ['a password nobody asked for', clientFraming(1000, () => true), head('p', 20), 'fault'],
    ['a type that does not exist', clientFraming(1000, () => true), head('!', 4), 'fault'],
    ['data of a copy of any length', clientFraming(1000, () => true), head('d', 0x7fffffff), 'run'],
    ['a row of any length', upstreamFraming(() => true), head('D', 0x7fffffff), 'run'],
    ['a large report', upstreamFraming(() => true), head('N', 2 ** 21), 'run'],
    ['a description too large', upstreamFraming(() => true), head('T', 2 ** 25), 'fault'],
  ])('%s', (_name, framing, bytes, expected) => {
    expect(first(framing, bytes)).toBe(expected)
  })
})
