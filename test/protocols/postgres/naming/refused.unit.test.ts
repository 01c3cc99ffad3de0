import { afterAll, describe, expect, it } from 'vitest'
import { createNamer, MAX_BYTES } from '../../../../src/protocols/postgres/naming/namer.ts'
import { createParser } from '../../../../src/protocols/postgres/naming/parser.ts'
import { actsOf, sessionOf } from './session.ts'

const namer = createNamer()
afterAll(() => namer.stop())

const code = async (sql: string, more = {}) => actsOf(await namer.name(sql, sessionOf(more)))

describe('what is refused', () => {
  it('says where the syntax is wrong, as the server counts', async () => {
    expect(await namer.name(`SELECT 'ünï' AS "größer" FROM FROM`, sessionOf())).toEqual({
      refused: true,
      code: '42601',
      message: 'syntax error at or near "FROM"',
      position: 31,
    })
  })

  it.each<[string, string, string]>([
    ['no SQL', 'SELEKT 1', '42601'],
    ['an open quote', "SELECT 'x", '42601'],
    ['a NUL', 'SELECT 1;\0 DELETE FROM users', '22021'],
    ['half a surrogate', 'SELECT \ud800', '22021'],
    ['more than 64 KiB', `SELECT '${'x'.repeat(MAX_BYTES)}'`, '54000'],
    ['other rules for quotes', "SET standard_conforming_strings = off; SELECT '\\'; DROP TABLE x --'", '0A000'],
    [
      'other rules for quotes, under another name',
      "SELECT set_config('Standard_Conforming_Strings', 'off', false)",
      '0A000',
    ],
    [
      'other rules for quotes, computed',
      "SELECT set_config('standard_conforming_strings', lower('OFF'), false)",
      '0A000',
    ],
    [
      'other rules for quotes, prepared',
      "PREPARE p AS SELECT set_config('standard_conforming_strings', 'off', false)",
      '0A000',
    ],
    ['other rules for quotes, for a transaction', 'SET LOCAL standard_conforming_strings TO false', '0A000'],
    ['another encoding', "SET client_encoding = 'SJIS'", '0A000'],
    ['another encoding, by SET NAMES', "SET NAMES 'LATIN1'", '0A000'],
    ['names behind a change of the path', 'SET search_path = evil; SELECT * FROM users', '0A000'],
    ['functions behind a change of the path', 'SET search_path = evil, pg_catalog; SELECT now()', '0A000'],
    ['operators behind a change of the path', 'SET search_path = evil, pg_catalog; SELECT 1 + 1', '0A000'],
    [
      'functions of a row behind a change of the path',
      'SET search_path = evil; SELECT u.leak FROM public.users u',
      '0A000',
    ],
    ['names behind code that cannot be seen', "DO 'x'; SELECT * FROM users", '0A000'],
    ['names behind a role', 'SET ROLE evil; SELECT * FROM users', '0A000'],
    ['names behind RESET', 'RESET ALL; SELECT * FROM users', '0A000'],
    [
      'names behind a transaction that set the path',
      'BEGIN; SET search_path = x; ROLLBACK; SELECT * FROM users',
      '0A000',
    ],
    ['names behind a new schema', 'CREATE SCHEMA evil; SELECT * FROM users', '0A000'],
    ['a backslash behind code that cannot be seen', "SELECT public.f(); SELECT '\\'", '0A000'],
    ['other letters behind code that cannot be seen', "SELECT public.f(); SELECT 'あ'", '0A000'],
    ['names behind a change of pg_settings', "UPDATE pg_settings SET setting = 'x'; SELECT * FROM users", '0A000'],
    ['a cursor that was explained only', 'EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT 1; FETCH c', '34000'],
    ['an extension’s names', 'CREATE EXTENSION x; SELECT y()', '0A000'],
    ['a new name with no schema to make it in', 'CREATE TABLE t (a int)', '3F000'],
  ])('is %s', async (_, sql, expected) => {
    const more = expected === '3F000' ? { searchPath: ['pg_catalog'] } : {}
    expect(await code(sql, more)).toBe(expected)
  })

  it('is everything, in a session that reads otherwise than the parser', async () => {
    expect(await code('SELECT 1', { standardConformingStrings: false })).toBe('0A000')
    expect(await code('SELECT 1', { clientEncoding: 'SQL_ASCII' })).toBe('0A000')
  })

  it('is what is not ASCII, where the server reads names in another encoding', async () => {
    for (const sql of ['SELECT * FROM É', 'SELECT 1 -- é', 'PREPARE U&"!00e9" UESCAPE \'!\' AS SELECT 1']) {
      expect(typeof (await code(sql))).toBe('object')
      expect(await code(sql, { serverEncoding: 'LATIN1' })).toBe('0A000')
      expect(await code(sql, { serverEncoding: '' })).toBe('0A000')
    }
    expect(await code('SELECT 1', { serverEncoding: 'LATIN1' })).toEqual([['select shop']])
  })

  it('is a statement that does more things than a person could read', async () => {
    const tables = Array.from({ length: 300 }, (_, index) => `public.t${index}`).join(', ')
    expect(await code(`SELECT * FROM ${tables}`)).toBe('54001')
  })

  it('is a statement whose names the catalog cannot be asked for', async () => {
    const catalog = { holders: () => Promise.reject(new Error('gone')) }
    expect(await code('SELECT * FROM users', { catalog })).toBe('57P03')
    expect(await code('SELECT * FROM public.users', { catalog })).toEqual([['select public.users']])
  })

  it.each([
    "SET standard_conforming_strings = on; SET client_encoding = 'UTF8'; SET NAMES 'utf-8'",
    "SELECT pg_catalog.set_config('search_path', '', false)",
    'SET search_path = x',
    'SET search_path = x; SELECT * FROM public.users',
    'BEGIN; SELECT * FROM users; COMMIT; SELECT * FROM users',
  ])('is not %s', async (sql) => {
    expect(typeof (await code(sql))).toBe('object')
  })

  it('is not a message without a statement', async () => {
    for (const sql of ['', ' \n', ';', ';;', '-- x', '/* x */']) expect(await code(sql)).toEqual([])
    expect(await namer.prepare('')).toBeNull()
  })

  it('is more than one statement in a Parse message', async () => {
    expect(await namer.prepare('SELECT 1; SELECT 2')).toMatchObject({ code: '42601' })
  })
})

