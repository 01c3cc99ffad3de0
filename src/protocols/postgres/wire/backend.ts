import { encodeMessage, type Field, listOf, Malformed, Reader, readOid, readValue } from './fields.ts'
import { type Format, formatsOf, readFormat } from './frontend.ts'

/** Between calls; in a transaction; in one that failed. */
export type TransactionStatus = 'I' | 'T' | 'E'

/** The fields of an error or a notice, by their letters (PostgreSQL 18, chapter 54.8): `C` the SQLSTATE, `M` the message. */
export type Report = Readonly<Record<string, string>>

export interface Column {
  readonly name: string
  /** The relation it comes from and its place there; 0 if it comes from none. */
  readonly table: number
  readonly attribute: number
  readonly dataType: number
  readonly size: number
  readonly modifier: number
  readonly format: Format
}

/** What a server asks for, or says of it, while a client shows who it is. */
export type Authentication =
  | { readonly method: 'ok' | 'kerberos' | 'cleartext' | 'gss' | 'sspi' }
  | { readonly method: 'md5'; readonly salt: Buffer }
  | { readonly method: 'gss_continue' | 'sasl_continue' | 'sasl_final'; readonly data: Buffer }
  | { readonly method: 'sasl'; readonly mechanisms: readonly string[] }

/** What a server sends (PostgreSQL 18, chapter 54.7). */
export type Backend =
  | { readonly type: 'authentication'; readonly asks: Authentication }
  | { readonly type: 'backend_key'; readonly processId: number; readonly secret: Buffer }
  | {
      readonly type:
        | 'parse_complete'
        | 'bind_complete'
        | 'close_complete'
        | 'empty_query'
        | 'no_data'
        | 'portal_suspended'
        | 'copy_done'
    }
  | { readonly type: 'command_complete'; readonly tag: string }
  | { readonly type: 'copy_data'; readonly data: Buffer }
  | {
      readonly type: 'copy_in' | 'copy_out' | 'copy_both'
      readonly format: Format
      readonly columns: readonly Format[]
    }
  | { readonly type: 'data_row'; readonly values: readonly (Buffer | null)[] }
  | { readonly type: 'error' | 'notice'; readonly report: Report }
  | { readonly type: 'function_result'; readonly value: Buffer | null }
  | { readonly type: 'negotiate_version'; readonly version: number; readonly unknown: readonly string[] }
  | { readonly type: 'notification'; readonly processId: number; readonly channel: string; readonly payload: string }
  | { readonly type: 'parameter_description'; readonly types: readonly number[] }
  | { readonly type: 'parameter_status'; readonly name: string; readonly value: string }
  | { readonly type: 'ready'; readonly status: TransactionStatus }
  | { readonly type: 'row_description'; readonly columns: readonly Column[] }

const TYPES: Readonly<Record<string, Backend['type']>> = {
  R: 'authentication',
  K: 'backend_key',
  '1': 'parse_complete',
  '2': 'bind_complete',
  '3': 'close_complete',
  C: 'command_complete',
  d: 'copy_data',
  c: 'copy_done',
  G: 'copy_in',
  H: 'copy_out',
  W: 'copy_both',
  D: 'data_row',
  I: 'empty_query',
  E: 'error',
  V: 'function_result',
  v: 'negotiate_version',
  n: 'no_data',
  N: 'notice',
  A: 'notification',
  t: 'parameter_description',
  S: 'parameter_status',
  s: 'portal_suspended',
  Z: 'ready',
  T: 'row_description',
}
const LETTERS = Object.fromEntries(Object.entries(TYPES).map(([letter, type]) => [type, letter]))

const METHODS: Readonly<Record<number, Authentication['method']>> = {
  0: 'ok',
  2: 'kerberos',
  3: 'cleartext',
  5: 'md5',
  7: 'gss',
  8: 'gss_continue',
  9: 'sspi',
  10: 'sasl',
  11: 'sasl_continue',
  12: 'sasl_final',
}
const METHOD_CODES = Object.fromEntries(Object.entries(METHODS).map(([code, method]) => [method, Number(code)]))

/** Null if no such message is sent by a server. */
export function backendType(letter: number): Backend['type'] | null {
  return TYPES[String.fromCharCode(letter)] ?? null
}

/**
 * Reads one whole message, head included.
 *
 * @throws Malformed
 */
export function decodeBackend(message: Buffer): Backend {
  const type = backendType(message[0] ?? 0)
  if (type === null) throw new Malformed('no message has this type')
  const reader = new Reader(message, 5)
  const decoded = decodeFields(type, reader)
  reader.end()
  return decoded
}

function decodeFields(type: Backend['type'], reader: Reader): Backend {
  switch (type) {
    case 'authentication':
      return { type, asks: decodeAuthentication(reader) }
    case 'backend_key':
      return { type, processId: reader.int32(), secret: readSecret(reader) }
    case 'parse_complete':
    case 'bind_complete':
    case 'close_complete':
    case 'empty_query':
    case 'no_data':
    case 'portal_suspended':
    case 'copy_done':
      return { type }
    case 'command_complete':
      return { type, tag: reader.text() }
    case 'copy_data':
      return { type, data: reader.bytes(reader.rest) }
    case 'copy_in':
    case 'copy_out':
    case 'copy_both':
      return decodeCopy(type, reader)
    case 'data_row':
      return { type, values: reader.list(readValue) }
    case 'error':
    case 'notice':
      return { type, report: decodeReport(reader) }
    case 'function_result':
      return { type, value: reader.value() }
    case 'negotiate_version': {
      const version = reader.int32()
      const count = reader.int32()
      if (count < 0 || count > reader.rest) throw new Malformed('a count is out of range')
      return { type, version, unknown: Array.from({ length: count }, () => reader.text()) }
    }
    case 'notification':
      return { type, processId: reader.int32(), channel: reader.text(), payload: reader.text() }
    case 'parameter_description':
      return { type, types: reader.list(readOid) }
    case 'parameter_status':
      return { type, name: reader.text(), value: reader.text() }
    case 'ready': {
      const status = String.fromCharCode(reader.int8())
      if (status !== 'I' && status !== 'T' && status !== 'E') throw new Malformed('a transaction has no such status')
      return { type, status }
    }
    case 'row_description':
      return { type, columns: reader.list(decodeColumn) }
  }
}

