import { MAX_NAME_BYTES } from '../naming/identifier.ts'
import type { Catalog, NameKind } from '../naming/statement.ts'
import type { Relay } from '../relay/relay.ts'

/** Everything by its full name: the client's search_path is in force. */
const SCHEMAS = 'pg_catalog.array_to_json(pg_catalog.current_schemas(true))'
/** The same text is another day, or another hour, under other ones; clients begin with any they like. */
export const TIME_SETTINGS = ['DateStyle', 'IntervalStyle', 'TimeZone'] as const
const SETTINGS = ['client_encoding', 'standard_conforming_strings', ...TIME_SETTINGS]
const SITUATION = `SELECT ${SCHEMAS}, current_user, ${SETTINGS.map((name) => `pg_catalog.current_setting('${name}')`)}`

/** How a session reads the next statement. */
export interface Situation {
  /** The schemas that names are looked for in, in their order. */
  readonly schemas: readonly string[]
  /** Whose rights are in force. */
  readonly role: string
  readonly clientEncoding: string
  readonly standardConformingStrings: boolean
  /** `TIME_SETTINGS`, by their names. */
  readonly times: ReadonlyMap<string, string>
}

/** Null if the upstream cannot be asked. */
export async function askSituation(relay: Pick<Relay, 'ask'>): Promise<Situation | null> {
  const rows = await relay.ask(SITUATION, [])
  const [schemas, role, encoding, strings, ...times] = rows?.[0] ?? []
  if (typeof schemas !== 'string') return null
  return {
    // What array_to_json makes of names.
    schemas: JSON.parse(schemas) as string[],
    role: role ?? '',
    clientEncoding: encoding ?? '',
    standardConformingStrings: strings === 'on',
    times: new Map(TIME_SETTINGS.map((name, index) => [name, times[index] ?? ''])),
  }
}

/** Types that users made and that check with code of theirs what a value is: domains, and those with an input of their own. */
const CHECKS = `t.typtype OPERATOR(pg_catalog.=) ANY ('{d,b}'::pg_catalog."char"[])
      AND t.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid`
const CHECKING_TYPES = `SELECT t.typnamespace, t.typname FROM pg_catalog.pg_type t WHERE ${CHECKS}`
const OF_ONE = '(p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults) OPERATOR(pg_catalog.<=) 1'

/**
 * With one argument, a type that is called like a function is a cast to it (PostgreSQL, 4.2.9), and `(x).name` is the same as
 * `name(x)`, whatever x is; `t.name` as well, where the rows of t are values.
 */
const MATCHES: Readonly<Record<NameKind, string>> = {
  relation: 'SELECT relnamespace AS n, relname AS name FROM pg_catalog.pg_class',
  function: `SELECT pronamespace AS n, proname AS name FROM pg_catalog.pg_proc
    UNION ALL ${CHECKING_TYPES}`,
  operator: 'SELECT oprnamespace AS n, oprname AS name FROM pg_catalog.pg_operator',
  type: 'SELECT typnamespace AS n, typname AS name FROM pg_catalog.pg_type',
  row_function: `SELECT p.pronamespace AS n, p.proname AS name FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
    WHERE ${OF_ONE}
      AND (p.provariadic OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
        OR t.typcategory OPERATOR(pg_catalog.=) ANY ('{C,P}'::pg_catalog."char"[]))
    UNION ALL SELECT typnamespace, typname FROM pg_catalog.pg_type
    WHERE typtype OPERATOR(pg_catalog.=) 'd' AND typcategory OPERATOR(pg_catalog.=) 'C'`,
  value_function: `SELECT p.pronamespace AS n, p.proname AS name FROM pg_catalog.pg_proc p
    WHERE p.pronargs OPERATOR(pg_catalog.>) 0 AND ${OF_ONE} UNION ALL ${CHECKING_TYPES}`,
}

