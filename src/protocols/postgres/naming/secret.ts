/**
 * Relations of pg_catalog whose rows are secrets, or may hold them: passwords of roles, of user mappings and
 * subscriptions, authentication rules, samples of other tables' rows, the bytes of large objects, other sessions'
 * statements, files of the configuration. They are named like any other, and marked.
 */
export const SECRET: ReadonlySet<string> = new Set([
  'pg_authid',
  'pg_shadow',
  'pg_user_mapping',
  'pg_user_mappings',
  'pg_subscription',
  'pg_foreign_server',
  'pg_largeobject',
  'pg_statistic',
  'pg_statistic_ext_data',
  'pg_stats',
  'pg_stats_ext',
  'pg_stats_ext_exprs',
  'pg_hba_file_rules',
  'pg_ident_file_mappings',
  'pg_file_settings',
  'pg_db_role_setting',
  'pg_stat_activity',
  'pg_stat_replication',
  'pg_stat_wal_receiver',
  'pg_prepared_xacts',
])

/** Of an extension, in whatever schema it was made: other sessions' statements, with passwords that they set. */
const SECRET_ANYWHERE: ReadonlySet<string> = new Set(['pg_stat_statements'])

/** Of information_schema: options may hold passwords. */
const SECRET_INFORMATION: ReadonlySet<string> = new Set([
  'user_mapping_options',
  '_pg_user_mappings',
  'foreign_server_options',
  '_pg_foreign_servers',
])

/** What reading a relation means, by its name alone. */
export function natureOf(schema: string, name: string): 'user' | 'catalog' | 'secret' {
  if (SECRET_ANYWHERE.has(name)) return 'secret'
  if (schema === 'pg_catalog') return SECRET.has(name) ? 'secret' : 'catalog'
  if (schema === 'information_schema') return SECRET_INFORMATION.has(name) ? 'secret' : 'catalog'
  // The out-of-line values of other relations, the catalog's among them.
  if (schema.startsWith('pg_toast')) return 'secret'
  return 'user'
}
