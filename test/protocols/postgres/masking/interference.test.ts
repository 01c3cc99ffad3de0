import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Frontend } from '../../../../src/protocols/postgres/wire/frontend.ts'
import { bind, connectSession, execute, parse, query, sync } from '../raw.ts'
import { startWorld, type World } from '../world.ts'

let world: World
let admin: pg.Client

beforeAll(async () => {
  world = await startWorld()
  world.masks = ['public.customers.email', 'public.people.email']
  admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  await admin.query(`
    CREATE TABLE customers (id int, email text, name text, hint text GENERATED ALWAYS AS (upper(email)) VIRTUAL);
    CREATE TABLE people (id int, email text) PARTITION BY LIST (id);
    CREATE TABLE people_low (email text, id int);
    ALTER TABLE people ATTACH PARTITION people_low FOR VALUES IN (1, 2, 3);
    CREATE VIEW names AS SELECT id, name FROM customers;
    CREATE TABLE notes (id int, body text);
    INSERT INTO notes VALUES (1, 'a note'), (2, 'another')`)
})
afterAll(async () => {
  await admin.end()
  await world.close()
})

const from = fc.constantFrom(
  'customers c',
  'ONLY public.customers AS c',
  'people c',
  'people_low c',
  'names c',
  'customers c CROSS JOIN notes n',
  'notes n LEFT JOIN customers c ON c.id = n.id',
  'customers c JOIN notes n USING (id) AS u',
  '(customers c JOIN people p ON p.id = c.id)',
  'customers c, LATERAL (SELECT c.id AS e) s',
  '(SELECT * FROM customers) c',
  '(SELECT id, name FROM customers) c',
)
const value = fc.constantFrom(
  '*',
  'c.*',
  'c.id',
  'c.email',
  'c.email',
  'c.id',
  '(c.email)',
  'c.hint',
  'c.name',
  'c',
  'n.body',
  'upper(c.email)',
  'row_number() OVER ()',
  'generate_series(1, 2)',
)
const alias = fc.constantFrom('', '', ' AS x', ' AS x', ' AS id', ' AS email')
const list = fc
  .array(fc.tuple(value, alias), { minLength: 1, maxLength: 3 })
  .map((items) => items.map(([one, name]) => `${one}${one.endsWith('*') ? '' : name}`).join(', '))
const where = fc.constantFrom(
  '',
  '',
  '',
  '',
  '',
  ' WHERE c.id < 3',
  ' WHERE c.id IN (SELECT id FROM notes)',
  " WHERE c.email < 'm'",
)
const order = fc.constantFrom(
  '',
  '',
  '',
  '',
  ' ORDER BY c.id DESC',
  ' ORDER BY x',
  ' ORDER BY (x)',
  ' ORDER BY id USING <',
  ' ORDER BY 2',
  ' ORDER BY c.email',
  ' ORDER BY x LIMIT 1',
  ' LIMIT 1',
)
const head = fc.constantFrom('SELECT', 'SELECT', 'SELECT', 'SELECT', 'SELECT DISTINCT')
const select = fc
  .tuple(head, list, from, where, order)
  .map(([verb, what, there, which, how]) => `${verb} ${what} FROM ${there}${which}${how}`)
const statement = fc.oneof(
  { weight: 15, arbitrary: select },
  { weight: 1, arbitrary: select.map((sql) => `WITH customers AS (${sql}) SELECT * FROM customers`) },
  { weight: 1, arbitrary: fc.tuple(select, select).map(([one, other]) => `(${one}) UNION ALL (${other})`) },
  { weight: 1, arbitrary: select.map((sql) => `SELECT body FROM notes WHERE EXISTS (${sql})`) },
)
const asked = fc.tuple(
  statement,
  fc.constantFrom<(sql: string) => readonly Frontend[]>(
    (sql) => [query(sql)],
    (sql) => [parse(sql), bind(), execute('', 1), execute(), sync],
    (sql) => [query(`BEGIN; DECLARE k CURSOR FOR ${sql}; FETCH ALL FROM k; ROLLBACK`)],
    (sql) => [query(`DEALLOCATE ALL; PREPARE q AS ${sql}; EXECUTE q`)],
  ),
)

/** What an agent is told that sends each of these, with such values in the masked columns. */
async function tellAll(all: readonly (readonly Frontend[])[], values: readonly string[]): Promise<string[][]> {
  await admin.query('TRUNCATE customers, people')
  const rows = "SELECT n, v, 'n' || n FROM unnest($1::text[]) WITH ORDINALITY AS u (v, n)"
  await admin.query(`INSERT INTO customers ${rows}`, [values])
  await admin.query('INSERT INTO people SELECT id, email FROM customers')
  const session = await connectSession(world.port, { database: world.database })
  const told: string[][] = []
  for (const messages of all) {
    session.send(...messages)
    const story = await session.story()
    told.push(story)
    if (story.at(-1) !== 'ready E') continue
    session.send(query('ROLLBACK'))
    await session.until('ready')
  }
  session.close()
  return told
}

test('what comes back is the same, whatever a masked column holds', async () => {
  const all = fc.sample(asked, { numRuns: 600, seed: 1 })
  const sent = all.map(([sql, messagesOf]) => messagesOf(sql))
  const some = await tellAll(sent, ['ann', 'bob', 'zoe'])
  const others = await tellAll(sent, ['zack', 'yves', 'abe'])
  for (const [index, [sql]] of all.entries()) expect([sql, others[index]]).toEqual([sql, some[index]])
  expect(some.filter((story) => story.includes('error 42501')).length).toBeGreaterThan(50)
  expect(some.filter((story) => story.some((each) => /^row .*null/.test(each))).length).toBeGreaterThan(50)
})
