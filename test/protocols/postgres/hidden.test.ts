import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bind, connectSession, describeIt, execute, flush, parse, query, type RawSession, sync } from './raw.ts'
import { startWorld, type World } from './world.ts'

/**
 * Code that runs on the server and is not seen from outside: functions, procedures and DO, and what hides behind a view
 * or a trigger. It may give a name another meaning, or change how the next statement is read.
 */
let world: World
const sessions: RawSession[] = []

beforeAll(async () => {
  world = await startWorld()
  await asAdmin(`
    CREATE TABLE orders (id int PRIMARY KEY, what text);
    CREATE TABLE secrets (id int);
    CREATE TABLE log (id int);
    CREATE SCHEMA evil;
    CREATE TABLE evil.orders (id int);
    CREATE ROLE elsewhere_${world.database};
    CREATE SCHEMA elsewhere_${world.database} AUTHORIZATION elsewhere_${world.database};
    CREATE TABLE elsewhere_${world.database}.orders (id int);
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC;
    GRANT ALL ON elsewhere_${world.database}.orders TO PUBLIC;
    CREATE FUNCTION swap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
      EXECUTE 'DEALLOCATE s'; EXECUTE 'PREPARE s AS DELETE FROM public.orders'; RETURN 1; END $$;
    CREATE PROCEDURE swap_by_call() LANGUAGE plpgsql AS $$ BEGIN PERFORM swap(); END $$;
    CREATE FUNCTION swap_cursor() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
      EXECUTE 'CLOSE c'; EXECUTE 'DECLARE c CURSOR FOR SELECT id FROM public.secrets'; RETURN 1; END $$;
    CREATE FUNCTION nothing() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
    CREATE FUNCTION unquote() RETURNS text LANGUAGE sql AS
      $$ SELECT set_config('standard_conforming_strings', 'off', false) $$;
    CREATE VIEW unquoting AS SELECT unquote() AS x;
    CREATE FUNCTION turn() RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', 'evil', false) $$;
    CREATE VIEW turning AS SELECT turn() AS x;
    CREATE FUNCTION become() RETURNS text LANGUAGE sql AS
      $$ SELECT set_config('role', 'elsewhere_${world.database}', false) $$;
    CREATE VIEW becoming AS SELECT become() AS x;
    CREATE PROCEDURE become_and_fail() LANGUAGE plpgsql AS $$ BEGIN
      PERFORM become(); COMMIT; RAISE 'no'; END $$;
    CREATE FUNCTION cover() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      EXECUTE 'CREATE TEMP TABLE orders (id int)'; RETURN NEW; END $$;
    CREATE TRIGGER covers BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION cover();
  `)
})
afterAll(async () => {
  await asAdmin(`DROP OWNED BY elsewhere_${world.database} CASCADE; DROP ROLE elsewhere_${world.database}`)
  await world.close()
})
beforeEach(async () => {
  world.calls.length = 0
  world.decide = (actions) => (actions.some(({ verb }) => verb === 'delete') ? 'deny' : 'allow')
  await asAdmin('INSERT INTO orders VALUES (1); INSERT INTO secrets VALUES (42)')
})
afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  await asAdmin('TRUNCATE orders, secrets, log')
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

/** Sends each batch and waits until it is answered; what came, batch by batch. */
async function play(session: RawSession, ...batches: Parameters<RawSession['send']>[]): Promise<string[][]> {
  const stories: string[][] = []
  for (const batch of batches) {
    session.send(...batch)
    const last = batch.at(-1)
    const isFlushed = !Buffer.isBuffer(last) && last?.type === 'flush'
    stories.push(await session.story(isFlushed ? 'command_complete' : 'ready'))
  }
  return stories
}

const orders = () => asAdmin('SELECT id FROM public.orders')
const judged = () =>
  world.calls.flatMap(({ actions }) => actions ?? []).map(({ verb, resource }) => `${verb} ${resource}`)