describe('a thread that parses', () => {
  const file = (name: string) => new URL(`./${name}-process.ts`, import.meta.url)

  it('is replaced when it dies, and its statement refused', async () => {
    const parser = createParser({ file: file('dying'), threads: 1 })
    try {
      expect(await parser.parse('die')).toMatchObject({ code: '54001' })
      expect(await parser.parse('throw')).toMatchObject({ code: '54001' })
      expect(await parser.parse('broken')).toMatchObject({ code: '54001' })
      expect(await parser.parse('SELECT 1')).toEqual({ pieces: [] })
    } finally {
      await parser.stop()
    }
  })

  it('is replaced when it takes too long, and those that wait are served', async () => {
    const parser = createParser({ file: file('dying'), threads: 1, timeoutMs: 300 })
    try {
      const answers = await Promise.all([parser.parse('spin'), parser.parse('SELECT 1')])
      expect(answers).toMatchObject([{ code: '54001' }, { pieces: [] }])
    } finally {
      await parser.stop()
    }
  })

  it('keeps no more waiting than it should', async () => {
    const parser = createParser({ file: file('dying'), threads: 1, maxQueued: 1 })
    try {
      const waiting = parser.parse('SELECT 1')
      expect(await parser.parse('SELECT 2')).toMatchObject({ code: '53400' })
      expect(await waiting).toEqual({ pieces: [] })
    } finally {
      await parser.stop()
    }
  })

  it('is not waited for by who has gone, nor after the end', async () => {
    const parser = createParser({ file: file('dying'), threads: 1 })
    const gone = new AbortController()
    const spinning = parser.parse('spin')
    const waiting = parser.parse('SELECT 1', gone.signal)
    gone.abort()
    expect(await waiting).toMatchObject({ code: '57P01' })
    await parser.stop()
    expect(await spinning).toMatchObject({ code: '57P01' })
    expect(await parser.parse('SELECT 1')).toMatchObject({ code: '57P01' })
  })
})
