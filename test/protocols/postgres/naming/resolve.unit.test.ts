import { afterAll, describe, expect, it } from 'vitest'
import { advance } from '../../../../src/protocols/postgres/naming/advance.ts'
import { createNamer } from '../../../../src/protocols/postgres/naming/namer.ts'
import type { SessionView, Wanted } from '../../../../src/protocols/postgres/naming/statement.ts'
import { actsOf, type Contents, sessionOf } from './session.ts'

const namer = createNamer()
afterAll(() => namer.stop())

const CONTENTS: Contents = {
  public: { relation: ['users'], function: ['lower'] },
  app: { relation: ['users', 'orders'], type: ['text'] },
  pg_temp_3: { relation: ['users'] },
}

async function acts(sql: string, more: Partial<SessionView> = {}, contents = CONTENTS) {
  return actsOf(await namer.name(sql, sessionOf(more, contents)))
}

/** The session after statements that were sent one at a time, with nothing asked in between. */
async function sessionAfter(sql: string, more: Partial<SessionView> = {}): Promise<SessionView> {
  let view = sessionOf(more, CONTENTS)
  const names = await namer.name(sql, view)
  if ('refused' in names) throw new Error(names.message)
  for (const statement of names) view = advance(view, statement)
  return view
}

describe('a name without a schema', () => {
  const path = ['pg_catalog', 'app', 'public']

  it('stands for every schema of the path that holds it, so that no order of schemas evades a rule', async () => {
    const both = [['delete app.users', 'delete public.users']]
    expect(await acts('DELETE FROM users', { searchPath: path })).toEqual(both)
    expect(await acts('DELETE FROM users', { searchPath: ['public', 'pg_catalog', 'app'] })).toEqual([
      ['delete public.users', 'delete app.users'],
    ])
    expect(await acts('DELETE FROM orders', { searchPath: path })).toEqual([['delete app.orders']])
  })

  it('stands for a temporary relation and for what that shadows', async () => {
    const searchPath = ['pg_temp_3', 'pg_catalog', 'public']
    expect(await acts('SELECT * FROM users', { searchPath })).toEqual([['select pg_temp.users', 'select public.users']])
    expect(await acts('SELECT * FROM pg_temp_3.users', { searchPath })).toEqual([['select pg_temp.users']])
    // Another session's.
    expect(await acts('DROP TABLE pg_temp_7.users', { searchPath })).toEqual([['drop table pg_temp_7.users']])
    expect(await acts('SELECT * FROM pg_temp.users', { searchPath })).toEqual([['select pg_temp.users']])
  })

  it('stands for every schema while nobody knows', async () => {
    const catalog = { holders: async (wanted: readonly Wanted[]) => wanted.map(() => 'any' as const) }
    expect(await acts('DELETE FROM users', { searchPath: path, catalog })).toEqual([
      ['delete app.users', 'delete public.users'],
    ])
    expect(await acts('SELECT lower(1)', { searchPath: path, catalog })).toEqual([
      ['select shop', 'call app.lower', 'call public.lower'],
    ])
  })

  it('stands for every schema if the catalog answers about others', async () => {
    const catalog = { holders: async (wanted: readonly Wanted[]) => wanted.map(() => ['elsewhere']) }
    expect(await acts('DELETE FROM users', { searchPath: path, catalog })).toEqual([
      ['delete app.users', 'delete public.users'],
    ])
  })

  it('stands for every schema while nothing has it', async () => {
    expect(await acts('DELETE FROM nothing', { searchPath: path })).toEqual([
      ['delete app.nothing', 'delete public.nothing'],
    ])
  })

  it('of a function is the server’s own only if no other schema has one', async () => {
    expect(await acts("SELECT lower('x')", { searchPath: path })).toEqual([['select shop', 'call public.lower']])
    expect(await acts("SELECT pg_catalog.lower('x')", { searchPath: path })).toEqual([['select shop']])
    expect(await acts("SELECT upper('x')", { searchPath: path })).toEqual([['select shop']])
  })

  it('of a field may be a function of its row, the server’s own among them', async () => {
    const contents: Contents = {
      pg_catalog: { row_function: ['pg_restore_relation_stats'] },
      app: { row_function: ['name'] },
    }
    const sql = 'SELECT u.name, u.pg_restore_relation_stats FROM public.users u'
    expect(await acts(sql, { searchPath: path }, contents)).toEqual([
      ['select public.users', 'call app.name', 'call pg_catalog.pg_restore_relation_stats'],
    ])
    expect(await acts(sql, { searchPath: path }, {})).toEqual([['select public.users']])
  })

  it('of a type is the server’s own only if no other schema has one', async () => {
    expect(await acts("SELECT 'x'::text", { searchPath: path })).toEqual([['select shop', 'use type app.text']])
    expect(await acts("SELECT 'x'::text")).toEqual([['select shop']])
  })

  it('that is new is in the first schema that is not the server’s or temporary', async () => {
    const searchPath = ['pg_temp_3', 'pg_catalog', 'app', 'public']
    expect(await acts('CREATE TABLE n (a int)', { searchPath })).toEqual([['create table app.n']])
    expect(await acts('CREATE TEMP TABLE n (a int)', { searchPath })).toEqual([['create table pg_temp.n']])
  })

  it('of a schema’s own statements is looked for there first', async () => {
    expect(await acts('CREATE SCHEMA s CREATE VIEW v AS SELECT * FROM users')).toEqual([
      ['create schema s', 'create view s.v', 'select s.users', 'select public.users'],
    ])
  })
})