describe('a prepared statement that code replaces', () => {
  const RUN_IT = [bind([], { statement: 's' }), execute(), sync]
  const HELD = 'DECLARE c CURSOR WITH HOLD FOR SELECT public.swap()'

  test.each<[string, Parameters<RawSession['send']>]>([
    ['a function', [query('SELECT public.swap()')]],
    [
      'a function in a portal that is not at its end',
      [parse('SELECT public.swap() FROM generate_series(1, 2)'), bind([], { portal: 'p' }), execute('p', 1), sync],
    ],
    ['a procedure', [query('CALL public.swap_by_call()')]],
    ['a block', [query('DO $$ BEGIN PERFORM public.swap(); END $$')]],
    ['a block that fails', [query(`DO $$ BEGIN PERFORM public.swap(); RAISE 'no'; END $$`)]],
    ['a function that fails', [parse('SELECT public.swap() / 0'), bind(), execute(), sync]],
    ['a statement that is explained', [query('EXPLAIN ANALYZE SELECT public.swap()')]],
  ])('%s', async (_name, batch) => {
    for (const run of [RUN_IT, [query('EXECUTE s')]]) {
      const session = await begin()
      const stories = await play(session, [parse('SELECT 1', 's'), sync], batch, run)
      expect(stories.at(-1)?.at(0)).toMatch(/^error /)
      expect(await orders()).toEqual([{ id: 1 }])
    }
  })

  test.each<[string, Parameters<RawSession['send']>[]]>([
    ['COMMIT, in the same message', [[query(`BEGIN; ${HELD}`)], [query('COMMIT; EXECUTE s')]]],
    ['COMMIT, in a message of its own', [[query(`BEGIN; ${HELD}`)], [query('COMMIT')], [query('EXECUTE s')]]],
    ['a Sync', [[parse(HELD), bind(), execute(), flush], [parse('SELECT 1'), sync], [query('EXECUTE s')]]],
  ])('a cursor that outlives its transaction, computed by %s', async (_name, batches) => {
    const session = await begin()
    const stories = await play(session, [query('PREPARE s AS SELECT id FROM public.orders')], ...batches)
    expect(stories.at(-1)?.at(0)).toMatch(/^error /)
    expect(await orders()).toEqual([{ id: 1 }])
  })

  test('rows of a cursor that was computed are had without a doubt about names', async () => {
    const session = await begin()
    const stories = await play(
      session,
      [query('BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT public.nothing()')],
      [query('COMMIT')],
      [query('PREPARE s AS SELECT 7')],
      [query('FETCH c; EXECUTE s')],
    )
    expect(stories.at(-1)).toEqual(expect.arrayContaining(['row 1', 'row 7', 'ready I']))
  })

  test('in the batch that runs it', async () => {
    const session = await begin()
    await play(session, [parse('SELECT 1', 's'), sync])
    const [story] = await play(session, [parse('SELECT public.swap()'), bind(), execute(), ...RUN_IT])
    expect(story?.slice(-2)).toEqual([expect.stringMatching(/^error /), 'ready I'])
    expect(await orders()).toEqual([{ id: 1 }])
  })

  test('in the message that runs it', async () => {
    const session = await begin()
    await play(session, [query('PREPARE s AS SELECT 1')])
    const [story] = await play(session, [query('SELECT public.swap(); EXECUTE s')])
    expect(story).toEqual(['error 0A000', 'ready I'])
    expect(await orders()).toEqual([{ id: 1 }])
  })
})

describe('a name that code leaves alone', () => {
  test('is what it was: prepared by a message, or by SQL', async () => {
    const session = await begin()
    await play(session, [parse('SELECT 7', 's'), sync], [query('PREPARE t AS SELECT 8')])
    for (const opaque of ['SELECT public.nothing()', `DO 'BEGIN END'`, `DO $$ BEGIN RAISE 'no'; END $$`]) {
      const [, first, second] = await play(
        session,
        [query(opaque)],
        [bind([], { statement: 's' }), execute(), sync],
        [query('EXECUTE t')],
      )
      expect(first).toEqual(['bind_complete', 'row 7', 'SELECT 1', 'ready I'])
      expect(second).toContain('row 8')
    }
  })

  test('is what it was in the same batch, many times', async () => {
    const session = await begin()
    const once = [bind([], { statement: 's' }), execute()]
    const [story] = await play(session, [parse('SELECT public.nothing()', 's'), ...once, ...once, ...once, sync])
    expect(story).toEqual([
      'parse_complete',
      ...Array.from({ length: 3 }, () => ['bind_complete', 'row 1', 'SELECT 1']).flat(),
      'ready I',
    ])
  })

  test('is what it was: a cursor and a portal, also one that runs the code', async () => {
    const session = await begin()
    await play(
      session,
      [query('BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 5)')],
      [query('DECLARE d CURSOR FOR SELECT public.nothing() + g FROM generate_series(1, 5) g')],
      [
        parse('SELECT public.nothing() + g FROM generate_series(10, 15) g'),
        bind([], { portal: 'p' }),
        execute('p', 1),
        sync,
      ],
    )
    for (const n of [1, 2, 3]) {
      const stories = await play(
        session,
        [query('SELECT public.nothing()')],
        [query('FETCH c')],
        [query('FETCH d')],
        [execute('p', 1), sync],
      )
      expect(stories.slice(1).map((each) => each.find((one) => one.startsWith('row ')))).toEqual([
        `row ${n}`,
        `row ${n + 1}`,
        `row ${n + 11}`,
      ])
    }
  })
})

test('a cursor that code replaces is not taken for what it was', async () => {
  for (const last of [
    [query('FETCH ALL IN c')],
    [execute('c'), sync],
    [describeIt('portal', 'c'), execute('c'), sync],
  ]) {
    const session = await begin()
    await play(session, [query('BEGIN; DECLARE c CURSOR FOR SELECT 1')], [query('SELECT public.swap_cursor()')])
    const [story] = await play(session, last)
    expect(story).not.toContain('row 42')
  }
})

