import fc from 'fast-check'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createNamer } from '../../../../src/protocols/postgres/naming/namer.ts'
import { createTestDatabase, type TestDatabase } from '../../../postgres.ts'

const namer = createNamer()
let store: TestDatabase
let client: pg.Client

beforeAll(async () => {
  store = await createTestDatabase()
  client = new pg.Client({ connectionString: store.adminUrl })
  await client.connect()
  await client.query(`
    CREATE TABLE a (id int, n int, t text);
    CREATE TABLE a_child (extra int) INHERITS (a);
    CREATE TABLE b (id int, n int);
    INSERT INTO a SELECT i, i % 5, CASE WHEN i % 7 > 0 THEN 't' || i % 3 END FROM generate_series(1, 40) i;
    INSERT INTO a_child SELECT i, i % 3, 'child', i FROM generate_series(30, 45) i;
    INSERT INTO b SELECT i, i % 4 FROM generate_series(1, 20) i, generate_series(1, 2)`)
})
afterAll(async () => {
  await client.end()
  await namer.stop()
  await store.close()
})

const value = fc.constantFrom('3', 'NULL', '(SELECT max(id) FROM b)', 'a.id % 4', 'length(a.t)')
const simple = fc.oneof(
  fc
    .tuple(fc.constantFrom('a.id', 'a.n'), fc.constantFrom('=', '<', '>=', 'IS DISTINCT FROM'), value)
    .map((parts) => parts.join(' ')),
  fc.constantFrom(
    "a.t LIKE 't%'",
    "a.t IN ('t1', 'child')",
    'a.t IS NULL',
    'EXISTS (SELECT FROM b WHERE b.id = a.id)',
    'a.n BETWEEN 1 AND 3 /* WHERE */',
    "a.t <> 'RETURNING' -- USING x\n",
  ),
)
const joined = fc.constantFrom('b.id = a.id', 'b.n = a.n', 'b.n < 2', 'true')
const both = fc.tuple(simple, fc.constantFrom('AND', 'OR'), simple).map((parts) => `(${parts.join(' ')})`)
const condition = fc.oneof(simple, both)
const target = fc.constantFrom('a', 'ONLY a', 'a AS a', 'public.a', '"a"')
const returning = fc.constantFrom('', ' RETURNING *', ' RETURNING a.id + 1')
const prefix = fc.constantFrom('', 'WITH few AS (SELECT 1 AS one) ', '/* note */ ')
const others = fc.constantFrom('b', 'b, (SELECT 1) AS c', 'b JOIN b AS d USING (id)', 'ONLY b')

const statement = fc.oneof(
  fc.tuple(prefix, target, condition, returning).map(([p, t, c, r]) => `${p}DELETE FROM ${t} WHERE ${c}${r}`),
  fc.tuple(prefix, target, returning).map(([p, t, r]) => `${p}UPDATE ${t} SET n = n + 1, t = DEFAULT${r}`),
  fc
    .tuple(target, others, joined, condition, returning)
    .map(([t, o, j, c, r]) => `DELETE FROM ${t} USING ${o} WHERE ${j} AND ${c}${r}`),
  fc
    .tuple(prefix, target, others, joined, condition)
    .map(([p, t, o, j, c]) => `${p}UPDATE ${t} SET t = a.n IS DISTINCT FROM 1 FROM ${o} WHERE ${j} AND ${c}`),
  fc.tuple(prefix, condition, returning).map(([p, c, r]) => `${p}INSERT INTO a SELECT id, n FROM a WHERE ${c}${r}`),
)

test('what is counted is what the server then touches', async () => {
  let compared = 0
  await fc.assert(
    fc.asyncProperty(statement, async (sql) => {
      const query = await namer.rowQuery(sql)
      if (query === null || 'rows' in query) throw new Error('nothing to ask for')
      await client.query('BEGIN')
      try {
        const { rows } = await client.query<{ count: string }>(query.count)
        const { rowCount } = await client.query(sql)
        expect(Number(rows[0]?.count)).toBe(rowCount)
        compared += rowCount === 0 ? 0 : 1
      } finally {
        await client.query('ROLLBACK')
      }
    }),
    { numRuns: 150 },
  )
  expect(compared).toBeGreaterThan(50)
})
