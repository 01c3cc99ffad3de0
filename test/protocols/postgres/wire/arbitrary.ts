import fc from 'fast-check'
import type { Backend } from '../../../../src/protocols/postgres/wire/backend.ts'
import type { Format, Frontend } from '../../../../src/protocols/postgres/wire/frontend.ts'
import type { Opening } from '../../../../src/protocols/postgres/wire/opening.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((each) => !each.includes('\0'))
const data = fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes))
const value = fc.option(data)
const format: fc.Arbitrary<Format> = fc.constantFrom('text', 'binary')
const oid = fc.nat(0xffffffff)
const secret = fc.uint8Array({ minLength: 4, maxLength: 256 }).map((bytes) => Buffer.from(bytes))
const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff })

/** As many formats as values, or one, or none. */
const formatted = fc.array(value, { maxLength: 5 }).chain((values) =>
  fc.record({
    values: fc.constant(values),
    formats: fc.oneof(
      fc.constant<Format[]>([]),
      format.map((each) => [each]),
      fc.array(format, { minLength: values.length, maxLength: values.length }),
    ),
  }),
)

export const frontend: fc.Arbitrary<Frontend> = fc.oneof(
  fc.record({ type: fc.constant('query' as const), sql: text }),
  fc.record({
    type: fc.constant('parse' as const),
    statement: text,
    sql: text,
    parameterTypes: fc.array(oid, { maxLength: 4 }),
  }),
  fc
    .tuple(formatted, text, text, fc.array(format, { maxLength: 3 }))
    .map(([how, portal, statement, resultFormats]) => ({
      type: 'bind' as const,
      portal,
      statement,
      ...how,
      resultFormats,
    })),
  fc.record({
    type: fc.constantFrom('describe' as const, 'close' as const),
    what: fc.constantFrom('statement' as const, 'portal' as const),
    name: text,
  }),
  fc.record({ type: fc.constant('execute' as const), portal: text, maxRows: fc.nat(0x7fffffff) }),
  fc.record({ type: fc.constantFrom('flush' as const, 'sync' as const, 'terminate' as const, 'copy_done' as const) }),
  fc.record({ type: fc.constantFrom('copy_data' as const, 'password' as const), data }),
  fc.record({ type: fc.constant('copy_fail' as const), reason: text }),
  fc
    .tuple(formatted, oid, format)
    .map(([how, id, resultFormat]) => ({ type: 'function_call' as const, function: id, ...how, resultFormat })),
)

const plain = fc.constantFrom(
  'parse_complete' as const,
  'bind_complete' as const,
  'close_complete' as const,
  'empty_query' as const,
  'no_data' as const,
  'portal_suspended' as const,
  'copy_done' as const,
)
const report = fc
  .uniqueArray(fc.constantFrom('S', 'V', 'C', 'M', 'D', 'H', 'P', 's', 't', 'F', 'L', 'R'), { maxLength: 8 })
  .chain((letters) => fc.tuple(...letters.map((letter) => text.map((each) => [letter, each] as const))))
  .map((fields) => Object.fromEntries(fields))
const column = fc.record({
  name: text,
  table: oid,
  attribute: fc.nat(0xffff),
  dataType: oid,
  size: fc.integer({ min: -0x8000, max: 0x7fff }),
  modifier: int32,
  format,
})

export const backend: fc.Arbitrary<Backend> = fc.oneof(
  fc.record({
    type: fc.constant('authentication' as const),
    asks: fc.oneof(
      fc.record({ method: fc.constantFrom('ok', 'kerberos', 'cleartext', 'gss', 'sspi') }),
      fc.record({ method: fc.constant('md5' as const), salt: fc.constant(Buffer.from([1, 2, 3, 4])) }),
      fc.record({ method: fc.constantFrom('gss_continue', 'sasl_continue', 'sasl_final'), data }),
      fc.record({
        method: fc.constant('sasl' as const),
        mechanisms: fc.array(
          text.filter((each) => each !== ''),
          { maxLength: 3 },
        ),
      }),
    ) as fc.Arbitrary<Extract<Backend, { type: 'authentication' }>['asks']>,
  }),
  fc.record({ type: fc.constant('backend_key' as const), processId: int32, secret }),
  fc.record({ type: plain }),
  fc.record({ type: fc.constant('command_complete' as const), tag: text }),
  fc.record({ type: fc.constant('copy_data' as const), data }),
  fc.tuple(fc.constantFrom('copy_in' as const, 'copy_out' as const, 'copy_both' as const), fc.nat(4)).chain(
    ([type, count]): fc.Arbitrary<Backend> =>
      fc.oneof(
        fc.constant({ type, format: 'text' as const, columns: Array.from({ length: count }, () => 'text' as const) }),
        fc.array(format, { maxLength: 4 }).map((columns) => ({ type, format: 'binary' as const, columns })),
      ),
  ),
  fc.record({ type: fc.constant('data_row' as const), values: fc.array(value, { maxLength: 5 }) }),
  fc.record({ type: fc.constantFrom('error' as const, 'notice' as const), report }),
  fc.record({ type: fc.constant('function_result' as const), value }),
  fc.record({
    type: fc.constant('negotiate_version' as const),
    version: fc.nat(0x7fffffff),
    unknown: fc.array(text, { maxLength: 3 }),
  }),
  fc.record({ type: fc.constant('notification' as const), processId: int32, channel: text, payload: text }),
  fc.record({ type: fc.constant('parameter_description' as const), types: fc.array(oid, { maxLength: 4 }) }),
  fc.record({ type: fc.constant('parameter_status' as const), name: text, value: text }),
  fc.record({ type: fc.constant('ready' as const), status: fc.constantFrom('I' as const, 'T' as const, 'E' as const) }),
  fc.record({ type: fc.constant('row_description' as const), columns: fc.array(column, { maxLength: 3 }) }),
)

export const opening: fc.Arbitrary<Opening> = fc.oneof(
  fc.record({ type: fc.constantFrom('ssl_request' as const, 'gss_request' as const) }),
  fc.record({ type: fc.constant('cancel' as const), processId: int32, secret }),
  fc
    .tuple(
      fc.nat(9999),
      fc.array(
        fc.tuple(
          text.filter((each) => each !== ''),
          text,
        ),
        { maxLength: 5 },
      ),
    )
    .map(([minor, pairs]) => ({ type: 'startup' as const, major: 3, minor, parameters: new Map(pairs) })),
)
