import pg from 'pg'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEmptyDatabase } from '../../../postgres.ts'
import { startWorld, type World } from '../world.ts'
import { same } from './programs.ts'

let world: World
beforeAll(async () => {
  world = await startWorld(createEmptyDatabase())
})
afterAll(() => world.close())

const TABLE = `CREATE TABLE things (id serial PRIMARY KEY, name text UNIQUE, at timestamptz, price numeric, doc jsonb,
  tags text[], raw bytea, big bigint)`
const VALUES = ["it's \\ ünï", new Date('2026-01-02T03:04:05.006Z'), '12.50', { a: [1, null, '\\'] }, ['a', 'b"c']]

/** What a promise comes to, as far as it is not about one connection. */
async function outcome(work: PromiseLike<unknown>): Promise<unknown> {
  try {
    return await work
  } catch (error) {
    const { code, message, detail, position, constraint, table, severity } = error as pg.DatabaseError
    return { code, message, detail, position, constraint, table, severity }
  }
}

describe('node-postgres', () => {
  test('gets the same with and without the gateway', async () => {
    const got = await same(world, async (url) => {
      const client = new pg.Client({ connectionString: url, application_name: 'a program' })
      const heard: unknown[] = []
      client.on('notice', ({ message }) => heard.push(message))
      await client.connect()
      const ask = async (how: string | pg.QueryConfig | pg.QueryArrayConfig) => {
        const result = await outcome(client.query(how as pg.QueryConfig))
        // node-postgres gives a list for several.
        for (const each of [result].flat() as pg.QueryResult[]) {
          const { command, rowCount, rows, fields, ...error } = each
          if (command === undefined) heard.push(error)
          // Which OID a table has is not the same for each.
          else heard.push({ command, rowCount, rows, fields: fields.map(({ tableID: _, ...more }) => more) })
        }
      }
      await ask(TABLE)
      await ask({
        text: 'INSERT INTO things (name, at, price, doc, tags, raw, big) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING *',
        values: [...VALUES, Buffer.from([0, 255, 92]), 2n ** 62n],
      })
      for (const name of ['x', 'y', 'x']) {
        await ask({ name: 'put', text: 'INSERT INTO things (name) VALUES ($1) RETURNING id', values: [name] })
      }
      await ask({ text: 'SELECT id, name FROM things ORDER BY id', rowMode: 'array' })
      await ask({ text: 'SELECT id, big FROM things ORDER BY id', binary: true } as pg.QueryConfig)
      await ask('SELECT 1 AS a; SELECT 2 AS b; SELECT 1 / 0; SELECT 3 AS c')
      await ask('')
      for (const text of ['BEGIN', 'SELECT absent FROM things', 'SELECT 1', 'COMMIT', 'SELECT 1 AS again'])
        await ask(text)
      await ask({ text: 'SELECT $1::int + $2', values: ['x', 1] })
      await ask({ text: 'SELECT * FROM things WHERE name = ANY ($1) AND doc IS NULL', values: [['x', 'y']] })
      await ask(`DO $$BEGIN RAISE NOTICE 'noted'; END$$`)
      await ask(`SELECT repeat('x', 1000000) AS long FROM generate_series(1, 5)`)
      const told = new Promise((resolve) => client.once('notification', ({ payload }) => resolve(payload)))
      await ask('LISTEN news')
      await ask(`SELECT pg_notify('news', 'hello')`)
      heard.push(await told)
      await ask('DROP TABLE things')
      await client.end()
      return heard
    })
    expect(got).toContain('hello')
    expect(JSON.stringify(got)).toContain('"code":"23505"')
  })

  test('keeps a pool of sessions', async () => {
    const got = await same(world, async (url) => {
      const pool = new pg.Pool({ connectionString: url, max: 4 })
      const sums = await Promise.all(
        Array.from({ length: 40 }, (_, n) => pool.query('SELECT sum(i)::int FROM generate_series(1, $1) i', [n])),
      )
      const late = await outcome(pool.query({ text: 'SELECT pg_sleep(65)', query_timeout: 50 } as pg.QueryConfig))
      await pool.end()
      return [sums.map(({ rows }) => rows), late]
    })
    expect(got[1]).toMatchObject({ message: 'Query read timeout' })
  })
})

