import { afterAll, describe, expect, it } from 'vitest'
import { createNamer } from '../../../../src/protocols/postgres/naming/namer.ts'
import { actsOf, sessionOf } from './session.ts'

const namer = createNamer()
afterAll(() => namer.stop())

const code = async (sql: string) => actsOf(await namer.name(sql, sessionOf()))

describe('hostile input', () => {
  const deep = 12_000

  it.each<[string, string]>([
    ['sums', `SELECT 1${'+1'.repeat(deep)}`],
    ['brackets', `SELECT ${'('.repeat(deep)}1${')'.repeat(deep)}`],
    ['queries', `${'SELECT * FROM ('.repeat(3_000)}SELECT 1${') x'.repeat(3_000)}`],
    ['NOT', `SELECT ${'NOT '.repeat(deep)}true`],
    ['unions', `SELECT 1${' UNION SELECT 1'.repeat(4_000)}`],
    ['arrays', `SELECT ${'ARRAY['.repeat(5_000)}1${']'.repeat(5_000)}`],
    ['casts', `SELECT 1${'::int'.repeat(deep)}`],
    ['cases', `SELECT ${'CASE WHEN true THEN '.repeat(2_000)}1${' END'.repeat(2_000)}`],
    [
      'assignments of one query',
      `UPDATE t SET (${Array.from({ length: 2_000 }, (_, i) => `c${i}`).join(',')}) = (SELECT ${'1,'.repeat(5_000)}1)`,
    ],
    ['statements', 'SELECT 1;'.repeat(7_000)],
    ['comments', `${'/*'.repeat(10_000)}${'*/'.repeat(10_000)} SELECT 1`],
    ['dollar quotes', 'SELECT $a$'.repeat(6_000)],
    ['WITHs', `${'WITH a AS (SELECT 1) SELECT * FROM ('.repeat(1_500)}SELECT 1${') x'.repeat(1_500)} FOR UPDATE`],
  ])('in %s is named or refused, and the next statement is named', async (_, sql) => {
    const names = await namer.name(sql, sessionOf())
    if ('refused' in names) expect(['54001', '42601', '54000']).toContain(names.code)
    expect(await code('SELECT 1')).toEqual([['select shop']])
  })
})
