import { afterAll, describe, expect, it } from 'vitest'
import { createNamer } from '../../../../src/protocols/postgres/naming/namer.ts'

const namer = createNamer()
afterAll(() => namer.stop())

/** What stands in the parentheses of the query that counts, on one line. */
async function inner(sql: string): Promise<string | null> {
  const query = await namer.rowQuery(sql)
  if (query === null || 'rows' in query) return query && String(query.rows)
  const [, text] = /^SELECT pg_catalog\.count\(\*\) FROM \((.*)\n\) AS "_countersign"$/s.exec(query.count) ?? []
  return text?.replace(/\s+/g, ' ') ?? 'nothing'
}

describe('the rows that a statement changes', () => {
  it.each<[string, string]>([
    ['DELETE FROM t', 'SELECT * FROM t'],
    ['DELETE FROM ONLY public.t AS x WHERE x.a = $2 RETURNING *', 'SELECT * FROM ONLY public.t AS x WHERE x.a = $2 '],
    [
      'DELETE FROM t USING u JOIN v USING (id) WHERE t.id = u.id RETURNING t.id',
      'SELECT * FROM t WHERE EXISTS (SELECT FROM u JOIN v USING (id) WHERE t.id = u.id )',
    ],
    ['DELETE FROM t USING u', 'SELECT * FROM t WHERE EXISTS (SELECT FROM u )'],
    [
      'WITH w AS (SELECT 1 AS id) DELETE FROM t USING w WHERE t.id = w.id',
      'WITH w AS (SELECT 1 AS id) SELECT * FROM t WHERE EXISTS (SELECT FROM w WHERE t.id = w.id )',
    ],
    ['UPDATE t SET a = b IS DISTINCT FROM c, d = (SELECT 1 FROM x WHERE y) WHERE e', 'SELECT * FROM t WHERE e'],
    [
      'UPDATE t AS z SET a = 1 FROM u WHERE z.a IS DISTINCT FROM u.a',
      'SELECT * FROM t AS z WHERE EXISTS (SELECT FROM u WHERE z.a IS DISTINCT FROM u.a )',
    ],
    ['update "T" set "é" = \'ü\' where "é" = \'WHERE true --\'', 'SELECT * FROM "T" WHERE "é" = \'WHERE true --\''],
    ['DELETE FROM t WHERE a = 1 -- RETURNING', 'SELECT * FROM t WHERE a = 1 -- RETURNING'],
    ['DELETE FROM t /* WHERE false */ WHERE arr[1] = 2', 'SELECT * FROM t /* WHERE false */ WHERE arr[1] = 2'],
    ['INSERT INTO t (a) SELECT a FROM u WHERE b ON CONFLICT (a) DO NOTHING', 'SELECT a FROM u WHERE b '],
    ['INSERT INTO t SELECT a FROM u JOIN v ON conflict RETURNING a', 'SELECT a FROM u JOIN v ON conflict '],
    ['WITH w AS (SELECT 1) INSERT INTO t SELECT * FROM w', 'WITH w AS (SELECT 1) SELECT * FROM w'],
    ['INSERT INTO t VALUES (1), (2), (DEFAULT)', '3'],
    ['INSERT INTO t DEFAULT VALUES', '1'],
    ['UPDATE t SET a = 1 WHERE CURRENT OF c', '1'],
  ])('%s', async (sql, expected) => {
    await expect(inner(sql)).resolves.toBe(expected)
  })

  it.each([
    'SELECT 1',
    'TRUNCATE t',
    'MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE',
    'EXPLAIN DELETE FROM t',
    'DELETE FROM t; DELETE FROM u',
    'INSERT INTO t (SELECT 1)',
    'INSERT INTO t VALUES (1), (2) LIMIT 1',
    'WITH d AS (DELETE FROM u) INSERT INTO t VALUES (1)',
    'WITH d AS (DELETE FROM u) INSERT INTO t DEFAULT VALUES',
    'WITH d AS (UPDATE u SET a = 1) UPDATE t SET a = 1 WHERE CURRENT OF c',
    'WITH d AS (MERGE INTO u USING v ON true WHEN MATCHED THEN DELETE) DELETE FROM t WHERE a',
    'WITH d AS (SELECT 1), e AS (INSERT INTO u VALUES (1) RETURNING *) DELETE FROM t USING e WHERE a',
    'WITH delete AS (SELECT 1) DELETE FROM t',
    'DELETE FROM',
    '',
    "DELETE FROM t WHERE a = '\0'",
  ])('has nothing to ask for: %s', async (sql) => {
    await expect(namer.rowQuery(sql)).resolves.toBeNull()
  })

  it('says which parameters it takes', async () => {
    await expect(namer.rowQuery('UPDATE t SET a = $1 WHERE b = $3 OR c = $2')).resolves.toMatchObject({
      parameters: [2, 3],
    })
  })
})
