import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { encodeMessage } from '../../../src/protocols/postgres/wire/fields.ts'
import { bind, close, connectSession, describeIt, execute, parse, query, type RawSession, sync } from './raw.ts'
import { startWorld, type World } from './world.ts'

/** What hides one thing behind another: each is judged as what it is, in both query protocols, on a real server. */
let world: World
const sessions: RawSession[] = []

beforeAll(async () => {
  world = await startWorld()
  await asAdmin(`CREATE TABLE users (id int); INSERT INTO users VALUES (1); CREATE TABLE secrets (id int);
    CREATE FUNCTION refund(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION loud(users) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION loud_by_default(users, int DEFAULT 0) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION loud_for_many(VARIADIC users[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE DOMAIN some_users AS users;
    CREATE FUNCTION loud_by_domain(some_users) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION check_it(int) RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE DOMAIN age AS int CHECK (check_it(VALUE));
    CREATE PROCEDURE sweep() LANGUAGE sql AS 'DELETE FROM users';
    CREATE TYPE status AS ENUM ('open');
    CREATE FUNCTION paid(int, int) RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR ===> (FUNCTION = paid, LEFTARG = int, RIGHTARG = int);
    CREATE SCHEMA evil; CREATE OPERATOR evil.+ (FUNCTION = paid, LEFTARG = int, RIGHTARG = int)`)
})
afterAll(() => world.close())
beforeEach(() => {
  world.calls.length = 0
  world.decide = () => 'deny'
})
afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  expect(await asAdmin('SELECT count(*)::int AS n FROM users')).toEqual([{ n: 1 }])
})

async function asAdmin(sql: string): Promise<unknown[]> {
  const admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  try {
    const { rows } = await admin.query(sql)
    return rows
  } finally {
    await admin.end()
  }
}

async function begin(): Promise<RawSession> {
  const session = await connectSession(world.port, { database: world.database })
  sessions.push(session)
  return session
}

const judged = () => world.calls.map(({ actions }) => actions?.map(({ verb, resource }) => `${verb} ${resource}`) ?? [])
const facts = () => world.calls.at(-1)?.actions?.[0]?.facts
const database = '(the database)'

/** By both protocols; what was judged has to be the same. */
async function tryBoth(sql: string): Promise<{ stories: string[][]; acts: string[][] }> {
  const stories: string[][] = []
  const session = await begin()
  session.send(query(sql))
  stories.push(await session.story())
  session.send(parse(sql), bind(), execute(), sync)
  stories.push(await session.story())
  return { stories, acts: judged().map((acts) => acts.map((act) => act.replace(world.database, database))) }
}

type Denied = [sql: string, acts: readonly string[], facts: Readonly<Record<string, unknown>>]

