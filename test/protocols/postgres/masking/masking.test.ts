import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { NOTHING_NEEDED } from '../../../../src/domain/action.ts'
import type { Frontend } from '../../../../src/protocols/postgres/wire/frontend.ts'
import { bind, connectSession, describeIt, execute, flush, parse, query, type RawSession, sync } from '../raw.ts'
import { startWorld, type World } from '../world.ts'

const SECRETS = ['ann@example.com', 'bob@example.com', 'cid@example.com']
let world: World
let admin: pg.Client
const clients: pg.Client[] = []
const sessions: RawSession[] = []

beforeAll(async () => {
  world = await startWorld()
  admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  await admin.query(`
    CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL UNIQUE, name text, age int NOT NULL,
      hint text GENERATED ALWAYS AS (lower(email)) STORED);
    INSERT INTO customers VALUES (1, 'ann@example.com', 'Ann', 31), (2, 'bob@example.com', 'Bob', 32),
      (3, 'cid@example.com', 'Cid', 33);
    CREATE TABLE notes (id int, body text);
    INSERT INTO notes VALUES (1, 'a note');
    CREATE TYPE card AS (number text, month int);
    CREATE TABLE wallets (id int, card card);
    INSERT INTO wallets VALUES (1, ROW('4111', 7));

    CREATE VIEW names AS SELECT id, name FROM customers;
    CREATE VIEW names_again AS SELECT * FROM names;
    CREATE TABLE groups (id int PRIMARY KEY);
    CREATE TABLE accounts (id int PRIMARY KEY, in_group int REFERENCES groups ON UPDATE CASCADE);
    ALTER TABLE customers ADD account int NOT NULL DEFAULT 1;
    INSERT INTO groups VALUES (1);
    INSERT INTO accounts VALUES (1, 1);
    ALTER TABLE customers ADD FOREIGN KEY (account) REFERENCES accounts ON DELETE SET NULL;
    CREATE TABLE logins (mail text REFERENCES customers (email));
    CREATE TABLE regions (id int PRIMARY KEY);
    CREATE TABLE towns (id int PRIMARY KEY, region int REFERENCES regions ON DELETE CASCADE);
    CREATE TABLE shops (id int, town int REFERENCES towns);
    INSERT INTO regions VALUES (1);
    INSERT INTO towns VALUES (1, 1);
    INSERT INTO shops VALUES (1, 1);
    CREATE TABLE things (id int);
    CREATE TABLE secret_things (email text, size int NOT NULL DEFAULT 1) INHERITS (things);
    INSERT INTO secret_things VALUES (1, 'ann@example.com');
    ALTER TABLE secret_things ADD CHECK (id < 100);
    CREATE VIEW mails AS SELECT id, email AS mail FROM customers;
    CREATE VIEW mails_again AS SELECT mail FROM mails;
    CREATE VIEW hashes AS SELECT id, md5(email) AS hash FROM customers;
    CREATE VIEW rows AS SELECT c.id, row_to_json(c) AS whole FROM customers c;
    CREATE MATERIALIZED VIEW kept AS SELECT * FROM customers;
    CREATE FUNCTION leak() RETURNS SETOF text LANGUAGE sql AS 'SELECT email FROM public.customers';
    CREATE FUNCTION mail_of(customers) RETURNS text LANGUAGE sql AS 'SELECT $1.email';
    CREATE DOMAIN some_customer AS customers;
    CREATE DOMAIN any_customer AS some_customer;
    CREATE VIEW called AS SELECT leak() AS x;
    CREATE VIEW samples AS SELECT most_common_vals::text FROM pg_stats;
    CREATE TABLE ruled (id int);
    CREATE RULE told AS ON INSERT TO ruled DO ALSO SELECT email FROM customers;

    CREATE TABLE people (id int, junk int, email text) PARTITION BY RANGE (id);
    ALTER TABLE people DROP COLUMN junk;
    CREATE TABLE people_low (email text, id int);
    ALTER TABLE people ATTACH PARTITION people_low FOR VALUES FROM (0) TO (10);
    CREATE TABLE people_high PARTITION OF people FOR VALUES FROM (10) TO (20);
    INSERT INTO people VALUES (1, 'ann@example.com'), (11, 'bob@example.com');
    ANALYZE;
  `)
})
afterAll(async () => {
  await admin.end()
  await world.close()
})
beforeEach(() => {
  world.calls.length = 0
  world.previews.length = 0
  world.needs = NOTHING_NEEDED
  world.decide = () => 'allow'
  world.mode = 'enforce'
  world.masks = ['public.customers.email']
})
afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => {})))
})

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: world.url() })
  client.on('error', () => {})
  await client.connect()
  clients.push(client)
  return client
}

