import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { NO_IMPACT_TERMS } from '../../../../src/domain/impact.ts'
import { bind, connectSession, describeIt, execute, flush, parse, query, sync } from '../raw.ts'
import { type Held, startWorld, type World } from '../world.ts'

let world: World
let admin: pg.Client
const clients: pg.Client[] = []

beforeAll(async () => {
  world = await startWorld()
  admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  await admin.query(`
    CREATE TABLE customers (id int PRIMARY KEY, name text);
    CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers ON DELETE CASCADE, what text);
    CREATE VIEW open_orders AS SELECT * FROM orders;
    CREATE FUNCTION leak(t text) RETURNS text LANGUAGE sql AS $$ SELECT t $$;
    CREATE TABLE secured (id int);
    ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
    CREATE TYPE state AS ENUM ('new', 'old');
    CREATE TABLE states (id int, state state)`)
})
afterAll(async () => {
  await admin.end()
  await world.close()
})
beforeEach(async () => {
  world.calls.length = 0
  world.previews.length = 0
  world.decide = (actions) => (actions.some(({ verb }) => CHANGES.has(verb)) ? 'hold' : 'allow')
  world.needs = new Set()
  world.impact = NO_IMPACT_TERMS
  world.masks = []
  world.isRecording = true
  await admin.query(`
    TRUNCATE customers, orders, states;
    INSERT INTO customers SELECT n, 'c' || n FROM generate_series(1, 3) n;
    INSERT INTO orders SELECT n, 1 + n % 3, 'x' FROM generate_series(1, 30) n`)
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => {})))
})

const CHANGES = new Set([
  'execute',
  'insert',
  'update',
  'delete',
  'merge',
  'truncate table',
  'drop table',
  'drop schema',
])

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: world.url() })
  client.on('error', () => {})
  await client.connect()
  clients.push(client)
  return client
}

/** What the card says of a statement that waits, which is then denied. */
async function notesOf(sql: string, values?: unknown[]): Promise<readonly string[]> {
  const client = await connect()
  const answer = client.query(sql, values).catch(() => {})
  const held = await world.held()
  held.deny('no')
  await answer
  return held.presentation.notes
}

