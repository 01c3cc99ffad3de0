/** Bytes that are not what the protocol allows. Its message is told to whoever sent them, and holds none of them. */
export class Malformed extends Error {
  override readonly name = 'Malformed'
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads the fields of one message in their order. Everything it cannot read is a `Malformed`. A class: there is one for
 * each message, and closures took longer to make than the fields to read.
 */
export class Reader {
  readonly #message: Buffer
  #at: number

  constructor(message: Buffer, start: number) {
    this.#message = message
    this.#at = start
  }

  get rest(): number {
    return this.#message.length - this.#at
  }

  int8(): number {
    return this.#message.readInt8(this.#take(1))
  }

  /** Unsigned: how many of something there are. */
  uint16(): number {
    return this.#message.readUInt16BE(this.#take(2))
  }

  int32(): number {
    return this.#message.readInt32BE(this.#take(4))
  }

  uint32(): number {
    return this.#message.readUInt32BE(this.#take(4))
  }

  /** Text up to a zero byte, as UTF-8. */
  text(): string {
    const end = this.#message.indexOf(0, this.#at)
    if (end === -1) throw new Malformed('a text in a message has no end')
    const bytes = this.#message.subarray(this.#at, end)
    this.#at = end + 1
    return decodeText(bytes)
  }

  /** So many bytes; null for -1. */
  value(): Buffer | null {
    const length = this.int32()
    if (length === -1) return null
    if (length < 0) throw new Malformed('a value has a negative length')
    return this.bytes(length)
  }

  bytes(count: number): Buffer {
    const from = this.#take(count)
    return this.#message.subarray(from, from + count)
  }

  /** Each with `read`, as many as a 16-bit count says. */
  list<T>(read: (reader: Reader) => T): T[] {
    const count = this.uint16()
    const all = []
    for (let index = 0; index < count; index++) all.push(read(this))
    return all
  }

  /** Nothing may follow. */
  end(): void {
    if (this.rest !== 0) throw new Malformed('a message is longer than its fields')
  }

  #take(count: number): number {
    const from = this.#at
    if (count > this.rest) throw new Malformed('a message ends within a field')
    this.#at += count
    return from
  }
}

export const readValue = (reader: Reader) => reader.value()
export const readOid = (reader: Reader) => reader.uint32()

export function decodeText(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes)
  } catch {
    throw new Malformed('a text in a message is not UTF-8')
  }
}

/** A part of a message: a number of so many bits, text with a zero byte behind it, a value with its length, or bytes. */
export type Field =
  | { readonly int8: number }
  | { readonly int16: number }
  | { readonly int32: number }
  | { readonly text: string }
  | { readonly value: Uint8Array | null }
  | { readonly bytes: Uint8Array }

/**
 * A message with its length in front, and its type before that, unless it is one of those without.
 *
 * @throws TypeError for a text that holds a NUL: it would end there
 */
export function encodeMessage(type: string | null, fields: readonly Field[]): Buffer {
  const headBytes = type === null ? 4 : 5
  let length = headBytes
  for (const field of fields) length += sizeOf(field)
  const message = Buffer.allocUnsafe(length)
  if (type !== null) message.write(type, 0, 'latin1')
  message.writeInt32BE(type === null ? length : length - 1, headBytes - 4)
  let at = headBytes
  for (const field of fields) at = writeField(message, field, at)
  return message
}

function sizeOf(field: Field): number {
  if ('int8' in field) return 1
  if ('int16' in field) return 2
  if ('int32' in field) return 4
  if ('text' in field) return Buffer.byteLength(field.text) + 1
  if ('value' in field) return 4 + (field.value?.length ?? 0)
  return field.bytes.length
}

function writeField(message: Buffer, field: Field, at: number): number {
  if ('int8' in field) return message.writeInt8(field.int8, at)
  if ('int16' in field) return message.writeUInt16BE(field.int16, at)
  if ('int32' in field) return message.writeInt32BE(field.int32 | 0, at)
  if ('text' in field) {
    if (field.text.includes('\0')) throw new TypeError('a text in a message holds a NUL')
    return message.writeUInt8(0, at + message.write(field.text, at))
  }
  if ('value' in field) {
    const next = message.writeInt32BE(field.value?.length ?? -1, at)
    if (field.value) message.set(field.value, next)
    return next + (field.value?.length ?? 0)
  }
  message.set(field.bytes, at)
  return at + field.bytes.length
}

/** The fields of a list: its count in 16 bits, then each. */
export function listOf<T>(all: readonly T[], write: (one: T) => readonly Field[]): Field[] {
  if (all.length > 0xffff) throw new TypeError('a list in a message is too long')
  return [{ int16: all.length }, ...all.flatMap(write)]
}
