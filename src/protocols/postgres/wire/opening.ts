import { encodeMessage, Malformed, Reader } from './fields.ts'

/** What has to be shown to end what a session does at the moment. */
export interface CancelKey {
  readonly processId: number
  readonly secret: Buffer
}

/** What a client may begin a connection with (PostgreSQL 18, chapter 54.7). These messages have no type. */
export type Opening =
  | { readonly type: 'ssl_request' | 'gss_request' }
  | ({ readonly type: 'cancel' } & CancelKey)
  | {
      readonly type: 'startup'
      readonly major: number
      readonly minor: number
      /** In their order; none of them twice. */
      readonly parameters: ReadonlyMap<string, string>
    }

/** As the server has it; longer ones are refused by their head. */
export const MAX_OPENING_BYTES = 10_000

const CANCEL = 80_877_102
const SSL = 80_877_103
const GSS = 80_877_104
/** Major numbers from here on are not versions. */
const SPECIAL_MAJOR = 1234

/** @throws Malformed */
export function decodeOpening(message: Buffer): Opening {
  const reader = new Reader(message, 4)
  const code = reader.int32()
  switch (code) {
    case SSL:
    case GSS:
      reader.end()
      return { type: code === SSL ? 'ssl_request' : 'gss_request' }
    case CANCEL: {
      const processId = reader.int32()
      if (reader.rest < 4 || reader.rest > 256) throw new Malformed('a cancel key has 4 to 256 bytes')
      return { type: 'cancel', processId, secret: reader.bytes(reader.rest) }
    }
  }
  const major = code >>> 16
  if (major === SPECIAL_MAJOR) throw new Malformed('there is no such request')
  // What another version has behind its number is not known.
  if (major !== 3) return { type: 'startup', major, minor: code & 0xffff, parameters: new Map() }
  const parameters = new Map<string, string>()
  for (let name = reader.text(); name !== ''; name = reader.text()) {
    if (parameters.has(name)) throw new Malformed('a startup parameter is given twice')
    parameters.set(name, reader.text())
  }
  reader.end()
  return { type: 'startup', major, minor: code & 0xffff, parameters }
}

export function encodeOpening(opening: Opening): Buffer {
  switch (opening.type) {
    case 'ssl_request':
      return encodeMessage(null, [{ int32: SSL }])
    case 'gss_request':
      return encodeMessage(null, [{ int32: GSS }])
    case 'cancel':
      return encodeMessage(null, [{ int32: CANCEL }, { int32: opening.processId }, { bytes: opening.secret }])
    case 'startup':
      return encodeMessage(null, [
        { int32: (opening.major << 16) | opening.minor },
        ...[...opening.parameters].flatMap(([name, value]) => [{ text: name }, { text: value }]),
        { int8: 0 },
      ])
  }
}