/** Four bytes in protocol 3.0, and up to 256 from 3.2 on. */
function readSecret(reader: Reader): Buffer {
  if (reader.rest < 4 || reader.rest > 256) throw new Malformed('a cancel key has 4 to 256 bytes')
  return reader.bytes(reader.rest)
}

function decodeAuthentication(reader: Reader): Authentication {
  const method = METHODS[reader.int32()]
  if (method === undefined) throw new Malformed('there is no such way to authenticate')
  switch (method) {
    case 'md5':
      return { method, salt: reader.bytes(4) }
    case 'gss_continue':
    case 'sasl_continue':
    case 'sasl_final':
      return { method, data: reader.bytes(reader.rest) }
    case 'sasl': {
      const mechanisms: string[] = []
      for (let name = reader.text(); name !== ''; name = reader.text()) mechanisms.push(name)
      return { method, mechanisms }
    }
    case 'ok':
    case 'kerberos':
    case 'cleartext':
    case 'gss':
    case 'sspi':
      return { method }
  }
}

function decodeCopy(type: 'copy_in' | 'copy_out' | 'copy_both', reader: Reader): Backend {
  const code = reader.int8()
  if (code !== 0 && code !== 1) throw new Malformed('a format is neither text nor binary')
  const columns = reader.list(readFormat)
  if (code === 0 && columns.includes('binary')) throw new Malformed('a column of a textual copy is binary')
  return { type, format: code === 0 ? 'text' : 'binary', columns }
}

function decodeReport(reader: Reader): Report {
  const report: Record<string, string> = {}
  for (let code = reader.int8(); code !== 0; code = reader.int8()) {
    const letter = String.fromCharCode(code)
    if (!/^[A-Za-z]$/.test(letter) || letter in report) throw new Malformed('a report has such a field twice, or none')
    report[letter] = reader.text()
  }
  return report
}

function decodeColumn(reader: Reader): Column {
  return {
    name: reader.text(),
    table: reader.uint32(),
    attribute: reader.uint16(),
    dataType: reader.uint32(),
    // Both are signed: -1 for a size that varies, and for no modifier.
    size: (reader.uint16() << 16) >> 16,
    modifier: reader.int32(),
    format: readFormat(reader),
  }
}

export function encodeBackend(message: Backend): Buffer {
  return encodeMessage(LETTERS[message.type] ?? '', fieldsOf(message))
}

function fieldsOf(message: Backend): readonly Field[] {
  switch (message.type) {
    case 'authentication':
      return authenticationFields(message.asks)
    case 'backend_key':
      return [{ int32: message.processId }, { bytes: message.secret }]
    case 'parse_complete':
    case 'bind_complete':
    case 'close_complete':
    case 'empty_query':
    case 'no_data':
    case 'portal_suspended':
    case 'copy_done':
      return []
    case 'command_complete':
      return [{ text: message.tag }]
    case 'copy_data':
      return [{ bytes: message.data }]
    case 'copy_in':
    case 'copy_out':
    case 'copy_both':
      return [{ int8: message.format === 'text' ? 0 : 1 }, ...formatsOf(message.columns)]
    case 'data_row':
      return listOf(message.values, (value) => [{ value }])
    case 'error':
    case 'notice':
      return [
        ...Object.entries(message.report).flatMap(([letter, text]) => [{ int8: letter.charCodeAt(0) }, { text }]),
        { int8: 0 },
      ]
    case 'function_result':
      return [{ value: message.value }]
    case 'negotiate_version':
      return [
        { int32: message.version },
        { int32: message.unknown.length },
        ...message.unknown.map((text) => ({ text })),
      ]
    case 'notification':
      return [{ int32: message.processId }, { text: message.channel }, { text: message.payload }]
    case 'parameter_description':
      return listOf(message.types, (oid) => [{ int32: oid }])
    case 'parameter_status':
      return [{ text: message.name }, { text: message.value }]
    case 'ready':
      return [{ int8: message.status.charCodeAt(0) }]
    case 'row_description':
      return listOf(message.columns, columnFields)
  }
}

function authenticationFields(asks: Authentication): readonly Field[] {
  const code: Field = { int32: METHOD_CODES[asks.method] ?? -1 }
  switch (asks.method) {
    case 'md5':
      return [code, { bytes: asks.salt }]
    case 'gss_continue':
    case 'sasl_continue':
    case 'sasl_final':
      return [code, { bytes: asks.data }]
    case 'sasl':
      return [code, ...asks.mechanisms.map((text) => ({ text })), { int8: 0 }]
    case 'ok':
    case 'kerberos':
    case 'cleartext':
    case 'gss':
    case 'sspi':
      return [code]
  }
}

function columnFields({ name, table, attribute, dataType, size, modifier, format }: Column): readonly Field[] {
  return [
    { text: name },
    { int32: table },
    { int16: attribute },
    { int32: dataType },
    { int16: size & 0xffff },
    { int32: modifier },
    { int16: format === 'text' ? 0 : 1 },
  ]
}