describe('a statement behind others of its message', () => {
  const path = ['pg_catalog', 'app', 'public']

  it('meets what they made, wherever the path would look', async () => {
    expect(await acts('CREATE TEMP TABLE orders (a int); SELECT * FROM orders', { searchPath: path })).toEqual([
      ['create table pg_temp.orders'],
      ['select pg_temp.orders', 'select app.orders', 'select public.orders'],
    ])
    expect(await acts('ALTER TABLE users RENAME TO orders; DELETE FROM orders')).toEqual([
      ['alter table public.users', 'alter table public.orders'],
      ['delete pg_temp.orders', 'delete public.orders'],
    ])
    expect(await acts('DROP TABLE app.orders; SELECT * FROM orders', { searchPath: path })).toEqual([
      ['drop table app.orders'],
      ['select pg_temp.orders', 'select app.orders', 'select public.orders'],
    ])
  })

  it('meets a function they made', async () => {
    const sql = "CREATE FUNCTION upper(varchar) RETURNS text LANGUAGE sql AS ''; SELECT upper('x')"
    expect(await acts(sql)).toEqual([['create function public.upper'], ['select shop', 'call public.upper']])
    expect(await acts("ALTER FUNCTION app.f(int) RENAME TO upper; SELECT upper('x')")).toEqual([
      ['alter function app.f', 'alter function app.upper'],
      ['select shop', 'call public.upper'],
    ])
    expect(await acts("ALTER FUNCTION app.upper(int) SET SCHEMA public; SELECT upper('x')")).toEqual([
      ['alter function app.upper', 'alter function public'],
      ['select shop', 'call public.upper'],
    ])
    expect(await acts('ALTER EXTENSION x SET SCHEMA public; SELECT upper(1)')).toBe('0A000')
  })

  it('is in the transaction they opened', async () => {
    const names = await namer.name('BEGIN; SELECT 1; COMMIT; SELECT 1', sessionOf())
    if ('refused' in names) throw new Error(names.message)
    expect(names.map(({ facts }) => facts.in_transaction)).toEqual([false, true, true, false])
  })
})

describe('the session behind a statement', () => {
  it.each([
    'SET search_path = x',
    'SET LOCAL search_path = x',
    "SELECT set_config('search_path', 'x', true)",
    'SET ROLE x',
    'SET SESSION AUTHORIZATION x',
    'RESET search_path',
    'RESET ALL',
    'DISCARD ALL',
    "UPDATE pg_settings SET setting = 'x' WHERE name = 'search_path'",
    'CREATE SCHEMA x',
    'DROP SCHEMA x',
    'ALTER SCHEMA x RENAME TO y',
    "DO 'x'",
    'CALL public.x()',
    'SELECT public.x()',
    "SELECT set_config(a, 'x', false) FROM public.t",
    'CREATE EXTENSION x',
    'SELECT 1 OPERATOR(public.+) 1',
  ])('has an uncertain path after %s', async (sql) => {
    expect((await sessionAfter(sql)).searchPath).toBeNull()
  })

  it.each([
    'SET work_mem = 1',
    'SELECT 1',
    'DELETE FROM users',
    "SELECT nextval('q')",
    'SELECT pg_advisory_lock(1)',
    'ROLLBACK',
  ])('has a certain path after %s', async (sql) => {
    expect((await sessionAfter(sql)).searchPath).not.toBeNull()
  })

  it('has an uncertain path after a transaction that set it, also where it was asked for inside', async () => {
    const inside = { ...(await sessionAfter('BEGIN; SET LOCAL search_path = app')), searchPath: ['pg_catalog', 'app'] }
    for (const sql of ['COMMIT', 'ROLLBACK', 'ROLLBACK TO s']) {
      const names = await namer.name(sql, inside)
      if ('refused' in names || !names[0]) throw new Error('not named')
      expect(advance(inside, names[0]).searchPath, sql).toBeNull()
    }
  })

  it('knows what was prepared, declared, forgotten and closed', async () => {
    const view = await sessionAfter(
      'PREPARE p AS SELECT 1; DECLARE c CURSOR FOR SELECT 1; PREPARE q AS SELECT 1; DEALLOCATE q',
    )
    expect([...view.prepared.keys()]).toEqual(['p'])
    expect([...view.cursors.keys()]).toEqual(['c'])
    const empty = await sessionAfter('DISCARD ALL', view)
    expect([...empty.prepared.keys(), ...empty.cursors.keys()]).toEqual([])
    expect([...(await sessionAfter('DEALLOCATE ALL', view)).prepared.keys()]).toEqual([])
    const explained = await sessionAfter('EXPLAIN DECLARE c CURSOR FOR TABLE users', view)
    expect(explained.cursors.get('c')).toBe(view.cursors.get('c'))
    expect([...(await sessionAfter('CLOSE c', view)).cursors.keys()]).toEqual([])
  })
})