const EQUALS = 'OPERATOR(pg_catalog.=)'
const NEW_TYPE = `pg_catalog.to_regtype(pg_catalog.format('%I.%I', s.nspname, m.name))::pg_catalog.oid`
const FUNCTION = `COALESCE(pg_catalog.to_regproc(pg_catalog.format('%I.%I', s.nspname, m.name))::pg_catalog.oid,
    CASE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid ${EQUALS} ${NEW_TYPE} AND NOT (${CHECKS}))
      THEN ${NEW_TYPE} END)`

/**
 * Finds a name as the server itself does, in the catalog of this moment: a transaction that keeps its snapshot may read an
 * older one. Null is also told of a function or an operator that there are several of.
 */
const FINDS: Readonly<Partial<Record<NameKind, string>>> = {
  relation: `pg_catalog.to_regclass(pg_catalog.format('%I.%I', s.nspname, m.name))`,
  function: FUNCTION,
  value_function: FUNCTION,
  operator: `pg_catalog.to_regoper(pg_catalog.format('%I.%s', s.nspname, m.name))`,
  type: NEW_TYPE,
}

/**
 * One SELECT a kind, so that each can use the index on its catalog; those alone that are wanted, for it is planned anew
 * each time.
 */
function queryFor(kinds: readonly NameKind[], isInTransaction: boolean): string {
  const found = kinds.flatMap((kind, index) => {
    const find = FINDS[kind]
    if (!isInTransaction || find === undefined) return []
    return `SELECT '${kind}', m.name::pg_catalog.text, s.nspname::pg_catalog.text
  FROM pg_catalog.unnest($${index + 2}::pg_catalog.name[]) AS m (name)
    CROSS JOIN pg_catalog.unnest($1::pg_catalog.name[]) AS s (nspname) WHERE ${find} IS NOT NULL`
  })
  return kinds
    .map(
      (kind, index) => `SELECT '${kind}'::pg_catalog.text, m.name::pg_catalog.text, s.nspname::pg_catalog.text
  FROM (${MATCHES[kind]}) m JOIN pg_catalog.pg_namespace s ON s.oid ${EQUALS} m.n
  WHERE m.name ${EQUALS} ANY ($${index + 2}::pg_catalog.name[])
    AND s.nspname ${EQUALS} ANY ($1::pg_catalog.name[])`,
    )
    .concat(found, `SELECT 'path', ${SCHEMAS}::pg_catalog.text, current_user::pg_catalog.text`)
    .join('\nUNION\n')
}

/**
 * The upstream's catalog, asked on the session's own connection: with its rights, in its transaction.
 *
 * @param isStill told with each answer what the path and the role are: code that nobody saw may have changed them
 */
export function askCatalog(
  relay: Pick<Relay, 'ask' | 'status' | 'isOpen'>,
  isStill: (situation: Pick<Situation, 'schemas' | 'role'>) => boolean,
): Catalog {
  return {
    async holders(wanted, schemas) {
      const byKind = Map.groupBy(wanted, ({ kind }) => kind)
      const names = [...byKind.values()].map((some) => arrayOf(some.map(({ name }) => name)))
      const query = queryFor([...byKind.keys()], relay.status !== 'I' || relay.isOpen)
      const rows = await relay.ask(query, [arrayOf(schemas), ...names])
      if (rows === null) throw new Error('the catalog of the upstream cannot be asked')
      const found = new Map<string, string[]>()
      for (const [kind, name, schema] of rows) {
        if (kind === 'path' && !isStill({ schemas: JSON.parse(name ?? '[]') as string[], role: schema ?? '' })) {
          throw new Error('the path is another one by now')
        }
        const key = `${kind} ${name}`
        found.set(key, [...(found.get(key) ?? []), schema ?? ''])
      }
      return wanted.map(({ kind, name }) => found.get(`${kind} ${cutName(name)}`) ?? [])
    },
  }
}

/** As a server cuts a name that is too long: after the last whole character. */
function cutName(name: string): string {
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return name
  let cut = ''
  for (const character of name) {
    if (Buffer.byteLength(cut + character) > MAX_NAME_BYTES) break
    cut += character
  }
  return cut
}

/** An array as SQL writes it. */
export function arrayOf(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${cutName(text).replace(/["\\]/g, '\\$&')}"`).join(',')}}`
}
