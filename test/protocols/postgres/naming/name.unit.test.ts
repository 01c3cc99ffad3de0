import { afterAll, describe, expect, it } from 'vitest'
import { statementFacts } from '../../../../src/protocols/postgres/naming/facts.ts'
import { createNamer } from '../../../../src/protocols/postgres/naming/namer.ts'
import type { Named, SessionView } from '../../../../src/protocols/postgres/naming/statement.ts'
import { actsOf, type Contents, sessionOf } from './session.ts'

const namer = createNamer()
afterAll(() => namer.stop())

const CONTENTS: Contents = {
  public: {
    relation: ['users', 'orders', 'audit', 'weird/name'],
    function: ['refund', 'dblink_exec'],
    operator: ['===>'],
    type: ['status'],
    row_function: ['leak'],
  },
  app: { relation: ['orders'] },
}

async function acts(sql: string, more: Partial<SessionView> = {}) {
  return actsOf(await namer.name(sql, sessionOf(more, CONTENTS)))
}

async function one(sql: string, more: Partial<SessionView> = {}): Promise<Named> {
  const names = await namer.name(sql, sessionOf(more, CONTENTS))
  if ('refused' in names) throw new Error(`${names.code} ${names.message}`)
  const [first] = names
  if (!first) throw new Error('no statement')
  return first
}

