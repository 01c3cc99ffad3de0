import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { startEmbedded } from '../src/platform/embedded.ts'
import { createLogger } from '../src/platform/logger.ts'

/*
 * The functions of pg_catalog that only read, derived from the pg_proc of the embedded server.
 * `node scripts/vetted-functions.ts` prints the file, `--write` writes it.
 */

const FILE = fileURLToPath(new URL('../src/protocols/postgres/naming/vetted.ts', import.meta.url))

/** Volatile for what they return, not for what they do: random numbers, the clock, sizes, partitions, ways to sample. */
const HARMLESS = `random random_normal clock_timestamp timeofday gen_random_uuid uuidv4 uuidv7 bernoulli system
  pg_is_in_recovery pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size
  pg_tablespace_size pg_partition_ancestors pg_partition_tree`

/**
 * Marked stable or immutable, and yet they run queries that are given as text, read whole tables, schemas or files by
 * name, show what other sessions run, or call the input function of any type by its OID or name.
 */
const DOUBTFUL = `query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema
  table_to_xml table_to_xmlschema table_to_xml_and_xmlschema schema_to_xml schema_to_xmlschema
  schema_to_xml_and_xmlschema database_to_xml database_to_xmlschema database_to_xml_and_xmlschema ts_stat ts_rewrite
  pg_available_extensions pg_available_extension_versions pg_extension_update_paths pg_timezone_names
  pg_tablespace_location pg_show_all_file_settings pg_hba_file_rules pg_ident_file_mappings
  pg_stat_get_activity pg_stat_get_backend_activity pg_stat_get_wal_senders pg_stat_get_wal_receiver
  pg_stat_get_subscription pg_cursor pg_prepared_statement pg_prepared_xact pg_show_all_settings
  pg_input_is_valid pg_input_error_info record_in array_in domain_in range_in multirange_in enum_in anyenum_in
  satisfies_hash_partition fmgr_c_validator fmgr_internal_validator fmgr_sql_validator
  lo_get has_largeobject_privilege setseed pg_current_xact_id txid_current
  pg_tablespace_databases`

/** A name is vetted if every function of that name is: which one is called depends on types. */
export const DERIVATION = `
  SELECT p.proname AS name
    FROM pg_catalog.pg_proc p
   WHERE p.pronamespace = 'pg_catalog'::regnamespace
   GROUP BY p.proname
  HAVING p.proname = ANY (string_to_array($1, ' '))
      OR p.proname <> ALL (string_to_array($2, ' '))
     AND bool_and(
           p.provolatile IN ('i', 's')
           AND p.prokind IN ('f', 'a', 'w')
           AND NOT p.prosecdef
           AND p.prorettype NOT IN (SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typname IN ('internal', 'trigger',
             'event_trigger', 'language_handler', 'fdw_handler', 'index_am_handler', 'table_am_handler', 'tsm_handler'))
           AND NOT ('internal'::regtype = ANY (p.proargtypes::oid[]) AND p.prokind = 'f'))
   ORDER BY p.proname COLLATE "C"`

export const DERIVATION_VALUES = [HARMLESS, DOUBTFUL].map((names) => names.split(/\s+/).join(' '))

const HEAD = `/**
 * Functions of pg_catalog that only read: derived from the pg_proc of PostgreSQL 18 by scripts/vetted-functions.ts, which
 * says how. What is not here needs policy: in doubt a function is left out, and one that a newer server brings is too.
 */
`

if (import.meta.main) {
  const dataDir = await mkdtemp(join(tmpdir(), 'countersign-vetted-'))
  const cluster = await startEmbedded({ dataDir, log: createLogger({ level: 'warn' }) })
  const client = new pg.Client({ connectionString: cluster.adminUrl })
  try {
    await client.connect()
    const { rows } = await client.query<{ name: string }>(DERIVATION, DERIVATION_VALUES)
    const lines: string[] = []
    for (const { name } of rows) {
      const last = lines.at(-1)
      if (last !== undefined && last.length + name.length < 116) lines[lines.length - 1] = `${last} ${name}`
      else lines.push(`  ${name}`)
    }
    const names = `\`\n${lines.join('\n')}\n\``
    const file = `${HEAD}export const VETTED: ReadonlySet<string> = new Set(\n  ${names}.trim().split(/\\s+/),\n)\n`
    if (process.argv.includes('--write')) writeFileSync(FILE, file)
    else process.stdout.write(file)
  } finally {
    await client.end()
    await cluster.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
}
