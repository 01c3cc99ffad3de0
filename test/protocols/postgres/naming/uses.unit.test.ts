import { afterAll, describe, expect, it } from 'vitest'
import { createNamer } from '../../../../src/protocols/postgres/naming/namer.ts'
import { isUnnamed, type SessionView } from '../../../../src/protocols/postgres/naming/statement.ts'
import { type Contents, sessionOf } from './session.ts'

const namer = createNamer()
afterAll(() => namer.stop())

const CONTENTS: Contents = {
  public: { relation: ['c', 'o'] },
  pg_catalog: { row_function: ['row_to_json', 'count'] },
}

async function usesOf(sql: string, more: Partial<SessionView> = {}): Promise<readonly string[] | undefined> {
  const names = await namer.name(sql, sessionOf(more, CONTENTS))
  if (isUnnamed(names)) throw new Error(`${names.code} ${names.message}`)
  return names[0]?.uses
}

describe('a column that is merely returned is not used', () => {
  it.each([
    'SELECT email FROM c',
    'SELECT c.email AS e, public.c.id, c.* FROM public.c',
    'SELECT * FROM c LIMIT 5',
    'TABLE c',
    'SELECT x.email FROM c AS x',
    'SELECT count(*), 1, now() FROM c',
    'DECLARE d CURSOR FOR SELECT email FROM c',
  ])('%s', async (sql) => {
    expect(await usesOf(sql)).toEqual([])
  })

  it.each([
    ['SELECT email FROM c WHERE id = 1 ORDER BY name', ['id', 'name']],
    ['SELECT email AS e FROM c ORDER BY id', ['id']],
    ['SELECT c.email FROM c JOIN o ON o.who = c.id', ['id', 'who']],
    ['SELECT email FROM (SELECT id FROM o) s', ['id']],
  ])('whatever else is: %s', async (sql, uses) => {
    expect(await usesOf(sql)).toEqual(uses)
  })
})

describe('a column is used', () => {
  it.each([
    'SELECT upper(email) FROM c',
    'SELECT email::int FROM c',
    'SELECT (email) COLLATE "C" FROM c',
    "SELECT 'a' || email FROM c",
    'SELECT CASE WHEN true THEN email END FROM c',
    'SELECT ARRAY[email] FROM c',
    'SELECT ROW(email) FROM c',
    "SELECT 1 FROM c WHERE email LIKE 'a%'",
    'SELECT 1 FROM c HAVING max(email) > $1',
    'SELECT 1 FROM c ORDER BY email',
    'SELECT email AS e FROM c ORDER BY e',
    'SELECT email FROM c ORDER BY 1',
    'SELECT email FROM c GROUP BY 1',
    'SELECT email AS e FROM c GROUP BY e',
    'SELECT DISTINCT email FROM c',
    'SELECT DISTINCT ON (email) 1 FROM c',
    'SELECT row_number() OVER (ORDER BY email) FROM c',
    'SELECT count(*) FILTER (WHERE email IS NULL) FROM c',
    'SELECT string_agg(c.id, c.email) FROM c',
    'SELECT email FROM c UNION SELECT $1',
    'SELECT $1 INTERSECT SELECT email FROM c',
    'SELECT (SELECT email FROM c LIMIT 1)',
    'SELECT EXISTS (SELECT 1 FROM c WHERE email = $1)',
    'SELECT e FROM (SELECT email AS e FROM c) s',
    'WITH s AS (SELECT email FROM c) SELECT * FROM s',
    'SELECT 1 FROM c JOIN o USING (email)',
    'SELECT 1 FROM c JOIN o ON o.email = c.email',
    'SELECT 1 FROM c, LATERAL (SELECT c.email) s',
    'SELECT 1 FROM c, generate_series(1, length(c.email))',
    'SELECT 1 FROM c LIMIT (SELECT length(email) FROM c LIMIT 1)',
    'SELECT 1 FROM c TABLESAMPLE system (length(email))',
    `SELECT JSON_OBJECT('a': email) FROM c`,
    `SELECT * FROM JSON_TABLE((SELECT email FROM c), '$' COLUMNS (a int PATH '$'))`,
    'DECLARE d CURSOR FOR SELECT upper(email) FROM c',
    'EXPLAIN SELECT email FROM c',
    'COPY (SELECT email FROM c) TO STDOUT',
    'CREATE TABLE t AS SELECT email FROM c',
    'INSERT INTO o SELECT email FROM c',
    'UPDATE o SET name = c.email FROM c',
    'DELETE FROM c RETURNING email',
    'WITH d AS (UPDATE c SET id = 1 RETURNING email) SELECT 1',
  ])('%s', async (sql) => {
    expect(await usesOf(sql)).toContain('email')
  })
})

describe('any column may be used', () => {
  it.each([
    'SELECT c FROM c',
    'SELECT x FROM c AS x',
    'SELECT c::text FROM c',
    'SELECT row_to_json(c) FROM c',
    'SELECT row_to_json(c.*) FROM c',
    'SELECT c.row_to_json FROM c',
    'SELECT 1 FROM c WHERE (c.count)::text > $1',
    'SELECT (c).email FROM c',
    'SELECT (c).* FROM c',
    'SELECT email(c) FROM c',
    'SELECT ROW(c.*) FROM c',
    'SELECT 1 FROM c WHERE c = $1',
    'SELECT 1 FROM c WHERE c.* IS NOT NULL',
    'SELECT count(c) FROM c',
    'SELECT * FROM c ORDER BY 2',
    'SELECT DISTINCT * FROM c',
    'SELECT 1 FROM c NATURAL JOIN o',
    'SELECT 1 FROM c AS x (a, b) WHERE b = $1',
    'SELECT 1 FROM (c JOIN o ON true) AS j (a, b) WHERE b = $1',
    'SELECT 1 FROM (SELECT * FROM c) s (a, b) WHERE b = $1',
    'WITH s (a, b) AS (TABLE c) SELECT 1 FROM s WHERE b = $1',
    'TABLE c UNION TABLE o',
    'SELECT array(SELECT c FROM c)',
    'SELECT 1 FROM c, row_to_json(c) AS r',
  ])('%s', async (sql) => {
    expect(await usesOf(sql)).toContain('*')
  })
})

it('what was prepared or declared uses what it was made of', async () => {
  const uses = 'SELECT id FROM c WHERE email = $1'
  const prepared = await namer.prepare(uses)
  if (prepared === null || isUnnamed(prepared)) throw new Error('not prepared')
  expect(await usesOf('EXECUTE p', { prepared: new Map([['p', prepared]]) })).toEqual(['email'])
  const names = await namer.name(`DECLARE d CURSOR FOR ${uses}`, sessionOf({}, CONTENTS))
  const [cursor] = isUnnamed(names) ? [] : names
  if (!cursor) throw new Error('not declared')
  expect(await usesOf('FETCH d', { cursors: new Map([['d', cursor]]) })).toEqual(['email'])

  const made = await namer.name('PREPARE q AS SELECT email FROM c', sessionOf({}, CONTENTS))
  const [effect] = isUnnamed(made) ? [] : (made[0]?.effects ?? [])
  if (effect?.does !== 'prepare') throw new Error('not prepared')
  expect(await usesOf('EXECUTE q', { prepared: new Map([['q', effect.statement]]) })).toEqual([])
})
