import fc from 'fast-check'
import { loadModule, parseSync } from 'libpg-query'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { qualify, quote } from '../../../../src/protocols/postgres/naming/identifier.ts'
import { createNamer } from '../../../../src/protocols/postgres/naming/namer.ts'
import { actsOf, type Contents, sessionOf } from './session.ts'

const namer = createNamer()
beforeAll(loadModule)
afterAll(() => namer.stop())

const acts = async (sql: string, contents: Contents = {}) => actsOf(await namer.name(sql, sessionOf({}, contents)))

const gap = fc.constantFrom(' ', '\n', '\t', ' /* x */ ', ' /* /* y */ DROP TABLE z; */ ', ' -- ; DROP\n')

/** One name in one of the ways it can be written. */
const written = (name: string) =>
  fc.constantFrom(
    name,
    name.toUpperCase(),
    `"${name}"`,
    `U&"${[...name].map((char) => `\\${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`).join('')}"`,
    `U&"\\+${(name.codePointAt(0) ?? 0).toString(16).padStart(6, '0')}${name.slice(1)}"`,
  )

/** A query that reads one relation, however deep it stands. */
const wrap: fc.Arbitrary<(inner: string) => string> = fc.constantFrom<(inner: string) => string>(
  (inner) => `SELECT * FROM (${inner}) q`,
  (inner) => `WITH w AS (${inner}) SELECT * FROM w`,
  (inner) => `SELECT (SELECT * FROM (${inner}) l LIMIT 1)`,
  (inner) => `SELECT 1 WHERE EXISTS (${inner})`,
  (inner) => `SELECT 1 UNION ALL (${inner})`,
  (inner) => `SELECT CASE WHEN 1 IN (${inner}) THEN 1 END`,
  (inner) => `SELECT * FROM (VALUES ((${inner}))) v`,
  (inner) => `SELECT ARRAY(${inner})`,
  (inner) => `SELECT 1 ORDER BY (${inner})`,
  (inner) => `SELECT 1 LIMIT (${inner})`,
  (inner) => `SELECT count(*) FILTER (WHERE EXISTS (${inner})) OVER (PARTITION BY (${inner}))`,
  (inner) => `SELECT * FROM generate_series(1, (${inner})) g`,
  (inner) => `SELECT 1 GROUP BY GROUPING SETS ((), ((${inner})))`,
  (inner) => `SELECT json_object('a': (${inner}))`,
  (inner) => `SELECT xmlforest((${inner}) AS a)`,
  (inner) => `SELECT * FROM (SELECT 1) a JOIN (SELECT 2) b ON (${inner}) IS NULL`,
)

describe('what a statement is named as', () => {
  it('does not depend on how its names are written, nor on white space and comments', async () => {
    await fc.assert(
      fc.asyncProperty(
        written('public'),
        written('users'),
        fc.array(gap, { minLength: 8, maxLength: 8 }),
        async (schema, name, gaps) => {
          const [a, b, c, d, e, f, g, h] = gaps
          const sql = `${a}DELETE${b}FROM${c}${schema}${d}.${e}${name}${f}WHERE${g}id = 1${h}`
          expect(await acts(sql)).toEqual([['delete public.users']])
        },
      ),
      { numRuns: 200 },
    )
  })

  it('has a relation that is read, however deep it stands', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(wrap, { minLength: 1, maxLength: 5 }), async (wraps) => {
        const sql = wraps.reduce((inner, one) => one(inner), 'SELECT id FROM public.users')
        const names = await acts(sql)
        expect(Array.isArray(names) && names[0]?.includes('select public.users'), sql).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  it('has a change that is made, wherever a WITH may stand', async () => {
    const change = fc.constantFrom(
      'DELETE FROM public.users',
      'UPDATE public.users SET a = 1',
      'INSERT INTO public.users VALUES (1)',
    )
    const around = fc.constantFrom<(inner: string) => string>(
      (inner) => `WITH w AS (${inner} RETURNING 1) SELECT * FROM w`,
      (inner) => `WITH a AS (SELECT 1), w AS (${inner}) SELECT 1`,
      (inner) => `WITH w AS (${inner}) INSERT INTO app.log SELECT 1`,
      (inner) => `EXPLAIN ANALYZE WITH w AS (${inner}) SELECT 1`,
      (inner) => `COPY (WITH w AS (${inner}) SELECT 1) TO STDOUT`,
      (inner) => `CREATE TABLE app.n AS WITH w AS (${inner}) SELECT 1`,
      (inner) => `PREPARE p AS ${inner}; EXECUTE p`,
    )
    await fc.assert(
      fc.asyncProperty(change, around, async (inner, outer) => {
        const verb = inner.slice(0, 6).toLowerCase()
        const names = await acts(outer(inner))
        expect(Array.isArray(names) && names.at(-1)?.includes(`${verb} public.users`), outer(inner)).toBe(true)
      }),
    )
  })

  it('keeps every two names apart, and can be read back by the parser', () => {
    const identifier = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 12 })
      .filter((name) => !name.includes('\0') && name.isWellFormed() && Buffer.byteLength(name) < 64)
    fc.assert(
      fc.property(identifier, identifier, (schema, name) => {
        const [raw] = parseSync(`TABLE ${quoted(schema)}.${quoted(name)}`).stmts ?? []
        const select = raw?.stmt as {
          SelectStmt: { fromClause: [{ RangeVar: { schemaname: string; relname: string } }] }
        }
        const read = select.SelectStmt.fromClause[0].RangeVar
        return read.schemaname === schema && read.relname === name && !/[/\p{Cc}\p{Cf}]/u.test(qualify(schema, name))
      }),
      { numRuns: 100 },
    )
  })

  it('cuts a name that is too long where the server cuts it', async () => {
    const long = 'u'.repeat(63)
    expect(await acts(`SELECT * FROM public.${long}xyz`)).toEqual([[`select public.${long}`]])
  })
})

/** As `quote` writes it; a plain word in quotes too, since it may be a keyword. */
function quoted(name: string): string {
  const text = quote(name)
  return text === name ? `"${name}"` : text
}