async function open(): Promise<RawSession> {
  const session = await connectSession(world.port, { database: world.database })
  sessions.push(session)
  return session
}

/** What a client is told that sends these, up to the end of its batch, in words. */
async function tell(...messages: Frontend[]): Promise<string[]> {
  const session = await open()
  session.send(...messages)
  return session.story()
}

const rowsOf = (story: readonly string[]) => story.filter((each) => each.startsWith('row '))

describe('a masked column of a result', () => {
  test.each([
    ['by name', 'SELECT id, email FROM customers', ['row 1 null', 'row 2 null', 'row 3 null']],
    ['by another name', 'SELECT email AS e FROM customers WHERE id = 1', ['row null']],
    ['by the star', 'SELECT * FROM customers WHERE id = 1', ['row 1 null Ann 31 null 1']],
    ['of a relation by another name', 'SELECT x.* FROM customers x WHERE x.id = 2', ['row 2 null Bob 32 null 1']],
    ['twice', 'SELECT email, id, email FROM customers WHERE id = 1', ['row null 1 null']],
    [
      'of a join',
      'SELECT c.email, n.body FROM customers c LEFT JOIN notes n ON n.id = c.id ORDER BY c.id',
      ['row null a note', 'row null null', 'row null null'],
    ],
    ['that is generated from it', 'SELECT hint FROM customers WHERE id = 1', ['row null']],
    ['of no row', 'SELECT email FROM customers WHERE id = 0', []],
    [
      'of several statements',
      'SELECT 7; SELECT email, id FROM customers WHERE id = 1; SELECT 8',
      ['row 7', 'row null 1', 'row 8'],
    ],
  ])('is NULL, %s', async (_how, sql, rows) => {
    const story = await tell(query(sql))
    expect(rowsOf(story)).toEqual(rows)
    expect(story.at(-1)).toBe('ready I')
    expect(story.filter((each) => each.startsWith('error'))).toEqual([])
  })

  test('is told of once, and nothing of what has none', async () => {
    expect((await tell(query('SELECT id, email FROM customers WHERE id = 1')))[0]).toBe('notice')
    expect((await tell(query('SELECT 1 AS a'))).slice(0, 1)).toEqual(['row_description'])
    expect((await tell(query('SELECT id FROM notes'))).slice(0, 1)).toEqual(['row_description'])
  })

  test('is NULL in text and in binary, whenever its statement was described', async () => {
    const session = await open()
    session.send(parse('SELECT id, email, age FROM customers WHERE id = $1', 's'), describeIt('statement', 's'), sync)
    // Nothing comes back of it yet.
    expect(await session.story()).toEqual(['parse_complete', 'parameter_description', 'row_description', 'ready I'])
    for (const resultFormats of [[], ['binary'], ['text', 'binary', 'text']] as const) {
      session.send({ ...bind(['2'], { statement: 's' }), resultFormats } as Frontend, execute(), sync)
      const answers = await session.until('ready')
      const rows = answers.flatMap((message) => (message.type === 'data_row' ? [message.values] : []))
      expect(rows).toHaveLength(1)
      expect(rows[0]?.[1]).toBeNull()
      expect(rows[0]?.[2]).not.toBeNull()
      // What was asked for the gateway's own use is not told.
      expect(answers.map(({ type }) => type)).toEqual([
        'notice',
        'bind_complete',
        'data_row',
        'command_complete',
        'ready',
      ])
    }
  })

  test('is NULL in every part of a portal, and behind a Flush', async () => {
    const session = await open()
    session.send(query('BEGIN'))
    await session.until('ready')
    session.send(
      parse('SELECT email, id FROM customers ORDER BY id'),
      bind([], { portal: 'p' }),
      execute('p', 1),
      flush,
    )
    expect(rowsOf(await session.story('portal_suspended'))).toEqual(['row null 1'])
    session.send(execute('p', 1), execute('p', 1), sync)
    expect(rowsOf(await session.story())).toEqual(['row null 2', 'row null 3'])
  })

  test('is NULL for a driver that prepares, and one that pipelines', async () => {
    const client = await connect()
    for (const id of [1, 2, 3]) {
      const { rows } = await client.query({
        name: 'one',
        text: 'SELECT email, name FROM customers WHERE id = $1',
        values: [id],
      })
      expect(rows).toEqual([{ email: null, name: expect.any(String) }])
    }
    const story = await tell(
      parse('SELECT email FROM customers WHERE id = $1', 'a'),
      parse('SELECT body FROM notes', 'b'),
      bind(['1'], { statement: 'a', portal: 'x' }),
      bind([], { statement: 'b', portal: 'y' }),
      describeIt('portal', 'y'),
      execute('x'),
      describeIt('portal', 'x'),
      execute('y'),
      execute('x'),
      sync,
    )
    expect(rowsOf(story)).toEqual(['row null', 'row a note'])
    expect(story.filter((each) => each === 'row_description')).toHaveLength(2)
  })

  test('is NULL through a cursor and through what was prepared by SQL', async () => {
    const session = await open()
    session.send(
      query('BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id, email FROM customers ORDER BY id; FETCH 2 FROM c'),
    )
    expect(rowsOf(await session.story())).toEqual(['row 1 null', 'row 2 null'])
    session.send(query('COMMIT'))
    await session.until('ready')
    session.send(query('FETCH BACKWARD 1 FROM c'))
    expect(rowsOf(await session.story())).toEqual(['row 1 null'])
    session.send(bind([], { portal: 'c' }), sync)
    expect((await session.story())[0]).toMatch(/^error/)
    session.send(execute('c', 1), sync)
    expect(rowsOf(await session.story())).toEqual(['row 2 null'])
    session.send(query('PREPARE q AS SELECT upper(email) FROM customers; EXECUTE q'))
    expect(await session.story()).toEqual(['error 42501', 'ready I'])
    session.send(query('PREPARE p AS SELECT email, id FROM customers WHERE id = $1; EXECUTE p (3)'))
    expect(rowsOf(await session.story())).toEqual(['row null 3'])
    session.send(bind(['3'], { statement: 'p' }), execute(), sync)
    expect(rowsOf(await session.story())).toEqual(['row null 3'])
  })

  test('is NULL in partitions, in what they are partitions of, and wherever it stands there', async () => {
    for (const mask of ['public.people.email', 'public.people_low.email']) {
      world.masks = [mask]
      expect(rowsOf(await tell(query('SELECT * FROM people WHERE id = 1')))).toEqual(['row 1 null'])
      expect(rowsOf(await tell(query('SELECT * FROM people_low')))).toEqual(['row null 1'])
    }
    expect(rowsOf(await tell(query('SELECT * FROM people_high')))).toEqual(['row 11 bob@example.com'])
    world.masks = ['public.people.email']
    expect(rowsOf(await tell(query('SELECT * FROM people_high')))).toEqual(['row 11 null'])
  })

  test('is NULL in a view whose own column is masked, and whatever is made of that is refused', async () => {
    world.masks = ['public.mails.mail']
    expect(rowsOf(await tell(query('SELECT * FROM mails WHERE id = 1')))).toEqual(['row 1 null'])
    expect(await tell(query('SELECT * FROM mails_again'))).toEqual(['error 42501', 'ready I'])
    expect(await tell(query(`SELECT id FROM mails WHERE mail LIKE 'a%'`))).toEqual(['error 42501', 'ready I'])
  })

  test('is NULL once people have approved, and they are told so', async () => {
    world.decide = () => 'hold'
    const client = await connect()
    const answer = client.query('SELECT email FROM customers WHERE id = 1')
    const held = await world.held()
    expect((await held.call.present({})).notes).toContain(
      'The agent is not given the values of public.customers.email.',
    )
    held.approve()
    expect((await answer).rows).toEqual([{ email: null }])
  })

  test.each([
    ['where nothing masks it', [], 'enforce'],
    ['where the gateway only watches', ['public.customers.email'], 'observe'],
  ] as const)('stays what it is %s', async (_where, masks, mode) => {
    world.masks = masks
    world.mode = mode
    expect(await tell(query('SELECT email, upper(name) FROM customers WHERE id = 1'))).toEqual([
      'row_description',
      `row ${SECRETS[0]} ANN`,
      'SELECT 1',
      'ready I',
    ])
  })

  test('of a large result is taken out row by row', async () => {
    await admin.query('CREATE TABLE IF NOT EXISTS big (id int, secret text, filler text)')
    await admin.query(`INSERT INTO big SELECT i, 'secret ' || i, repeat('x', 1000) FROM generate_series(1, 20000) i`)
    world.masks = ['public.big.secret']
    const client = await connect()
    const { rows } = await client.query('SELECT * FROM big')
    expect(rows).toHaveLength(20000)
    expect(rows.every(({ secret, filler }) => secret === null && filler.length === 1000)).toBe(true)
  })
})