describe('is denied as what it is', () => {
  test.each<Denied>([
    ['SELECT 1; DROP TABLE users', [`select ${database}`, 'drop table public.users'], {}],
    ['COMMIT; DROP SCHEMA public CASCADE', [`commit ${database}`, 'drop schema public'], {}],
    [
      'WITH d AS (DELETE FROM users RETURNING *) SELECT * FROM d',
      [`select ${database}`, 'delete public.users'],
      { writes: true, has_where: false },
    ],
    ['EXPLAIN (ANALYZE) DELETE FROM users', [`explain ${database}`, 'delete public.users'], { writes: true }],
    ['DO $$ BEGIN DELETE FROM users; END $$', ['do plpgsql'], { writes: true, languages: ['plpgsql'] }],
    ['CALL sweep()', ['call public.sweep'], { writes: true, functions: ['public.sweep'] }],
    [
      'SELECT * INTO copied FROM users',
      ['select into public.copied', 'select public.users'],
      { is_ddl: true, writes: true },
    ],
    ['SELECT * FROM users FOR UPDATE', ['select for update public.users', 'select public.users'], { writes: true }],
    ['COPY (DELETE FROM users RETURNING *) TO STDOUT', [`copy ${database}`, 'delete public.users'], { writes: true }],
    [
      "COPY users FROM PROGRAM 'id'",
      ['copy public.users', 'insert public.users', 'copy program id'],
      { copy_program: 'id' },
    ],
    [
      "COPY users TO PROGRAM 'id'",
      ['copy public.users', 'select public.users', 'copy program id'],
      { copy_program: 'id', writes: true },
    ],
    [
      "COPY users TO '/tmp/x'",
      ['copy public.users', 'select public.users', 'copy file U&"\\002Ftmp\\002Fx"'],
      { files: ['/tmp/x'] },
    ],
    [
      "SELECT lo_export(1, '/tmp/x')",
      [`select ${database}`, 'call pg_catalog.lo_export'],
      { functions: ['pg_catalog.lo_export'], writes: true },
    ],
    ["SELECT pg_read_file('/etc/passwd')", [`select ${database}`, 'call pg_catalog.pg_read_file'], {}],
    ["SELECT dblink_exec('x', 'DROP TABLE users')", [`select ${database}`, 'call public.dblink_exec'], {}],
    ["SELECT set_config('role', 'postgres', false)", [`select ${database}`, 'call pg_catalog.set_config'], {}],
    [
      "SELECT query_to_xml('select * from secrets', true, false, '')",
      [`select ${database}`, 'call pg_catalog.query_to_xml'],
      {},
    ],
    ['SELECT pg_terminate_backend(1)', [`select ${database}`, 'call pg_catalog.pg_terminate_backend'], {}],
    ['CREATE TEMP TABLE users (id int)', ['create table pg_temp.users'], { is_ddl: true }],
    ['SET search_path = evil', ['set search_path'], {}],
    ['SET ROLE postgres', ['set role'], { roles: ['postgres'] }],
    ['SELECT 1 OPERATOR(evil.+) 2', [`select ${database}`, 'call evil."+"'], { writes: true }],
    ['SELECT 1 ===> 2', [`select ${database}`, 'call public."===>"'], {}],
    ["SELECT 'open'::status", [`select ${database}`, 'use type public.status'], {}],
    ['SELECT u.loud FROM users u', ['select public.users', 'call public.loud'], { writes: true }],
    ['SELECT (5).refund', [`select ${database}`, 'call public.refund'], { writes: true }],
    ['SELECT ($1::int).refund', [`select ${database}`, 'call public.refund'], { writes: true }],
    ['SELECT (u.id).refund FROM users u', ['select public.users', 'call public.refund'], { writes: true }],
    ['SELECT n.refund FROM generate_series(1, 2) n', [`select ${database}`, 'call public.refund'], { writes: true }],
    ["SELECT ('/etc/passwd').pg_read_file", [`select ${database}`, 'call pg_catalog.pg_read_file'], { writes: true }],
    ["SELECT ('5').age", [`select ${database}`, 'call public.age'], { writes: true }],
    ["SELECT age('5')", [`select ${database}`, 'call public.age'], { writes: true }],
    ['SELECT u.some_users FROM users u', ['select public.users', 'call public.some_users'], { writes: true }],
    ...['loud_by_default', 'loud_for_many', 'loud_by_domain'].map(
      (name): Denied => [
        `SELECT (u).${name} FROM users u`,
        ['select public.users', `call public.${name}`],
        { writes: true },
      ],
    ),
    [
      'CREATE RULE r AS ON INSERT TO secrets DO ALSO DELETE FROM users',
      ['create rule public.secrets', 'delete public.users'],
      { is_ddl: true },
    ],
    [
      'CREATE CAST (status AS users) WITHOUT FUNCTION',
      ['create cast public.status', 'create cast public.users', 'use type public.status', 'use type public.users'],
      { is_ddl: true },
    ],
    ['SELECT * FROM U&"\\0075sers"', ['select public.users'], {}],
    ['SELECT * FROM pg_authid', ['select pg_catalog.pg_authid'], { secrets: ['pg_catalog.pg_authid'] }],
    ['ALTER ROLE CURRENT_USER SET search_path = evil', ['alter role current_user'], { is_ddl: true }],
    [
      "ALTER SYSTEM SET standard_conforming_strings = 'off'",
      ['alter system standard_conforming_strings'],
      { is_ddl: true },
    ],
  ])('%s', async (sql, expected, some) => {
    const { stories, acts } = await tryBoth(sql)
    expect(stories.map((story) => story.at(0))).toEqual(['error 42501', 'error 42501'])
    expect(acts).toEqual([expected, expected])
    expect(facts()).toMatchObject(some)
  })

  test('a function of a field, made since the transaction took its snapshot', async () => {
    world.decide = (actions) => (actions.some(({ verb }) => verb === 'call') ? 'deny' : 'allow')
    const session = await begin()
    session.send(query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM users'))
    await session.until('ready')
    await asAdmin("CREATE FUNCTION late(int) RETURNS int LANGUAGE sql AS 'SELECT $1'; CREATE DOMAIN repeats AS int")
    for (const sql of ['SELECT (5).late', "SELECT ('5').repeats"]) {
      session.send(query(`SAVEPOINT s`))
      await session.until('ready')
      session.send(query(sql))
      expect(await session.story()).toEqual(['error 42501', 'ready E'])
      session.send(query('ROLLBACK TO s'))
      await session.until('ready')
    }
  })

  test('EXPLAIN ANALYZE EXECUTE of what was prepared before', async () => {
    world.decide = (actions) => (actions.some(({ verb }) => verb === 'delete') ? 'deny' : 'allow')
    const session = await begin()
    session.send(query('PREPARE p AS DELETE FROM users'))
    await session.until('ready')
    for (const messages of [
      [query('EXPLAIN ANALYZE EXECUTE p')],
      [parse('EXPLAIN ANALYZE EXECUTE p'), bind(), execute(), sync],
      [query('EXECUTE p')],
      [bind([], { statement: 'p' }), execute(), sync],
      [query('EXPLAIN EXECUTE p; EXPLAIN ANALYZE EXECUTE p')],
    ]) {
      session.send(...messages)
      expect((await session.story()).at(0)).toBe('error 42501')
      expect(judged().at(-1)).toContain('delete public.users')
    }
  })
})

describe('is refused by its SQLSTATE, whatever policy says', () => {
  test.each([
    ["SET standard_conforming_strings = off; SELECT '\\'; DROP TABLE users; --'", '0A000'],
    ["SET client_encoding = 'SJIS'", '0A000'],
    ["SET NAMES 'SJIS'", '0A000'],
    ["SELECT set_config('client_encoding', 'SJIS', false)", '0A000'],
    ['SET search_path = evil; DELETE FROM users', '0A000'],
  ])('%s', async (sql, code) => {
    world.decide = () => 'allow'
    const { stories } = await tryBoth(sql)
    expect(stories).toEqual([
      [`error ${code}`, 'ready I'],
      [`error ${code}`, 'ready I'],
    ])
  })

  test.each<[string, Buffer]>([
    ['a query', encodeMessage('Q', [{ bytes: Buffer.from('SELECT 1;\0 DELETE FROM users\0') }])],
    ['a Parse', encodeMessage('P', [{ bytes: Buffer.from('\0SELECT 1;\0 DELETE FROM users\0\0\0') }])],
    ['the name of a statement', encodeMessage('P', [{ bytes: Buffer.from('a\0b\0SELECT 1\0\0\0') }])],
  ])('a NUL in %s ends the session', async (_name, bytes) => {
    world.decide = () => 'allow'
    const session = await begin()
    session.send(bytes, sync)
    expect(await session.story()).toEqual(['error 08P01'])
    expect(world.calls).toEqual([])
  })

  test('a role whose sessions read text otherwise', async () => {
    world.decide = () => 'allow'
    const role = new URL(world.adminUrl).username
    await asAdmin(`ALTER ROLE "${role}" IN DATABASE ${world.database} SET standard_conforming_strings = off`)
    try {
      const session = await begin()
      session.send(query(`SELECT '\\'; DROP TABLE users; --'`))
      expect(await session.story()).toEqual(['error 0A000', 'ready I'])
    } finally {
      await asAdmin(`ALTER ROLE "${role}" IN DATABASE ${world.database} RESET ALL`)
    }
  })
})

test('a role whose sessions look elsewhere for names is judged by where they look', async () => {
  const role = new URL(world.adminUrl).username
  await asAdmin(`CREATE TABLE evil.users (id int)`)
  await asAdmin(`ALTER ROLE "${role}" IN DATABASE ${world.database} SET search_path = evil, public`)
  try {
    const { acts } = await tryBoth('DELETE FROM users')
    expect(acts[0]).toEqual(['delete evil.users', 'delete public.users'])
  } finally {
    await asAdmin(`ALTER ROLE "${role}" IN DATABASE ${world.database} RESET ALL`)
  }
})

test('what is only described or made ready needs leave to be prepared', async () => {
  const session = await begin()
  session.send(parse('DELETE FROM users'), describeIt('statement'), sync)
  expect(await session.story()).toEqual(['error 42501', 'ready I'])
  session.send(parse('DELETE FROM users'), bind(), describeIt('portal'), sync)
  expect(await session.story()).toEqual(['error 42501', 'ready I'])
  expect(judged()).toEqual([['prepare public.users'], ['prepare public.users']])
})

describe('a name longer than a server looks at', () => {
  const long = 'ä'.repeat(31).concat('ab')

  test.each<[string, (name: string) => Parameters<RawSession['send']>]>([
    ['Parse', (name) => [parse('SELECT 1', name)]],
    ['Bind, of a statement', (name) => [bind([], { statement: name })]],
    ['Bind, of a portal', (name) => [parse('SELECT 1'), bind([], { portal: name })]],
    ['Execute', (name) => [execute(name)]],
    ['Describe', (name) => [describeIt('portal', name)]],
    ['Close', (name) => [close('statement', name)]],
  ])('is refused in %s', async (_name, messages) => {
    world.decide = () => 'allow'
    const session = await begin()
    session.send(...messages(long), sync)
    expect(await session.story()).toEqual(['error 42622', 'ready I'])
    session.send(...messages(long.slice(0, -1)), sync)
    expect(await session.story()).not.toContain('error 42622')
  })

  test('does not stand for a statement that is denied', async () => {
    world.decide = (actions) => (actions.some(({ verb }) => verb === 'delete') ? 'deny' : 'allow')
    const name = 'n'.repeat(63)
    const session = await begin()
    for (const batch of [
      [parse('SELECT 1', `${name}x`), sync],
      [close('statement', name), parse('DELETE FROM users', name), sync],
      [bind([], { statement: `${name}x` }), execute(), sync],
    ]) {
      session.send(...batch)
      await session.until('ready')
    }
    expect(await asAdmin('SELECT id FROM users')).toEqual([{ id: 1 }])
  })
})

describe('rows are taken of what a portal runs by then', () => {
  beforeEach(() => {
    world.decide = (actions) => (actions.some(({ verb }) => verb === 'delete') ? 'deny' : 'allow')
  })

  test.each<[string, string, readonly string[]]>([
    ['a prepared statement', 'EXECUTE s', ['DEALLOCATE s', 'PREPARE s AS DELETE FROM users RETURNING id']],
    [
      'the same, explained',
      'EXPLAIN ANALYZE EXECUTE s',
      ['DEALLOCATE s', 'PREPARE s AS DELETE FROM users RETURNING id'],
    ],
    ['a cursor', 'FETCH ALL IN c', ['CLOSE c', 'PREPARE t AS DELETE FROM users RETURNING id']],
  ])('%s that became another', async (_name, sql, changes) => {
    for (const last of ['FETCH ALL IN p', 'MOVE ALL IN p']) {
      const session = await begin()
      const batches = [
        [query('BEGIN')],
        [query('PREPARE s AS SELECT id FROM users')],
        [query('DECLARE c CURSOR FOR SELECT id FROM users')],
        [parse(sql), bind([], { portal: 'p' }), sync],
        ...changes.map((change) => [query(change)]),
        ...(sql.startsWith('FETCH') ? [[bind([], { portal: 'c', statement: 't' }), sync]] : []),
      ]
      for (const batch of batches) {
        session.send(...batch)
        expect((await session.story()).at(-1)).toBe('ready T')
      }
      session.send(query(last))
      expect((await session.story()).at(0)).toBe('error 42501')
      expect(judged().at(-1)).toContain('delete public.users')
    }
  })

  test('an explained statement whose names are looked for elsewhere', async () => {
    await asAdmin('CREATE TABLE evil.orders (id int); CREATE TABLE orders (id int)')
    const session = await begin()
    for (const batch of [
      [query('BEGIN')],
      [parse('EXPLAIN ANALYZE SELECT id FROM orders'), bind([], { portal: 'p' }), sync],
      [query('SET search_path = evil')],
      [query('FETCH ALL IN p')],
    ]) {
      session.send(...batch)
      await session.until('ready')
    }
    expect(judged().at(-1)).toContain('select evil.orders')
  })

  test.each([
    ['a cursor', [query("DECLARE c CURSOR FOR SELECT set_config('search_path', 'evil', false)")]],
    ['a portal', [parse("SELECT set_config('search_path', 'evil', false)"), bind([], { portal: 'c' }), sync]],
  ])('%s that sets the path: names behind it are not certain', async (_name, made) => {
    const session = await begin()
    for (const batch of [[query('BEGIN')], made]) {
      session.send(...batch)
      await session.until('ready')
    }
    session.send(query('FETCH c; SELECT id FROM users'))
    expect(await session.story()).toEqual(['error 0A000', 'ready E'])
  })
})