describe('what hides a statement in another', () => {
  it.each<[string, readonly (readonly string[])[]]>([
    ['SELECT 1; DROP TABLE users', [['select shop'], ['drop table public.users']]],
    ['COMMIT; DROP SCHEMA public CASCADE', [['commit shop'], ['drop schema public']]],
    ['WITH d AS (DELETE FROM users RETURNING *) SELECT * FROM d', [['select shop', 'delete public.users']]],
    ['EXPLAIN (ANALYZE) DELETE FROM users', [['explain shop', 'delete public.users']]],
    ["EXPLAIN (ANALYZE 'false', ANALYZE) DELETE FROM users", [['explain shop', 'delete public.users']]],
    ['EXPLAIN ANALYZE VERBOSE DELETE FROM users', [['explain shop', 'delete public.users']]],
    ['EXPLAIN (ANALYZE 0) DELETE FROM users', [['explain public.users']]],
    ['EXPLAIN DELETE FROM users WHERE refund(id)', [['explain public.users', 'call public.refund']]],
    [
      'PREPARE p AS DELETE FROM users; EXPLAIN ANALYZE EXECUTE p',
      [['prepare p'], ['explain shop', 'execute p', 'delete public.users']],
    ],
    ['DO $$ BEGIN DELETE FROM users; END $$', [['do plpgsql']]],
    ["DO LANGUAGE plpython3u 'x'", [['do plpython3u']]],
    ['CALL refund(1)', [['call public.refund']]],
    ['SELECT * INTO copy FROM users', [['select into public.copy', 'select public.users']]],
    ['SELECT * FROM users FOR UPDATE', [['select for update public.users', 'select public.users']]],
    ['SELECT * FROM (SELECT * FROM users) u FOR SHARE', [['select for share public.users', 'select public.users']]],
    ['COPY (DELETE FROM users RETURNING *) TO STDOUT', [['copy shop', 'delete public.users']]],
    ['COPY users TO STDOUT', [['copy public.users', 'select public.users']]],
    ["COPY users FROM PROGRAM 'id'", [['copy public.users', 'insert public.users', 'copy program id']]],
    ["COPY users TO '/etc/x'", [['copy public.users', 'select public.users', 'copy file U&"\\002Fetc\\002Fx"']]],
    ["SELECT lo_export(1, '/x')", [['select shop', 'call pg_catalog.lo_export']]],
    ["SELECT pg_read_file('/etc/passwd')", [['select shop', 'call pg_catalog.pg_read_file']]],
    ["SELECT dblink_exec('x', 'DROP TABLE users')", [['select shop', 'call public.dblink_exec']]],
    ["SELECT set_config('role', 'postgres', false)", [['select shop', 'call pg_catalog.set_config']]],
    ["SELECT query_to_xml('select * from users', true, false, '')", [['select shop', 'call pg_catalog.query_to_xml']]],
    ['SELECT pg_terminate_backend(1)', [['select shop', 'call pg_catalog.pg_terminate_backend']]],
    ['SELECT pg_advisory_lock(72707369)', [['select shop', 'call pg_catalog.pg_advisory_lock']]],
    ['SELECT 1 OPERATOR(evil.+) 2', [['select shop', 'call evil."+"']]],
    ['SELECT 1 ===> 2', [['select shop', 'call public."===>"']]],
    ["SELECT 'x'::status", [['select shop', 'use type public.status']]],
    ['SELECT u.leak FROM users u', [['select public.users', 'call public.leak']]],
    ['SELECT (u).leak FROM users u', [['select public.users', 'call public.leak']]],
    [
      'CREATE RULE r AS ON SELECT TO users DO INSTEAD SELECT * FROM audit',
      [['create rule public.users', 'select public.audit']],
    ],
    ['SELECT * FROM U&"\\0075sers"', [['select public.users']]],
    ['SELECT * FROM U&"!0075sers" UESCAPE \'!\'', [['select public.users']]],
    ['select * from "weird/name"', [['select public.U&"weird\\002Fname"']]],
    ['SELECT * FROM pg_authid', [['select pg_catalog.pg_authid']]],
    [
      'MERGE INTO orders USING users ON true WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)',
      [['merge public.orders', 'delete public.orders', 'insert public.orders', 'select public.users']],
    ],
    [
      'INSERT INTO orders SELECT * FROM users ON CONFLICT (id) DO UPDATE SET a = 1',
      [['insert public.orders', 'update public.orders', 'select public.users']],
    ],
    ['SELECT CURRENT_USER, EXTRACT(year FROM now()), COALESCE(1, 2), count(*)', [['select shop']]],
    ["SELECT * FROM xmltable('/r' PASSING (SELECT d FROM audit) COLUMNS a int)", [['select public.audit']]],
    ['TABLE users', [['select public.users']]],
    ['GRANT SELECT ON users TO PUBLIC', [['grant public.users']]],
    ['GRANT postgres TO app', [['grant role postgres']]],
    ['ALTER TABLE users RENAME TO orders', [['alter table public.users', 'alter table public.orders']]],
    ["ALTER SYSTEM SET archive_command = 'x'", [['alter system archive_command']]],
    ["CREATE FUNCTION f() RETURNS int LANGUAGE plperlu AS 'x'", [['create function public.f', 'use language plperlu']]],
    [
      'CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT * FROM t',
      [['create schema s', 'create table s.t', 'create view s.v', 'select s.t', 'select public.t']],
    ],
    ['TRUNCATE users, orders', [['truncate table public.users', 'truncate table public.orders']]],
    ['LOCK TABLE users IN ACCESS SHARE MODE', [['lock table public.users']]],
    ['VACUUM', [['vacuum shop']]],
    ['ANALYZE users', [['analyze public.users']]],
    ['LISTEN c', [['listen c']]],
    ['SET ROLE postgres', [['set role']]],
    ['DROP FUNCTION refund(int)', [['drop function public.refund']]],
    ['REASSIGN OWNED BY app TO postgres', [['reassign owned app', 'reassign owned postgres']]],
  ])('names %s as what it does', async (sql, expected) => {
    expect(await acts(sql)).toEqual(expected)
  })

  it('names what a prepared statement and a cursor do, when they are used', async () => {
    const expected = [
      ['prepare p'],
      ['execute p', 'delete public.users'],
      ['declare cursor c', 'select public.audit'],
      ['fetch c', 'select public.audit'],
      ['move c', 'select public.audit'],
    ]
    const sql = 'PREPARE p AS DELETE FROM users; EXECUTE p; DECLARE c CURSOR FOR TABLE audit; FETCH c; MOVE c'
    expect(await acts(sql)).toEqual(expected)
  })

  it.each([
    ['EXECUTE p', '26000'],
    ['FETCH c', '34000'],
    ['PREPARE p AS SELECT 1; DEALLOCATE p; EXECUTE p', '26000'],
    ['DECLARE c CURSOR FOR SELECT 1; CLOSE ALL; FETCH c', '34000'],
  ])('refuses %s: nobody knows what it would do', async (sql, code) => {
    expect(await acts(sql)).toBe(code)
  })

  it('names a statement that a message prepared, with the path of the moment it is executed', async () => {
    const prepared = await namer.prepare('SELECT * FROM orders')
    if (prepared === null || 'refused' in prepared) throw new Error('not prepared')
    const more = { prepared: new Map([['s1', prepared]]) }
    expect(await acts('EXECUTE s1', more)).toEqual([['execute s1', 'select public.orders']])
    expect(await acts('EXECUTE s1', { ...more, searchPath: ['pg_catalog', 'app'] })).toEqual([
      ['execute s1', 'select app.orders'],
    ])
  })

  it('refuses a prepared statement that executes itself', async () => {
    const prepared = await namer.prepare('EXECUTE s1')
    if (prepared === null || 'refused' in prepared) throw new Error('not prepared')
    expect(await acts('EXECUTE s1', { prepared: new Map([['s1', prepared]]) })).toBe('54001')
  })
})