describe('what says nothing of a masked column passes as it is', () => {
  test.each([
    ['SELECT id, name FROM customers WHERE id = 1', ['row 1 Ann']],
    ['SELECT count(*), max(age) FROM customers', ['row 3 33']],
    ['SELECT upper(name) FROM customers WHERE age > 32 ORDER BY name', ['row CID']],
    ['SELECT * FROM names WHERE id = 1', ['row 1 Ann']],
    ['WITH c AS (SELECT id, name FROM customers) SELECT * FROM c WHERE id = 1', ['row 1 Ann']],
    ['SELECT DISTINCT name FROM customers WHERE id = 1', ['row Ann']],
    [`SELECT attname FROM pg_attribute WHERE attrelid = 'notes'::regclass AND attnum = 1`, ['row id']],
    [
      `SELECT column_name FROM information_schema.columns WHERE table_name = 'notes' AND ordinal_position = 1`,
      ['row id'],
    ],
    ['SELECT email FROM (SELECT 1 AS email) s', ['row 1']],
    ['UPDATE notes SET body = body WHERE id = 1 RETURNING *', ['row 1 a note']],
  ])('%s', async (sql, rows) => {
    expect(rowsOf(await tell(query(sql)))).toEqual(rows)
  })
})

/** What would give it away in another way, each with what would be seen. */
const GIVEAWAYS = [
  'SELECT upper(email) FROM customers',
  'SELECT email::int FROM customers',
  `SELECT email || '' FROM customers`,
  'SELECT hint || name FROM customers',
  `SELECT id FROM customers WHERE email LIKE 'a%'`,
  `SELECT id FROM customers WHERE hint LIKE 'a%'`,
  'SELECT id FROM customers ORDER BY email',
  'SELECT id, email FROM customers ORDER BY 2',
  'SELECT email FROM customers GROUP BY 1',
  'SELECT DISTINCT email FROM customers',
  'SELECT min(email) FROM customers',
  `SELECT email FROM customers UNION ALL SELECT 'x'`,
  `SELECT 'ann@example.com' INTERSECT SELECT email FROM customers`,
  'SELECT (SELECT email FROM customers LIMIT 1)',
  'SELECT * FROM (SELECT * FROM customers) s',
  'WITH c AS (SELECT * FROM customers) SELECT * FROM c',
  'SELECT c FROM customers c',
  'SELECT c::text FROM customers c',
  'SELECT row_to_json(c) FROM customers c',
  'SELECT c.row_to_json FROM customers c',
  'SELECT c.mail_of FROM customers c',
  'SELECT c.some_customer FROM customers c',
  'SELECT (c).any_customer FROM customers c',
  'SELECT some_customer(c) FROM customers c',
  'SELECT mail_of(c) FROM customers c',
  'SELECT email(c) FROM customers c',
  'SELECT (c).email FROM customers c',
  'SELECT (c).* FROM customers c',
  'SELECT array_agg(c) FROM customers c',
  'SELECT count(*) FROM customers c (a, b) WHERE b = $$ann@example.com$$',
  'SELECT count(*) FROM customers NATURAL JOIN mails',
  'SELECT count(*) FROM customers JOIN people USING (email)',
  'SELECT leak()',
  'SELECT * FROM leak()',
  `SELECT query_to_xml('SELECT email FROM customers', true, true, '')`,
  'SELECT * FROM mails',
  'SELECT * FROM mails_again',
  'SELECT id FROM hashes',
  'SELECT whole FROM rows',
  'SELECT * FROM kept',
  'SELECT * FROM called',
  'SELECT * FROM samples',
  'SELECT most_common_vals, histogram_bounds FROM pg_stats',
  'INSERT INTO ruled VALUES (1)',
  'COPY customers TO STDOUT',
  'COPY (SELECT email FROM customers) TO STDOUT',
  'EXPLAIN ANALYZE SELECT email FROM customers',
  `EXPLAIN SELECT id FROM customers WHERE email > 'b'`,
  'CREATE TABLE mine AS SELECT email FROM customers',
  'SELECT email INTO mine FROM customers',
  'CREATE TEMP TABLE mine (LIKE customers)',
  'INSERT INTO notes SELECT id, email FROM customers',
  'UPDATE notes SET body = email FROM customers',
  `UPDATE customers SET name = email`,
  'UPDATE customers SET age = NULL WHERE id = 1',
  `INSERT INTO customers VALUES (9, 'ann@example.com', 'x', 1)`,
  'DELETE FROM customers RETURNING *',
  'WITH d AS (DELETE FROM customers RETURNING *) SELECT 1',
  `MERGE INTO notes USING customers ON true WHEN MATCHED THEN UPDATE SET body = email`,
  'CREATE VIEW mine AS SELECT email AS e FROM customers',
  'ALTER TABLE customers RENAME email TO e',
  `CREATE FUNCTION mine() RETURNS SETOF text LANGUAGE sql AS 'SELECT email FROM customers'`,
  `CREATE RULE mine AS ON INSERT TO notes DO ALSO SELECT email FROM customers`,
  `DO $$ BEGIN RAISE NOTICE '%', (SELECT email FROM customers LIMIT 1); END $$`,
  'DECLARE c CURSOR FOR SELECT upper(email) FROM customers',
  'UPDATE names SET id = NULL WHERE id = 1',
  'UPDATE names_again SET id = NULL WHERE id = 1',
  'SELECT id FROM customers FOR UPDATE',
  'DELETE FROM accounts',
  'UPDATE groups SET id = 2',
  `INSERT INTO logins VALUES ('dan@example.com')`,
  'LOCK TABLE customers',
  'ANALYZE customers',
] as const

