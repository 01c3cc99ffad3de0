import { encodeMessage, type Field, listOf, Malformed, Reader, readOid, readValue } from './fields.ts'

/** How a value or a column is written. */
export type Format = 'text' | 'binary'

/**
 * What a client sends once its session has begun (PostgreSQL 18, chapter 54.7). A name that is empty is the unnamed
 * statement or portal.
 */
export type Frontend =
  | { readonly type: 'query'; readonly sql: string }
  | {
      readonly type: 'parse'
      readonly statement: string
      readonly sql: string
      readonly parameterTypes: readonly number[]
    }
  | {
      readonly type: 'bind'
      readonly portal: string
      readonly statement: string
      /** None: all text. One: all of that. */
      readonly formats: readonly Format[]
      readonly values: readonly (Buffer | null)[]
      readonly resultFormats: readonly Format[]
    }
  | { readonly type: 'describe'; readonly what: 'statement' | 'portal'; readonly name: string }
  | { readonly type: 'close'; readonly what: 'statement' | 'portal'; readonly name: string }
  /** `maxRows` 0: all of them. */
  | { readonly type: 'execute'; readonly portal: string; readonly maxRows: number }
  | { readonly type: 'flush' | 'sync' | 'terminate' | 'copy_done' }
  | { readonly type: 'copy_data'; readonly data: Buffer }
  | { readonly type: 'copy_fail'; readonly reason: string }
  /** A call of a function by its number, without SQL. It is read so that it can be refused by name. */
  | {
      readonly type: 'function_call'
      readonly function: number
      readonly formats: readonly Format[]
      readonly values: readonly (Buffer | null)[]
      readonly resultFormat: Format
    }
  /** A password, or a step of SASL or GSSAPI: which of them, only what was asked for tells. */
  | { readonly type: 'password'; readonly data: Buffer }

const TYPES: Readonly<Record<string, Frontend['type']>> = {
  Q: 'query',
  P: 'parse',
  B: 'bind',
  D: 'describe',
  C: 'close',
  E: 'execute',
  H: 'flush',
  S: 'sync',
  X: 'terminate',
  c: 'copy_done',
  d: 'copy_data',
  f: 'copy_fail',
  F: 'function_call',
  p: 'password',
}
const LETTERS = Object.fromEntries(Object.entries(TYPES).map(([letter, type]) => [type, letter]))

/** Null if no such message is sent by a client. */
export function frontendType(letter: number): Frontend['type'] | null {
  return TYPES[String.fromCharCode(letter)] ?? null
}

/**
 * Reads one whole message, head included. What two servers could read differently is refused: every byte belongs to a
 * field, and every text is UTF-8.
 *
 * @throws Malformed
 */
export function decodeFrontend(message: Buffer): Frontend {
  const type = frontendType(message[0] ?? 0)
  if (type === null) throw new Malformed('no message has this type')
  const reader = new Reader(message, 5)
  const decoded = decodeFields(type, reader)
  reader.end()
  return decoded
}

function decodeFields(type: Frontend['type'], reader: Reader): Frontend {
  switch (type) {
    case 'query':
      return { type, sql: reader.text() }
    case 'parse':
      return { type, statement: reader.text(), sql: reader.text(), parameterTypes: reader.list(readOid) }
    case 'bind':
      return decodeBind(reader)
    case 'describe':
    case 'close':
      return { type, what: readWhat(reader), name: reader.text() }
    case 'execute':
      return { type, portal: reader.text(), maxRows: readMaxRows(reader) }
    case 'flush':
    case 'sync':
    case 'terminate':
    case 'copy_done':
      return { type }
    case 'copy_data':
    case 'password':
      return { type, data: reader.bytes(reader.rest) }
    case 'copy_fail':
      return { type, reason: reader.text() }
    case 'function_call': {
      const id = reader.uint32()
      const formats = reader.list(readFormat)
      const values = reader.list(readValue)
      checkFormats(formats, values)
      return { type, function: id, formats, values, resultFormat: readFormat(reader) }
    }
  }
}

function decodeBind(reader: Reader): Frontend {
  const portal = reader.text()
  const statement = reader.text()
  const formats = reader.list(readFormat)
  const values = reader.list(readValue)
  checkFormats(formats, values)
  return { type: 'bind', portal, statement, formats, values, resultFormats: reader.list(readFormat) }
}

function checkFormats(formats: readonly Format[], values: readonly unknown[]): void {
  if (formats.length > 1 && formats.length !== values.length) {
    throw new Malformed('there are neither as many formats as values, nor one, nor none')
  }
}

export function readFormat(reader: Reader): Format {
  const code = reader.uint16()
  if (code > 1) throw new Malformed('a format is neither text nor binary')
  return code === 0 ? 'text' : 'binary'
}

/** A negative number asks for all rows, as zero does; no client needs to say so. */
function readMaxRows(reader: Reader): number {
  const maxRows = reader.int32()
  if (maxRows < 0) throw new Malformed('a row limit is negative')
  return maxRows
}

function readWhat(reader: Reader): 'statement' | 'portal' {
  switch (reader.int8()) {
    case 0x53:
      return 'statement'
    case 0x50:
      return 'portal'
    default:
      throw new Malformed('what is meant is neither a statement nor a portal')
  }
}

export function encodeFrontend(message: Frontend): Buffer {
  return encodeMessage(LETTERS[message.type] ?? '', fieldsOf(message))
}

function fieldsOf(message: Frontend): readonly Field[] {
  switch (message.type) {
    case 'query':
      return [{ text: message.sql }]
    case 'parse':
      return [
        { text: message.statement },
        { text: message.sql },
        ...listOf(message.parameterTypes, (oid) => [{ int32: oid }]),
      ]
    case 'bind':
      return [
        { text: message.portal },
        { text: message.statement },
        ...formatsOf(message.formats),
        ...listOf(message.values, (value) => [{ value }]),
        ...formatsOf(message.resultFormats),
      ]
    case 'describe':
    case 'close':
      return [{ int8: message.what === 'statement' ? 0x53 : 0x50 }, { text: message.name }]
    case 'execute':
      return [{ text: message.portal }, { int32: message.maxRows }]
    case 'flush':
    case 'sync':
    case 'terminate':
    case 'copy_done':
      return []
    case 'copy_data':
    case 'password':
      return [{ bytes: message.data }]
    case 'copy_fail':
      return [{ text: message.reason }]
    case 'function_call':
      return [
        { int32: message.function },
        ...formatsOf(message.formats),
        ...listOf(message.values, (value) => [{ value }]),
        { int16: message.resultFormat === 'text' ? 0 : 1 },
      ]
  }
}

export function formatsOf(formats: readonly Format[]): Field[] {
  return listOf(formats, (format) => [{ int16: format === 'text' ? 0 : 1 }])
}