describe('a name of a WITH', () => {
  it.each<[string, readonly string[]]>([
    ['WITH users AS (SELECT 1) SELECT * FROM users', ['select shop']],
    ['WITH users AS (SELECT * FROM users) SELECT * FROM users', ['select public.users']],
    ['WITH RECURSIVE users AS (SELECT * FROM users) SELECT * FROM users', ['select shop']],
    ['WITH a AS (SELECT * FROM orders), orders AS (SELECT 1) SELECT * FROM a', ['select public.orders']],
    ['WITH users AS (SELECT 1) SELECT * FROM public.users', ['select public.users']],
    ['WITH users AS (SELECT 1) DELETE FROM users', ['delete public.users']],
    ['WITH users AS (SELECT 1) INSERT INTO orders SELECT * FROM users', ['insert public.orders']],
    ['SELECT (WITH users AS (SELECT 1) SELECT * FROM users), (SELECT a FROM users)', ['select public.users']],
    ['WITH a AS (WITH users AS (SELECT 1) SELECT * FROM users) SELECT * FROM users', ['select public.users']],
    ['WITH users AS (SELECT 1) SELECT * FROM orders WHERE id IN (SELECT * FROM users)', ['select public.orders']],
  ])('stands for its query only where it is known: %s', async (sql, expected) => {
    expect(await acts(sql)).toEqual([expected])
  })
})

describe('the facts of a statement', () => {
  it.each<[string, boolean]>([
    ['DELETE FROM users', false],
    ['DELETE FROM users WHERE true', false],
    ['DELETE FROM users WHERE 1 = 1', false],
    ['DELETE FROM users WHERE $1', false],
    ['DELETE FROM users WHERE id = id', false],
    ['DELETE FROM users WHERE id = 1 OR true', false],
    ['DELETE FROM users WHERE NOT false', false],
    ['DELETE FROM users WHERE id = 1 AND true', true],
    ['DELETE FROM users WHERE id = $1', true],
    ['DELETE FROM users WHERE CURRENT OF c', true],
    ['MERGE INTO users USING orders o ON true WHEN MATCHED THEN DELETE', false],
    [
      'WITH d AS (DELETE FROM orders WHERE id = 1) MERGE INTO users USING orders o ON true WHEN MATCHED THEN DELETE',
      false,
    ],
    [
      'WITH d AS (DELETE FROM orders WHERE id = 1) INSERT INTO users SELECT 1 ON CONFLICT (id) DO UPDATE SET id = 2',
      false,
    ],
    ['WITH d AS (DELETE FROM orders WHERE id = 1) INSERT INTO users SELECT 1', true],
    ['WITH d AS (DELETE FROM users) DELETE FROM orders WHERE id = 1', false],
    ['SELECT * FROM users WHERE id = 1', true],
    ['SELECT * FROM users', false],
  ])('say whether a condition limits it: %s', async (sql, has_where) => {
    expect((await one(sql)).facts.has_where).toBe(has_where)
  })

  it.each<[string, boolean]>([
    ['SELECT * FROM users', false],
    ['SELECT refund(1)', true],
    ['SELECT * FROM users FOR UPDATE', true],
    ['COPY users TO STDOUT', false],
    ['COPY users FROM STDIN', true],
    ["COPY (SELECT 1) TO PROGRAM 'x'", true],
    ['EXPLAIN DELETE FROM users', false],
    ['EXPLAIN ANALYZE DELETE FROM users', true],
    ['PREPARE p AS DELETE FROM users', false],
    ['LOCK TABLE users IN ACCESS SHARE MODE', false],
    ['LOCK TABLE users', true],
    ['SELECT 1 INTO n', true],
    ['BEGIN', false],
    ['NOTIFY c', true],
    ["DO 'x'", true],
    ["SELECT nextval('s')", true],
  ])('say whether it may change anything: %s', async (sql, writes) => {
    expect((await one(sql)).facts.writes).toBe(writes)
  })

  it.each<[string, readonly string[]]>([
    ['SELECT id, u.name FROM users u', ['id', 'name']],
    ['SELECT * FROM users', ['*']],
    ['SELECT u FROM users u', ['*']],
    ['SELECT users FROM users', ['*']],
    ['SELECT (u).* FROM users u', ['*']],
    ['SELECT to_json(u) FROM users u', ['*']],
    ['INSERT INTO users (a, b) VALUES (1, 2)', ['a', 'b']],
    ['UPDATE users SET a = b RETURNING c', ['a', 'b', 'c']],
    ['COPY users (a) TO STDOUT', ['a']],
    ['COPY users TO STDOUT', ['*']],
    ['GRANT SELECT (a) ON users TO app', ['a']],
    ['SELECT 1 FROM users JOIN orders USING (id)', ['id']],
    ['SELECT 1 FROM users NATURAL JOIN orders', ['*']],
  ])('list the columns it states: %s', async (sql, columns) => {
    expect((await one(sql)).facts.columns).toEqual(columns)
  })

  it('are those of everything in it', async () => {
    const { facts } = await one(
      'SELECT lower(a), refund(b) FROM users, app.orders, pg_shadow WHERE c IN (SELECT d FROM information_schema.tables)',
      { inTransaction: true },
    )
    expect(facts).toMatchObject({
      tables: ['app.orders', 'information_schema.tables', 'pg_catalog.pg_shadow', 'public.users'],
      schemas: ['app', 'information_schema', 'pg_catalog', 'public'],
      functions: ['pg_catalog.lower', 'public.refund'],
      secrets: ['pg_catalog.pg_shadow'],
      in_transaction: true,
      is_ddl: false,
      application_name: 'psql',
      database: 'shop',
      user: 'app',
    })
  })

  it('name programs, files, languages and roles', async () => {
    expect((await one("COPY users FROM PROGRAM 'curl x'")).facts.copy_program).toBe('curl x')
    expect((await one("COPY users TO '/tmp/x'")).facts.files).toEqual(['/tmp/x'])
    expect((await one("LOAD 'auto_explain'")).facts.files).toEqual(['auto_explain'])
    expect((await one("DO LANGUAGE plperlu 'x'")).facts.languages).toEqual(['plperlu'])
    expect((await one('GRANT a TO b')).facts.roles).toEqual(['a', 'b'])
    expect((await one('SET ROLE postgres')).facts.roles).toEqual(['postgres'])
    expect((await one('ALTER TABLE users OWNER TO bob')).facts.roles).toEqual(['bob'])
  })

  it('are those that policy is checked against', async () => {
    const { rows, ...told } = statementFacts
    expect(rows.need).toBe('rows')
    expect(Object.keys((await one('SELECT 1')).facts).sort()).toEqual(Object.keys(told).sort())
  })

  it('say what is a definition', async () => {
    expect((await one('CREATE TABLE n AS SELECT 1')).facts.is_ddl).toBe(true)
    expect((await one('REVOKE ALL ON users FROM app')).facts.is_ddl).toBe(true)
    expect((await one('SELECT 1 INTO n')).facts.is_ddl).toBe(true)
    expect((await one('DELETE FROM users')).facts.is_ddl).toBe(false)
  })
})

