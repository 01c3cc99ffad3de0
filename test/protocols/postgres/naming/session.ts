import {
  type Catalog,
  isUnnamed,
  type Named,
  type NameKind,
  type SessionView,
  type Unnamed,
} from '../../../../src/protocols/postgres/naming/statement.ts'
import { VETTED } from '../../../../src/protocols/postgres/naming/vetted.ts'

/** What each schema holds, by kind. */
export type Contents = Readonly<Record<string, Partial<Record<NameKind, readonly string[]>>>>

/** A catalog of plain data, over the server's own functions, operators and types. */
export function catalogOf(contents: Contents): Catalog {
  const holds = (schema: string, kind: NameKind, name: string): boolean => {
    if (contents[schema]?.[kind]?.includes(name)) return true
    if (schema !== 'pg_catalog') return false
    if (kind === 'function') return VETTED.has(name) || OTHERS.has(name)
    if (kind === 'operator') return true
    if (kind === 'type') return TYPES.has(name)
    return kind === 'relation' && name.startsWith('pg_')
  }
  return {
    holders: async (wanted, schemas) =>
      wanted.map(({ kind, name }) => schemas.filter((schema) => holds(schema, kind, name))),
  }
}

const OTHERS = new Set(
  'set_config nextval query_to_xml pg_read_file lo_export pg_terminate_backend pg_advisory_lock'.split(' '),
)
const TYPES = new Set('text date regclass name oid jsonb'.split(' '))

export function sessionOf(more: Partial<SessionView> = {}, contents: Contents = {}): SessionView {
  return {
    user: 'app',
    database: 'shop',
    applicationName: 'psql',
    clientEncoding: 'UTF8',
    serverEncoding: 'UTF8',
    standardConformingStrings: true,
    searchPath: ['pg_catalog', 'public'],
    inTransaction: false,
    prepared: new Map(),
    cursors: new Map(),
    hasCertainNames: true,
    shadows: new Set(),
    hasLocalPath: false,
    catalog: catalogOf(contents),
    ...more,
  }
}

/** What statements do, as "verb resource"; or the SQLSTATE they are refused with. */
export function actsOf(names: readonly Named[] | Unnamed): readonly (readonly string[])[] | string {
  if (isUnnamed(names)) return names.code
  return names.map(({ acts }) => acts.map(({ verb, resource }) => `${verb} ${resource}`))
}
