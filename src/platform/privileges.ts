import { GatewayError } from '../domain/error.ts'
import type { Database } from './database.ts'
import { ROLES } from './migrations.ts'

/** Roles that come with Postgres and let their members write any table, or reach the machine's files and programs. */
const TOO_POWERFUL = ['pg_write_all_data', 'pg_write_server_files', 'pg_read_server_files', 'pg_execute_server_program']

interface Standing {
  readonly login: string
  readonly attributes: readonly string[]
  readonly isOwner: boolean
  readonly powerful: readonly string[]
  readonly ownsDatabase: boolean
  readonly owned: readonly string[]
  readonly writable: readonly string[]
  readonly mayDisableTriggers: boolean
}

/**
 * What the login can do itself, or as any role it could become: membership counts whether it is inherited, can be
 * taken on with SET ROLE, or can be granted to itself.
 */
const STANDING = `
  WITH RECURSIVE reachable AS (
    SELECT * FROM pg_roles WHERE rolname IN (session_user, current_user) OR pg_has_role(session_user, oid, 'MEMBER')
  ), audit AS (
    SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'countersign' AND c.relname LIKE 'audit\\_%' AND c.relkind IN ('r', 'p', 'v')
    UNION
    SELECT c.oid, c.relname FROM audit JOIN pg_inherits i ON i.inhparent = audit.oid JOIN pg_class c ON c.oid = i.inhrelid
  )
  SELECT session_user AS login,
    array_remove(ARRAY[
      CASE WHEN (SELECT bool_or(rolsuper) FROM reachable) THEN 'SUPERUSER' END,
      CASE WHEN (SELECT bool_or(rolbypassrls) FROM reachable) THEN 'BYPASSRLS' END,
      CASE WHEN (SELECT bool_or(rolreplication) FROM reachable) THEN 'REPLICATION' END,
      CASE WHEN (SELECT bool_or(rolcreaterole) FROM reachable) THEN 'CREATEROLE' END
    ], NULL) AS attributes,
    EXISTS (SELECT FROM reachable WHERE rolname = $1) AS "isOwner",
    ARRAY(SELECT rolname::text FROM reachable WHERE rolname = ANY ($2) ORDER BY 1) AS powerful,
    EXISTS (SELECT FROM pg_database d JOIN reachable r ON r.oid = d.datdba WHERE datname = current_database()) AS "ownsDatabase",
    ARRAY(SELECT relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN reachable r ON r.oid = c.relowner WHERE n.nspname = 'countersign' ORDER BY 1 LIMIT 5) AS owned,
    ARRAY(SELECT DISTINCT relname::text FROM audit, reachable
      WHERE has_table_privilege(reachable.oid, audit.oid, 'DELETE, TRUNCATE, TRIGGER')
        OR has_any_column_privilege(reachable.oid, audit.oid, 'INSERT, UPDATE') ORDER BY 1) AS writable,
    EXISTS (SELECT FROM reachable WHERE has_parameter_privilege(oid, 'session_replication_role', 'SET'))
      AS "mayDisableTriggers"`

/**
 * Refuses to serve with a login that could rewrite the audit log, or make itself one that can.
 * @throws GatewayError `config` with all that is wrong, on one line
 */
export async function assertLeastPrivilege(database: Database): Promise<void> {
  const { rows } = await database.query<Standing>(STANDING, [ROLES.owner, TOO_POWERFUL])
  const standing = rows[0]
  if (!standing) throw new GatewayError('store', 'the store does not say what its login may do')
  const faults = faultsOf(standing)
  if (faults.length === 0) return
  const advice = `use a login of its own that is only a member of ${ROLES.gateway}`
  throw new GatewayError('config', `the login of store.url, ${standing.login}, ${faults.join(', and ')}: ${advice}`)
}

function faultsOf(standing: Standing): readonly string[] {
  const { attributes, powerful, owned, writable } = standing
  // A superuser is everything else as well: that one word says it all.
  if (attributes.includes('SUPERUSER')) return ['is a superuser, or can become one']
  const faults: string[] = []
  if (attributes.length > 0) faults.push(`has or can take on ${attributes.join(', ')}`)
  if (standing.isOwner) faults.push(`is ${ROLES.owner} or a member of it`)
  if (powerful.length > 0) faults.push(`is a member of ${powerful.join(', ')}`)
  if (standing.ownsDatabase) faults.push('owns the database')
  if (owned.length > 0) faults.push(`owns ${owned.join(', ')}`)
  if (writable.length > 0) faults.push(`may write ${writable.join(', ')}`)
  if (standing.mayDisableTriggers) faults.push('may set session_replication_role')
  return faults
}
