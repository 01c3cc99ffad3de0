import type { Relay } from '../relay/relay.ts'

const BOOL = 16
const INT2 = 21
const INT4 = 23
const OID = 26
const JSON_TEXT = 114
const FLOAT4 = 700
const FLOAT8 = 701
const JSONB = 3802

/** Names of the usual types, by their numbers (PostgreSQL, pg_type.dat). */
const NAMES: ReadonlyMap<number, string> = new Map([
  [BOOL, 'bool'],
  [17, 'bytea'],
  [19, 'name'],
  [20, 'int8'],
  [INT2, 'int2'],
  [INT4, 'int4'],
  [25, 'text'],
  [OID, 'oid'],
  [JSON_TEXT, 'json'],
  [FLOAT4, 'float4'],
  [FLOAT8, 'float8'],
  [1042, 'bpchar'],
  [1043, 'varchar'],
  [1082, 'date'],
  [1083, 'time'],
  [1114, 'timestamp'],
  [1184, 'timestamptz'],
  [1186, 'interval'],
  [1700, 'numeric'],
  [2950, 'uuid'],
  [JSONB, 'jsonb'],
])

const ASK = `SELECT t.oid, pg_catalog.format_type(t.oid, NULL) FROM pg_catalog.pg_type t
  WHERE t.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])`

/** What types are called; those that are not usual, the upstream is asked for. */
export async function nameTypes(
  relay: Pick<Relay, 'ask'>,
  types: readonly number[],
): Promise<ReadonlyMap<number, string>> {
  const others = [...new Set(types)].filter((type) => !NAMES.has(type))
  if (others.length === 0) return NAMES
  const told = (await relay.ask(ASK, [`{${others.join(',')}}`])) ?? []
  return new Map([...NAMES, ...told.map(([oid, name]) => [Number(oid), name ?? ''] as const)])
}

/** A number as JSON writes it (RFC 8259, section 6), which is how the server writes all but those that are none. */
const NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?$/

/**
 * A value as JSON, by its type alone, so that a column is of one kind whatever it holds: numbers that a double holds are
 * numbers, JSON is itself, and all else is the server's text.
 */
export function jsonOf(text: string, type: number): string {
  switch (type) {
    case BOOL:
      return text === 't' ? 'true' : 'false'
    case INT2:
    case INT4:
    case OID:
    case FLOAT4:
    case FLOAT8:
      // NaN and the infinities are no numbers there.
      return NUMBER.test(text) ? text : JSON.stringify(text)
    case JSON_TEXT:
    case JSONB:
      return isJson(text) ? text : JSON.stringify(text)
    default:
      return JSON.stringify(text)
  }
}

/** It goes into the answer as it is: whatever the upstream says, it is one value and not the end of it. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
