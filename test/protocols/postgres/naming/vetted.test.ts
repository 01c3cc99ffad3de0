import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { DERIVATION, DERIVATION_VALUES } from '../../../../scripts/vetted-functions.ts'
import { natureOf, SECRET } from '../../../../src/protocols/postgres/naming/secret.ts'
import { VETTED } from '../../../../src/protocols/postgres/naming/vetted.ts'

let client: pg.Client
beforeAll(async () => {
  client = new pg.Client({ connectionString: inject('cluster').adminUrl })
  await client.connect()
})
afterAll(() => client.end())

async function names(sql: string, values: readonly unknown[] = []): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(sql, [...values])
  return rows.map(({ name }) => name)
}

describe('the vetted functions', () => {
  it('are those that the server’s own catalog derives', async () => {
    expect([...VETTED]).toEqual(await names(DERIVATION, DERIVATION_VALUES))
  })

  it.each(
    `pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file lo_import lo_export lo_get lo_put loread query_to_xml
     table_to_xml schema_to_xml database_to_xml cursor_to_xml ts_stat ts_rewrite set_config nextval setval currval
     pg_terminate_backend pg_cancel_backend pg_reload_conf pg_rotate_logfile pg_advisory_lock pg_try_advisory_xact_lock
     pg_sleep pg_notify pg_switch_wal pg_create_restore_point pg_promote pg_export_snapshot txid_current setseed
     pg_current_xact_id pg_logical_emit_message pg_replication_origin_create pg_stat_reset pg_stat_get_activity
     pg_hba_file_rules pg_show_all_file_settings pg_input_is_valid record_in domain_in binary_upgrade_set_next_pg_type_oid
     fmgr_sql_validator pg_import_system_collations brin_summarize_range gin_clean_pending_list`.split(/\s+/),
  )('do not have %s', (name) => {
    expect(VETTED.has(name)).toBe(false)
  })

  it.each(
    `now count lower to_char jsonb_build_object generate_series format_type pg_get_viewdef pg_options_to_table
     pg_partition_ancestors pg_partition_tree`.split(/\s+/),
  )('have %s', (name) => {
    expect(VETTED.has(name)).toBe(true)
  })

  it('are what every operator of the server calls', async () => {
    const called = await names(
      `SELECT DISTINCT p.proname AS name FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
        WHERE o.oprnamespace = 'pg_catalog'::regnamespace ORDER BY 1`,
    )
    expect(called.length).toBeGreaterThan(100)
    expect(called.filter((name) => !VETTED.has(name))).toEqual([])
  })

  it('are what every cast of the server calls', async () => {
    const called = await names(
      'SELECT DISTINCT p.proname AS name FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc ORDER BY 1',
    )
    expect(called.filter((name) => !VETTED.has(name))).toEqual([])
  })

  it('leave two that take one row and could be called as its field: the catalog is asked for those', async () => {
    const called = await names(
      `SELECT p.proname AS name FROM pg_proc p JOIN pg_type t ON t.oid = p.proargtypes[0]
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.pronargs = 1 AND p.prokind = 'f'
          AND (t.typtype = 'c' OR t.typname IN ('record', 'anyelement', 'any', 'anycompatible')) ORDER BY 1`,
    )
    const others = called.filter((name) => !VETTED.has(name))
    expect(others).toEqual(['pg_restore_attribute_stats', 'pg_restore_relation_stats'])
  })
})

describe('the relations of the catalog', () => {
  it('begin with pg_, all of them', async () => {
    const others = `SELECT relname AS name FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relname NOT LIKE 'pg\\_%'`
    expect(await names(others)).toEqual([])
  })

  it('that hold passwords, keys of other rows, or other sessions’ words are secret', async () => {
    const hidden = await names(
      `SELECT DISTINCT c.relname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
          AND a.attname ~ '(passw|umoptions|srvoptions|conninfo|stavalues|stxdmcv|most_common|most_common_vals|^data$|^query$)'
        ORDER BY 1`,
    )
    expect(hidden.length).toBeGreaterThan(5)
    // Their passwords are eight asterisks.
    expect(hidden.filter((name) => !SECRET.has(name))).toEqual(['pg_roles', 'pg_user'])
    for (const name of ['pg_authid', 'pg_user_mapping', 'pg_largeobject']) expect(SECRET.has(name)).toBe(true)
  })

  it('that are secret are there', async () => {
    const known = new Set(
      await names(`SELECT relname AS name FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace`),
    )
    expect([...SECRET].filter((name) => !known.has(name))).toEqual([])
  })

  it('are told from others by their schema', () => {
    expect(natureOf('public', 'pg_authid')).toBe('user')
    // An extension is made where somebody likes, and in public if nobody says.
    expect(natureOf('public', 'pg_stat_statements')).toBe('secret')
    expect(natureOf('pg_catalog', 'pg_class')).toBe('catalog')
    expect(natureOf('information_schema', 'tables')).toBe('catalog')
    expect(natureOf('information_schema', 'user_mapping_options')).toBe('secret')
    expect(natureOf('pg_toast', 'pg_toast_1260')).toBe('secret')
  })
})