describe('what would give a masked column away in another way is refused', () => {
  let session: RawSession
  beforeAll(async () => {
    session = await connectSession(world.port, { database: world.database })
  })
  afterAll(() => session.close())

  test.each(GIVEAWAYS)('%s', async (sql) => {
    session.send(query(sql))
    const answers = await session.until('ready')
    const [error] = answers
    if (error?.type !== 'error') throw new Error(JSON.stringify(answers.map(({ type }) => type)))
    expect(error.report).toMatchObject({
      C: '42501',
      M: expect.stringMatching(/^Not executed\. /),
      D: 'Masked: public.customers.email (rule shop/a-rule).',
      H: expect.stringContaining('view'),
    })
    expect(answers.map(({ type }) => type)).toEqual(['error', 'ready'])
    expect(world.calls[0]?.outcome).toMatchObject({ name: 'refused', refusal: { code: 'denied' } })
  })

  test.each(GIVEAWAYS.filter((sql) => !sql.startsWith('COPY')))('prepared by messages: %s', async (sql) => {
    session.send(parse(sql), bind(), execute(), sync)
    expect(await session.story()).toEqual(['error 42501', 'ready I'])
  })

  test('and nobody is asked about it', async () => {
    world.decide = () => 'hold'
    const client = await connect()
    await expect(client.query('SELECT upper(email) FROM customers')).rejects.toMatchObject({ code: '42501' })
    await world.recorded(1)
    expect(world.calls[0]?.outcome).toMatchObject({ name: 'refused', refusal: { code: 'denied' } })
  })

  test.each(['a%', 'z%'])('and not counted, since rules say something else of another number: %s', async (pattern) => {
    world.needs = new Set(['rows'])
    world.decide = ([{ facts }]) => (Number(facts['rows']) > 0 ? 'deny' : 'allow')
    const session = await open()
    session.send(
      query(`UPDATE notes SET body = body WHERE EXISTS (SELECT FROM customers WHERE email LIKE '${pattern}')`),
    )
    const [error] = await session.until('ready')
    expect(error).toMatchObject({
      type: 'error',
      report: {
        C: '42501',
        M: 'Not executed. public.customers has, or leads to, a masked column: it can only be read, and by SELECT.',
        D: 'Masked: public.customers.email (rule shop/a-rule).',
      },
    })
    expect(world.previews).toEqual([])
  })

  test('but what says nothing of it is counted', async () => {
    world.needs = new Set(['rows'])
    world.decide = ([{ facts }]) => (facts['rows'] === 1 ? 'allow' : 'deny')
    expect(await tell(query('UPDATE notes SET body = body WHERE id = 1'))).toEqual(['UPDATE 1', 'ready I'])
  })

  test('inside of a transaction it fails on both sides', async () => {
    const client = await connect()
    await client.query('BEGIN')
    await expect(client.query('SELECT upper(email) FROM customers')).rejects.toMatchObject({ code: '42501' })
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' })
    expect((await client.query('ROLLBACK')).command).toBe('ROLLBACK')
    expect((await client.query('SELECT email FROM customers WHERE id = 1')).rows).toEqual([{ email: null }])
  })

  test.each(['COMMIT', 'ROLLBACK', 'ROLLBACK TO s', 'COMMIT AND CHAIN'])(
    'what a message reads once it has left its transaction: %s',
    async (end) => {
      const session = await open()
      session.send(query('BEGIN; SAVEPOINT s'))
      await session.until('ready')
      session.send(query(`${end}; SELECT name FROM names`))
      expect(await session.story()).toEqual(['error 42501', 'ready E'])
      session.send(query('ROLLBACK'), query('BEGIN; SELECT email FROM customers WHERE id = 1; COMMIT'))
      await session.until('ready')
      expect(rowsOf(await session.story())).toEqual(['row null'])
    },
  )

  test('a mask of what does not exist lets nothing through', async () => {
    for (const mask of ['public.customers.mail', 'public.customer.email', 'other.customers.email']) {
      world.masks = [mask]
      const client = await connect()
      await expect(client.query('SELECT id FROM notes')).rejects.toMatchObject({
        code: '42501',
        message: 'Not executed. A column that is masked is not in this database.',
        detail: `Masked: ${mask} (rule shop/a-rule).`,
      })
      expect((await client.query('SELECT 1 AS a')).rows).toEqual([{ a: 1 }])
    }
  })

  test('a change of what passes it on to a relation with a masked column', async () => {
    world.masks = ['public.secret_things.email']
    expect(await tell(query('UPDATE things SET id = 100'))).toEqual(['error 42501', 'ready I'])
    expect(rowsOf(await tell(query('SELECT * FROM things')))).toEqual(['row 1'])
    expect(rowsOf(await tell(query('SELECT t FROM things t')))).toEqual(['row (1)'])
    expect(rowsOf(await tell(query('SELECT * FROM secret_things')))).toEqual(['row 1 null 1'])
  })

  test.each([
    `DELETE FROM customers WHERE email = 'ann@example.com'`,
    `UPDATE customers SET email = 'x' WHERE id = 1`,
    `INSERT INTO customers (id, email, age) VALUES (9, 'x', 1)`,
    `DELETE FROM names WHERE id = 1`,
    `DELETE FROM regions WHERE id = 1`,
  ])('a change of what a masked column refers to, which fails where that has the value: %s', async (sql) => {
    world.masks = ['public.logins.mail', 'public.shops.town']
    expect(await tell(query(sql))).toEqual(['error 42501', 'ready I'])
    expect(world.calls[0]?.outcome).toMatchObject({ name: 'refused', refusal: { code: 'denied' } })
  })

  test('whatever is in a column of a composite type', async () => {
    world.masks = ['public.wallets.card']
    expect(rowsOf(await tell(query('SELECT * FROM wallets')))).toEqual(['row 1 null'])
    expect(await tell(query('SELECT (card).number FROM wallets'))).toEqual(['error 42501', 'ready I'])
    expect(await tell(query('SELECT (card).* FROM wallets'))).toEqual(['error 42501', 'ready I'])
  })
})

