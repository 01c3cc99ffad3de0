import type { Relay } from './relay.ts'
import type { Catalog, NameKind } from './statement.ts'

/** Everything by its full name: the client's search_path is in force. */
const PATH = 'SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(true)), current_user'

/** The schemas that names are looked for in, in their order, and the role whose rights are in force; null if the upstream cannot be asked. */
export async function askPath(relay: Pick<Relay, 'ask'>): Promise<{ schemas: readonly string[]; role: string } | null> {
  const rows = await relay.ask(PATH, [])
  const [schemas, role] = rows?.[0] ?? []
  if (typeof schemas !== 'string') return null
  // What array_to_json makes of names.
  return { schemas: JSON.parse(schemas) as string[], role: role ?? '' }
}

const MATCHES: Readonly<Record<NameKind, string>> = {
  relation: 'SELECT relnamespace AS n, relname AS name FROM pg_catalog.pg_class',
  function: 'SELECT pronamespace AS n, proname AS name FROM pg_catalog.pg_proc',
  operator: 'SELECT oprnamespace AS n, oprname AS name FROM pg_catalog.pg_operator',
  type: 'SELECT typnamespace AS n, typname AS name FROM pg_catalog.pg_type',
  row_function: `SELECT p.pronamespace AS n, p.proname AS name FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
    WHERE p.pronargs OPERATOR(pg_catalog.=) 1 AND t.typtype OPERATOR(pg_catalog.=) ANY ('{c,p}'::pg_catalog."char"[])`,
}

const EQUALS = 'OPERATOR(pg_catalog.=)'

/** One SELECT a kind, so that each can use the index on its catalog; those alone that are wanted, for it is planned anew each time. */
function queryFor(kinds: readonly NameKind[]): string {
  return kinds
    .map(
      (kind, index) => `SELECT '${kind}'::pg_catalog.text, m.name::pg_catalog.text, s.nspname::pg_catalog.text
  FROM (${MATCHES[kind]}) m JOIN pg_catalog.pg_namespace s ON s.oid ${EQUALS} m.n
  WHERE m.name ${EQUALS} ANY ($${index + 2}::pg_catalog.name[])
    AND s.nspname ${EQUALS} ANY ($1::pg_catalog.name[])`,
    )
    .join('\nUNION\n')
}

/** The upstream's catalog, asked on the session's own connection: with its rights, in its transaction. */
export function askCatalog(relay: Pick<Relay, 'ask'>): Catalog {
  return {
    async holders(wanted, schemas) {
      const byKind = Map.groupBy(wanted, ({ kind }) => kind)
      const names = [...byKind.values()].map((some) => arrayOf(some.map(({ name }) => name)))
      const rows = await relay.ask(queryFor([...byKind.keys()]), [arrayOf(schemas), ...names])
      if (rows === null) throw new Error('the catalog of the upstream cannot be asked')
      const found = new Map<string, string[]>()
      for (const [kind, name, schema] of rows) {
        const key = `${kind} ${name}`
        found.set(key, [...(found.get(key) ?? []), schema ?? ''])
      }
      return wanted.map(({ kind, name }) => found.get(`${kind} ${cutName(name)}`) ?? [])
    },
  }
}

const MAX_NAME_BYTES = 63

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