describe('the rules by which text is read, changed by code', () => {
  /** One DELETE where backslashes escape, a SELECT where they do not. */
  const TWO_FACED = `WITH x AS (SELECT '\\') SELECT 1 --'), d AS (DELETE FROM public.orders RETURNING 1) SELECT count(*) FROM d --'`

  test.each([
    ['a function', 'SELECT public.unquote()'],
    ['a view', 'SELECT * FROM public.unquoting'],
  ])('by %s, behind a Flush', async (_name, sql) => {
    const session = await begin()
    await play(session, [parse(sql), bind(), execute(), flush])
    const [story] = await play(session, [parse(TWO_FACED), bind(), execute(), sync])
    expect(story?.[0]).toMatch(/^error /)
    expect(await orders()).toEqual([{ id: 1 }])
  })

  test.each([
    ['a function', 'SELECT public.unquote()'],
    ['a view', 'SELECT * FROM public.unquoting'],
  ])('by %s, in one batch', async (_name, sql) => {
    const session = await begin()
    await play(session, [parse(sql), bind(), execute(), parse(TWO_FACED), bind(), execute(), sync])
    expect(await orders()).toEqual([{ id: 1 }])
  })

  test('text that needs no such rule is read in the same batch', async () => {
    const session = await begin()
    const [story] = await play(session, [
      ...[parse('SELECT id FROM public.orders'), bind(), execute()],
      ...[parse(`SELECT 'ü\\'`), bind(), execute(), sync],
    ])
    expect(story).toContain('row ü\\')
  })
})

describe('the schemas that names are looked for in, changed by code', () => {
  const elsewhere = () => `elsewhere_${world.database}.orders`

  test.each<[string, string, () => string]>([
    ['a view that sets the path', 'SELECT * FROM public.turning', () => 'evil.orders'],
    ['a function that sets the role', 'SELECT public.become()', elsewhere],
    ['a procedure that sets the role, commits, and fails', 'CALL public.become_and_fail()', elsewhere],
    ['a temporary relation', 'CREATE TEMP TABLE orders (id int)', () => 'pg_temp.orders'],
  ])('by %s', async (_name, sql, expected) => {
    const session = await begin()
    await play(session, [query('SELECT count(*) FROM orders')], [query(sql)], [query('SELECT id FROM orders')])
    expect(judged()).toContain(`select ${expected()}`)
  })

  test.each<[string, string, () => string]>([
    ['a view that sets the role', 'SELECT * FROM public.becoming', elsewhere],
    ['a trigger that makes a temporary relation', 'INSERT INTO public.log VALUES (1)', () => 'pg_temp.orders'],
  ])('by %s, within a second', async (_name, sql, expected) => {
    const session = await begin()
    await play(session, [query('SELECT count(*) FROM orders')], [query(sql)])
    const from = performance.now()
    while (!judged().includes(`select ${expected()}`)) {
      await play(session, [query('SELECT id FROM orders')])
      expect(performance.now() - from).toBeLessThan(10_000)
    }
  })

  test.each<[string, string, string, string, string]>([
    ['relation', 'CREATE TABLE $.late (id int)', 'DROP TABLE $.late', 'SELECT id FROM late', 'select evil.late'],
    [
      'function',
      `CREATE FUNCTION $.late() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
      'DROP FUNCTION $.late',
      'SELECT late()',
      'call evil.late',
    ],
    [
      'operator',
      'CREATE OPERATOR $.<~~ (FUNCTION = int4pl, LEFTARG = int, RIGHTARG = int)',
      'DROP OPERATOR $.<~~ (int, int)',
      'SELECT 1 <~~ 2',
      'call evil."<~~"',
    ],
    ['type', `CREATE TYPE $.late AS ENUM ('a')`, 'DROP TYPE $.late', `SELECT 'a'::late`, 'use type evil.late'],
  ])('by a %s that is newer than what the transaction sees', async (_kind, make, drop, sql, expected) => {
    await asAdmin(make.replace('$', 'public'))
    const session = await begin()
    await play(
      session,
      [query('SET search_path = evil, public')],
      [query('BEGIN ISOLATION LEVEL REPEATABLE READ')],
      [query('SELECT count(*) FROM public.orders')],
    )
    await asAdmin(make.replace('$', 'evil'))
    try {
      await play(session, [query(sql)])
      expect(judged()).toContain(expected)
      // Nor are others told what it was told.
      world.calls.length = 0
      const other = await begin()
      await play(other, [query('SET search_path = evil, public')], [query(sql)])
      expect(judged()).toContain(expected)
    } finally {
      session.close()
      for (const schema of ['public', 'evil']) await asAdmin(drop.replace('$', schema))
    }
  })

  test('by a portal that is not at its end, behind a Flush', async () => {
    const session = await begin()
    await play(session, [query('BEGIN')], [query('SELECT count(*) FROM orders')])
    session.send(
      parse(`SELECT set_config('search_path', 'evil', false) FROM generate_series(1, 2)`),
      ...[bind([], { portal: 'p' }), execute('p', 1), flush],
    )
    await session.until('portal_suspended')
    await play(session, [parse('SELECT id FROM orders'), bind(), execute(), sync])
    expect(judged()).toContain('select evil.orders')
  })
})