describe('no order of messages gets a masked value out', () => {
  test('as long as the relation is what it was when it was asked about', async () => {
    const session = await open()
    session.send(query('BEGIN'))
    await session.until('ready')
    session.send(parse('SELECT email FROM customers', 'a'), bind([], { statement: 'a', portal: 'x' }), flush)
    await session.until('bind_complete')
    // The statement that was described last is another.
    session.send(parse('SELECT body FROM notes', 'b'), describeIt('statement', 'b'), execute('x'), sync)
    const story = await session.story()
    expect(rowsOf(story)).toEqual(['row null', 'row null', 'row null'])
    expect(story.join(' ')).not.toContain('@')
  })

  test('not even in a transaction that sees an older catalog', async () => {
    const session = await open()
    session.send(query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT id FROM notes'))
    await session.until('ready')
    await admin.query(`CREATE TABLE copied AS SELECT id, 'x@example.com' AS email FROM customers;
      ALTER TABLE customers RENAME TO customers_old; ALTER TABLE copied RENAME TO customers`)
    session.send(query('SELECT email FROM customers'))
    const answers = await session.until('ready')
    await admin.query('DROP TABLE customers; ALTER TABLE customers_old RENAME TO customers')
    expect(JSON.stringify(answers)).not.toContain('example.com')
    expect(answers.flatMap((answer) => (answer.type === 'error' ? [answer.report['C']] : []))).toEqual(['08P01'])
  })

  test('an error of what is asked first is told', async () => {
    const session = await open()
    session.send(query('BEGIN; DECLARE c CURSOR FOR SELECT email FROM customers'))
    await session.until('ready')
    session.send(query('SAVEPOINT s; CLOSE c; ROLLBACK TO s'))
    await session.until('ready')
    session.send(execute('c'), sync)
    expect(await session.story()).toEqual([expect.stringMatching(/^error /), 'ready E'])
  })
})