async function left(table = 'orders'): Promise<number> {
  const { rows } = await admin.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`)
  return rows[0]?.n ?? -1
}

/** The next call that is held, once `change` was done to the tables under it. */
async function heldWhile(change: string): Promise<Held> {
  const held = await world.held()
  await admin.query(change)
  return held
}

const TOO_MANY = { code: '42501', message: expect.stringContaining('more rows than were foreseen') as string }

describe('the card of a held statement says how many rows it would touch', () => {
  test.each<[string, unknown[] | undefined, number]>([
    ['DELETE FROM orders', undefined, 30],
    ['DELETE FROM orders WHERE id <= 7', undefined, 7],
    ['DELETE FROM orders WHERE id <= $1', [7], 7],
    ['UPDATE orders SET what = $1 WHERE customer = $2', ['y', 2], 10],
    ["DELETE FROM orders USING customers c WHERE orders.customer = c.id AND c.name IN ('c1', 'c2')", undefined, 20],
    ['WITH few AS (SELECT 2 AS n) UPDATE customers SET name = id FROM few WHERE id <= n', undefined, 2],
    ['INSERT INTO orders SELECT id + 100, customer FROM orders WHERE id < 4', undefined, 3],
    ['INSERT INTO orders VALUES ($1), ($2)', [101, 102], 2],
    ["DELETE FROM states WHERE state = 'new'::state", undefined, 0],
  ])('%s', async (sql, values, rows) => {
    const [note] = await notesOf(sql, values)
    expect(note).toMatch(
      new RegExp(`would touch ${rows} rows?\\. If it turns out to be more than ${rows}, it is undone\\.$`),
    )
    const isAsked = !sql.includes('VALUES')
    expect(world.previews.slice(0, 1)).toMatchObject(
      isAsked ? [{ kind: 'previewed', callId: world.calls[0]?.call.id, detail: { for: 'card', statements: 1 } }] : [{}],
    )
  })

  test('with what the open transaction did, whose state it leaves as it was', async () => {
    const client = await connect()
    await client.query('BEGIN')
    world.decide = () => 'allow'
    await client.query('DELETE FROM orders WHERE id > 20')
    world.decide = () => 'hold'
    const answer = client.query('DELETE FROM orders WHERE id > 10')
    const held = await world.held()
    expect(held.presentation.notes[0]).toContain('would touch 10 rows')
    held.approve()
    expect((await answer).rowCount).toBe(10)
    world.decide = () => 'allow'
    const { rows } = await client.query('SHOW transaction_read_only')
    expect(rows).toEqual([{ transaction_read_only: 'off' }])
    await client.query('COMMIT')
    expect(await left()).toBe(10)
  })

  test('each statement of a message', async () => {
    const notes = await notesOf('DELETE FROM orders WHERE id < 3; SELECT 1; DELETE FROM customers WHERE id = 1')
    expect(notes.filter((note) => note.startsWith('Statement'))).toEqual([
      expect.stringMatching(/^Statement 1: DELETE public.orders would touch 2 rows/),
      expect.stringMatching(/^Statement 3: DELETE public.customers would touch 1 row/),
    ])
  })

  test('what foreign keys and triggers do besides', async () => {
    await admin.query(`CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
      CREATE TRIGGER noting AFTER DELETE ON customers EXECUTE FUNCTION note()`)
    const notes = await notesOf('DELETE FROM customers')
    await admin.query('DROP TRIGGER noting ON customers; DROP FUNCTION note()')
    expect(notes).toContain('Triggers of public.customers run besides: noting.')
    expect(notes).toContainEqual(
      expect.stringMatching(/By foreign keys it also changes (public\.)?orders, which is not/),
    )
  })

  test('of what it executes or holds inside, that it is not known', async () => {
    const client = await connect()
    await client.query('PREPARE gone AS DELETE FROM orders')
    const answer = client.query('EXECUTE gone').catch(() => {})
    const held = await world.held()
    held.deny('no')
    await answer
    expect(held.presentation.notes).toEqual([
      expect.stringMatching(/^How many rows EXECUTE .* would touch is not known: it is no INSERT, UPDATE or DELETE by/),
    ])
    const [note] = await notesOf('WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone')
    expect(note).toMatch(/^How many rows SELECT .* would touch is not known/)
  })

  test('as far as there is room', async () => {
    const notes = await notesOf(Array.from({ length: 12 }, (_, n) => `DELETE FROM orders WHERE id = ${n}`).join(';'))
    expect(notes).toHaveLength(8)
    expect(notes.at(-1)).toBe('There is more to say of what it would touch than is shown here.')
  })

  test('some of them, where the rule permits it', async () => {
    world.impact = { sample: 2, tolerances: [] }
    const notes = await notesOf('DELETE FROM orders WHERE id <= $1', [7])
    expect(notes.filter((note) => note.startsWith('For example'))).toEqual([
      'For example {"id":1,"customer":2,"what":"x"}',
      'For example {"id":2,"customer":3,"what":"x"}',
    ])
  })

  test('as they are before the client asks for a description, and after', async () => {
    const session = await connectSession(world.port, { database: world.database })
    session.send(parse('DELETE FROM orders WHERE id = $1', 's'), describeIt('statement', 's'), flush)
    await session.until('no_data')
    session.send(bind(['5'], { statement: 's' }), execute(), sync)
    const held = await world.held()
    expect(held.presentation.notes[0]).toContain('would touch 1 row.')
    held.approve()
    await expect(session.story()).resolves.toEqual(expect.arrayContaining(['bind_complete', 'DELETE 1', 'ready I']))
    session.close()
    expect(await left()).toBe(29)
  })
})

describe('nothing is asked before anyone approved', () => {
  test.each<[string, string]>([
    ["DELETE FROM orders WHERE leak(what) = 'x'", 'functions or operators that are not known only to read'],
    ['DELETE FROM orders WHERE pg_terminate_backend(0)', 'functions or operators that are not known only to read'],
    ['DELETE FROM open_orders', 'rules, views or row security'],
    ['DELETE FROM orders WHERE id IN (SELECT id FROM secured)', 'rules, views or row security'],
    ['DELETE FROM orders WHERE what IN (SELECT rolpassword FROM pg_authid)', 'a catalog that holds secrets'],
    ['WITH d AS (DELETE FROM customers RETURNING id) DELETE FROM orders USING d', 'no query for its rows can be made'],
    ['DELETE FROM orders; COMMIT', 'in one message with commit'],
    ['DELETE FROM orders; SAVEPOINT s', 'in one message with savepoint'],
    ["SELECT leak('x'); DELETE FROM public.orders", 'a statement before it in the same message'],
    ['WITH delete AS (SELECT 1) DELETE FROM orders', 'no query for its rows can be made'],
  ])('%s', async (sql, why) => {
    const notes = await notesOf(sql)
    expect(notes[0]).toMatch(/How many rows DELETE .* would touch is not known/)
    expect(notes[0]).toContain(why)
    expect(await left()).toBe(30)
  })

  test('that could not be put on record', async () => {
    world.isRecording = false
    const [note] = await notesOf('DELETE FROM orders')
    expect(note).toBe('How many rows DELETE public.orders would touch is not known: it could not be put on record.')
    expect(world.previews).toEqual([])
  })

  test('that waits for a lock', async () => {
    await admin.query('BEGIN; LOCK TABLE orders')
    const notes = await notesOf('DELETE FROM orders')
    await admin.query('ROLLBACK')
    expect(notes[0]).toContain('it is locked')
  })

  test('that another role may not read, where there is one for it', async () => {
    const role = `previews_${world.database}`
    await admin.query(`CREATE ROLE ${role}; GRANT SELECT ON orders TO ${role}`)
    world.previewRole = role
    const [counted] = await notesOf('DELETE FROM orders')
    const [hidden] = await notesOf('DELETE FROM customers')
    const client = await connect()
    expect((await client.query('SELECT current_user AS me')).rows[0]).not.toEqual({ me: role })
    world.previewRole = null
    await admin.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
    expect(counted).toContain('would touch 30 rows')
    expect(hidden).toContain('the role may not read it')
  })

  test.each([false, true])(
    'that fails while it runs, and the session goes on (in a transaction: %s)',
    async (isInside) => {
      const client = await connect()
      if (isInside) await client.query('BEGIN')
      for (const _ of [1, 2]) {
        const answer = client.query('DELETE FROM orders WHERE id / (id - id) = 1 AND id < $1', [9])
        const held = await world.held()
        expect(held.presentation.notes[0]).toContain('is not known: the upstream refused to say (22012)')
        held.deny('no')
        await expect(answer).rejects.toMatchObject({ code: '42501' })
        if (isInside) await client.query('ROLLBACK; BEGIN')
      }
      const { rows } = await client.query('SELECT name FROM pg_prepared_statements')
      expect(rows).toEqual([])
    },
  )

  test('by a role that is not there', async () => {
    world.previewRole = 'no such role'
    const [note] = await notesOf('DELETE FROM orders')
    world.previewRole = null
    expect(note).toContain('is not known: the upstream refused to say (22023)')
  })

  test('in portions', async () => {
    const session = await connectSession(world.port, { database: world.database })
    session.send(parse('DELETE FROM orders RETURNING id'), bind(), execute('', 1), sync)
    const held = await world.held()
    expect(held.presentation.notes[0]).toContain('its rows are fetched in portions')
    held.deny('no')
    await session.until('ready')
    // Some drivers want one row at most of a statement that returns none.
    session.send(parse('DELETE FROM orders WHERE id < 3'), bind(), execute('', 1), sync)
    const whole = await world.held()
    expect(whole.presentation.notes[0]).toContain('would touch 2 rows')
    whole.approve()
    expect(await session.story()).toContain('DELETE 2')
    session.close()
  })
})

describe('the card of another statement', () => {
  test('shows its plan', async () => {
    world.decide = () => 'hold'
    await expect(notesOf('SELECT * FROM orders WHERE id = $1', [3])).resolves.toEqual([
      expect.stringMatching(/^The plan: .*Scan on orders.*, about 1 rows/),
    ])
    const [, plan] = await notesOf(
      'MERGE INTO orders USING customers ON orders.id = customers.id WHEN MATCHED THEN DELETE',
    )
    expect(plan).toMatch(/^The plan: Merge on orders, about \d+ rows/)
  })

  test('says how large what it drops is, and what depends on it', async () => {
    await admin.query('ANALYZE')
    const notes = await notesOf('DROP TABLE customers, orders')
    expect(notes).toEqual([
      expect.stringMatching(/^public.customers: a table of about 3 rows, \d+ kB\.$/),
      expect.stringMatching(/^public.orders: a table of about 30 rows, \d+ kB\.$/),
      expect.stringMatching(/^On it depend: constraint orders_customer_fkey on table .*orders, view .*open_orders\.$/),
    ])
    await expect(notesOf('TRUNCATE states')).resolves.toEqual([
      expect.stringMatching(/^public.states: a table of about 0 rows/),
      'Nothing else depends on it.',
    ])
    await expect(notesOf('DROP SCHEMA public')).resolves.toEqual([
      expect.stringMatching(/^public holds 5 relations, \d+ kB\.$/),
    ])
  })
})

describe('a rule reads the number of rows', () => {
  beforeEach(() => {
    world.needs = new Set(['rows'])
    world.decide = (actions) => (actions.every(({ facts }) => Number(facts['rows'] ?? 1) <= 5) ? 'allow' : 'deny')
  })

  test('as a fact of each act', async () => {
    const client = await connect()
    await expect(client.query('DELETE FROM orders WHERE id <= 6')).rejects.toMatchObject({ code: '42501' })
    expect((await client.query('DELETE FROM orders WHERE id <= 5')).rowCount).toBe(5)
    await world.recorded(2)
    expect(world.calls.map(({ actions }) => actions?.map(({ facts }) => facts['rows']))).toEqual([[6], [5]])
    expect(world.previews).toMatchObject([{ detail: { for: 'rule' } }, { detail: { for: 'rule' } }])
    expect(world.calls[1]?.outcome?.rows).toEqual({ touched: 5, foreseen: 5 })
  })

  test('which it is also held to where nobody is asked', async () => {
    const client = await connect()
    // Between the count and the statement nothing can be slipped in from here: what the count cannot see differs.
    const sql = "DELETE FROM orders WHERE id <= 3 AND (id = 1 OR current_setting('transaction_read_only') = 'off')"
    await expect(client.query(sql)).rejects.toMatchObject(TOO_MANY)
    await world.recorded(1)
    expect(world.calls[0]?.outcome).toMatchObject({ name: 'rolled_back', rows: { touched: 3, foreseen: 1 } })
    expect(await left()).toBe(30)
  })

  test.each([
    "DELETE FROM orders WHERE leak(what) = 'y'",
    'WITH d AS (DELETE FROM orders WHERE id < 9) INSERT INTO states VALUES (1)',
    'WITH d AS (DELETE FROM orders WHERE id < 9) INSERT INTO states DEFAULT VALUES',
  ])('which is missing where it cannot be told: %s', async (sql) => {
    const client = await connect()
    await client.query(sql)
    for (const action of world.calls[0]?.actions ?? [null]) expect(action).not.toHaveProperty('facts.rows')
  })

  test('and the statement is held to what it read', async () => {
    const client = await connect()
    world.decide = (actions) => {
      world.decide = () => 'allow'
      return actions.length > 0 ? 'hold' : 'deny'
    }
    const answer = expect(client.query('DELETE FROM orders WHERE id <= 3')).rejects.toMatchObject(TOO_MANY)
    const held = await heldWhile('INSERT INTO orders VALUES (0)')
    held.approve()
    await answer
    expect(await left()).toBe(31)
  })
})

describe('a statement that touches more rows than were approved is rolled back', () => {
  const MORE = 'INSERT INTO orders SELECT -n FROM generate_series(1, 3) n'

  test('by a simple query', async () => {
    const client = await connect()
    const answer = expect(client.query('DELETE FROM orders WHERE id < 4')).rejects.toMatchObject({
      ...TOO_MANY,
      detail: 'Foreseen: 3 rows; at most 3 may be touched. Touched: 6. All of it was rolled back.',
    })
    const held = await heldWhile(MORE)
    held.approve()
    await answer
    await world.recorded(1)
    expect(world.calls[0]?.outcome).toMatchObject({ name: 'rolled_back', rows: { touched: 6, foreseen: 3 } })
    expect(await left()).toBe(33)
    world.decide = () => 'allow'
    expect((await client.query('SELECT 1 AS a')).rows).toEqual([{ a: 1 }])
  })

  test.each([
    ['where nothing is masked', []],
    ['where another relation is masked', ['public.customers.name']],
  ])('and the client hears of nothing but the refusal, %s', async (_where, masks) => {
    world.masks = masks
    const session = await connectSession(world.port, { database: world.database })
    session.send(query('DELETE FROM orders WHERE id < 4 RETURNING id'))
    const held = await heldWhile(MORE)
    held.approve()
    const story = await session.story()
    const heard = story.filter((each) => each !== 'notice')
    expect(heard.map((each) => each.replace(/^row -?\d$/, 'a row'))).toEqual([
      'row_description',
      'a row',
      'a row',
      'a row',
      'error 42501',
      'ready I',
    ])
    session.close()
  })

  test('by bound parameters', async () => {
    const client = await connect()
    const answer = expect(client.query('UPDATE orders SET what = $2 WHERE id < $1', [4, 'y'])).rejects.toMatchObject(
      TOO_MANY,
    )
    const held = await heldWhile(MORE)
    held.approve()
    await answer
    const { rows } = await admin.query("SELECT FROM orders WHERE what = 'y'")
    expect(rows).toEqual([])
  })

  test.each([[undefined], [[4]]])('in the transaction of the client, which then has failed (%s)', async (values) => {
    const client = await connect()
    world.decide = () => 'allow'
    await client.query('BEGIN')
    await client.query('DELETE FROM customers WHERE id = 99')
    world.decide = () => 'hold'
    const sql = values ? 'DELETE FROM orders WHERE id < $1' : 'DELETE FROM orders WHERE id < 4'
    const answer = expect(client.query(sql, values)).rejects.toMatchObject(TOO_MANY)
    const held = await heldWhile(MORE)
    held.approve()
    await answer
    world.decide = () => 'allow'
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' })
    expect((await client.query('COMMIT')).command).toBe('ROLLBACK')
    expect(await left()).toBe(33)
  })

  test('that began with it', async () => {
    const session = await connectSession(world.port, { database: world.database })
    session.send(query('BEGIN; DELETE FROM orders WHERE id < 4'))
    const held = await heldWhile(MORE)
    held.approve()
    const story = await session.story()
    expect(story.slice(-3)).toEqual(['BEGIN', 'error 42501', 'ready E'])
    session.close()
  })

  test('after a Flush', async () => {
    const session = await connectSession(world.port, { database: world.database })
    session.send(parse('DELETE FROM orders WHERE id < 4'), bind(), execute(), flush)
    const held = await heldWhile(MORE)
    held.approve()
    expect((await session.until('error')).at(-1)).toMatchObject({ report: { C: '42501' } })
    session.send(sync)
    expect(await session.story()).toEqual(['ready I'])
    session.close()
    expect(await left()).toBe(33)
  })

  test('with what stands before it in the same batch', async () => {
    const client = await connect()
    const answer = expect(
      client.query('DELETE FROM customers WHERE id = 99; UPDATE orders SET what = NULL WHERE id < 4; SELECT 1'),
    ).rejects.toMatchObject(TOO_MANY)
    const held = await heldWhile(MORE)
    held.approve()
    await answer
    await expect(admin.query('SELECT FROM orders WHERE what IS NULL AND id > 0')).resolves.toMatchObject({
      rowCount: 0,
    })
  })

  test('unless the rule tolerates as many', async () => {
    world.impact = { sample: 0, tolerances: [{ percent: 100 }] }
    const client = await connect()
    const answer = client.query('DELETE FROM orders WHERE id < 4')
    const held = await heldWhile(MORE)
    expect(held.presentation.notes[0]).toContain('more than 6, it is undone')
    held.approve()
    expect((await answer).rowCount).toBe(6)
    await world.recorded(1)
    expect(world.calls[0]?.outcome).toMatchObject({ name: 'forwarded', rows: { touched: 6, foreseen: 3 } })
    expect(await left()).toBe(27)
  })

  test('by what the rule says when it runs, where that is less', async () => {
    world.impact = { sample: 0, tolerances: [{ percent: 100 }] }
    const client = await connect()
    const answer = expect(client.query('DELETE FROM orders WHERE id < 4')).rejects.toMatchObject(TOO_MANY)
    const held = await heldWhile(MORE)
    world.impact = { sample: 0, tolerances: [{ rows: 2 }] }
    held.approve()
    await answer
    expect(await left()).toBe(33)
  })

  test('what only the end of the transaction refuses is told in the words of the upstream', async () => {
    await admin.query(`CREATE TABLE later (id int REFERENCES customers DEFERRABLE INITIALLY DEFERRED)`)
    const session = await connectSession(world.port, { database: world.database })
    session.send(query('INSERT INTO later VALUES (77)'))
    const held = await world.held()
    held.approve()
    expect((await session.story()).filter((each) => each !== 'notice')).toEqual(['error 23503', 'ready I'])
    session.close()
    await admin.query('DROP TABLE later')
  })

  test('what its triggers say is heard, and what the gateway asks is not', async () => {
    await admin.query(`CREATE TABLE loud (id int);
      CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''shouted''; RETURN NULL; END';
      CREATE CONSTRAINT TRIGGER shouting AFTER INSERT ON loud DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION shout()`)
    const session = await connectSession(world.port, { database: world.database })
    session.send(query('SET client_min_messages = debug5'))
    await session.until('ready')
    session.send(query('INSERT INTO loud VALUES (1)'))
    const held = await world.held()
    held.approve()
    const said = (await session.until('ready')).flatMap((message) => {
      return message.type === 'notice' ? [String(message.report['M'])] : [message.type]
    })
    session.close()
    await admin.query('DROP TABLE loud; DROP FUNCTION shout()')
    expect(said[0]).toContain('Not executed yet.')
    expect(said).toContain('shouted')
    expect(said.slice(-2)).toEqual(['command_complete', 'ready'])
  })

  test('an approved statement that fails by itself is told as it is', async () => {
    const client = await connect()
    const answer = expect(client.query('INSERT INTO orders VALUES (1)')).rejects.toMatchObject({ code: '23505' })
    ;(await world.held()).approve()
    await answer
    world.decide = () => 'allow'
    expect((await client.query('SELECT 1 AS a')).rows).toEqual([{ a: 1 }])
  })
})