describe('the place and the comment of a statement', () => {
  it('are found in bytes, without what is around it', async () => {
    const names = await namer.name("SELECT 'ä' ;  SELECT 2 ", sessionOf())
    if ('refused' in names) throw new Error(names.message)
    expect(names.map(({ text }) => text)).toEqual(["SELECT 'ä'", 'SELECT 2'])
    const bytes = Buffer.from("SELECT 'ä' ;  SELECT 2 ")
    const cut = names.map(({ location }) =>
      bytes.toString('utf8', location.start, location.start + location.bytes).trim(),
    )
    expect(cut).toEqual(["SELECT 'ä'", 'SELECT 2'])
  })

  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

  it.each([
    [`SELECT 1 /*route='%2Fpolls%201',traceparent='${trace}'*/`, { route: '/polls 1', traceparent: trace }, trace],
    [`SELECT 1; /*traceparent='${trace}'*/`, { traceparent: trace }, trace],
    [`/*a='b'*/ SELECT 1`, { a: 'b' }, undefined],
    [`SELECT 1 /*a='it\\'s'*/`, { a: "it's" }, undefined],
    [`SELECT 1 /*traceparent='nonsense'*/`, { traceparent: 'nonsense' }, undefined],
    [`SELECT 1 /*a='%zz',__proto__='x',b=c*/`, { ['__proto__']: 'x' }, undefined],
    ['SELECT 1 /* plain */', {}, undefined],
    ['SELECT 1', {}, undefined],
  ])('carry what the agent claims: %s', async (sql, tags, expected) => {
    const { claimed } = await one(sql)
    expect(Object.entries(claimed.tags)).toEqual(Object.entries(tags))
    expect(claimed.trace).toBe(expected)
  })
})