describe('postgres.js', () => {
  test('gets the same with and without the gateway', async () => {
    const got = await same(world, async (url) => {
      const heard: unknown[] = []
      const sql = postgres(url, { max: 2, onnotice: ({ message }) => heard.push(message) })
      const ask = async (how: PromiseLike<unknown>) => {
        const result = await outcome(how)
        const { count, command, columns } = result as Partial<postgres.RowList<postgres.Row[]>>
        heard.push([structuredClone(result), count, command, columns?.map(({ name, type }) => [name, type])])
      }
      await ask(sql.unsafe(TABLE).simple())
      const [name, at, price, doc, tags] = VALUES as [string, Date, string, postgres.JSONValue, string[]]
      const row = { name, at, price, doc: sql.json(doc), tags, raw: Buffer.from([0, 255, 92]), big: `${2n ** 62n}` }
      await ask(sql`INSERT INTO things ${sql(row)} RETURNING *`)
      await ask(sql`INSERT INTO things ${sql([{ name: 'x' }, { name: 'y' }])} RETURNING id, name`)
      await ask(sql`INSERT INTO things ${sql({ name: 'x' })}`)
      await ask(sql`SELECT id, name FROM things WHERE name IN ${sql(['x', 'y'])} ORDER BY id`.values())
      await ask(sql`SELECT name, price, at FROM things WHERE at = ${at}`.raw())
      await ask(sql`SELECT name FROM things`.describe().then(({ string, types }) => ({ string, types })))
      await ask(sql`SELECT absent FROM things`)
      await ask(sql`SELECT FROM FROM`)
      await ask(sql.unsafe('SELECT 1 AS a; SELECT 2 AS b'))
      // Inside of transactions, one of which fails in part, and one as a whole.
      const begun = sql.begin(async (inside) => {
        await inside`UPDATE things SET price = 1 WHERE name = 'x'`
        await outcome(inside.savepoint((deeper) => deeper`SELECT 1 / 0`))
        return await inside`SELECT name, price FROM things WHERE price = 1`
      })
      await ask(begun)
      await ask(sql.begin('read only', (inside) => inside`DELETE FROM things`))
      await ask(sql.begin((inside) => [inside`SELECT 1 AS a`, inside`SELECT 2 AS b`]))
      // In parts: each asks for so many rows.
      const parts: unknown[] = []
      await sql`SELECT i FROM generate_series(1, 50) i`.cursor(7, (rows) => void parts.push(rows.map(({ i }) => i)))
      for await (const rows of sql`SELECT i FROM generate_series(1, 50) i`.cursor(20)) {
        parts.push(rows.length)
        if (parts.length > 9) break
      }
      await sql`SELECT i FROM generate_series(1, 5) i`.forEach(({ i }) => void parts.push(i))
      heard.push(parts)
      // Copies.
      const into = await sql`COPY things (name) FROM STDIN`.writable()
      await new Promise<void>((resolve, reject) => {
        into.on('error', reject).on('finish', resolve)
        for (let n = 0; n < 1000; n++) into.write(`row ${n}\n`)
        into.end()
      })
      const chunks: Buffer[] = []
      for await (const chunk of await sql`COPY (SELECT name FROM things ORDER BY id) TO STDOUT`.readable())
        chunks.push(chunk)
      heard.push(Buffer.concat(chunks).toString())
      // More sessions than one, and more statements than sessions.
      const many = Array.from(
        { length: 40 },
        (_, n) => sql`SELECT ${n}::int AS n, name FROM things ORDER BY id LIMIT 1`,
      )
      await ask(Promise.all(many))
      // A cancel, once it runs.
      const slow = sql`SELECT pg_sleep(66)`.execute()
      for (let runs = 0; runs === 0; ) {
        const [found] = await sql<{ runs: number }[]>`
          SELECT count(*)::int AS runs FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(66)'`
        runs = found?.runs ?? 0
      }
      slow.cancel()
      await ask(slow)
      const told = Promise.withResolvers<string>()
      const listening = await sql.listen('news', told.resolve)
      await sql.notify('news', 'hello')
      heard.push(await told.promise)
      await listening.unlisten()
      await ask(sql`DO $$BEGIN RAISE NOTICE 'noted'; END$$`)
      await ask(sql`DROP TABLE things`)
      await sql.end()
      return heard
    })
    expect(got).toEqual(expect.arrayContaining(['hello', 'noted']))
    expect(JSON.stringify(got)).toContain('"code":"57014"')
  })
})
