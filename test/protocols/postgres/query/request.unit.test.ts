import { describe, expect, it } from 'vitest'
import { isRefusal } from '../../../../src/domain/refusal.ts'
import {
  batchOf,
  type Query,
  readQuery,
  restoreQuery,
  storeQuery,
} from '../../../../src/protocols/postgres/query/request.ts'

const QUERY: Query = { sql: 'SELECT $1', params: ['1', null], database: 'shop' }

function read(body: string, onlyDatabase: string | null = 'shop') {
  return readQuery(Buffer.from(body), onlyDatabase)
}

describe('the body of a query', () => {
  it('has parameters as text', () => {
    expect(read('{"sql": "SELECT 1", "params": [1, 0.1, -1e21, true, null, "x"]}')).toEqual({
      sql: 'SELECT 1',
      params: ['1', '0.1', '-1e+21', 'true', null, 'x'],
      database: 'shop',
    })
  })

  it('says which database where the upstream does not', () => {
    expect(read('{"sql": "SELECT 1", "database": "other"}', null)).toMatchObject({ database: 'other' })
    const unsaid = read('{"sql": "SELECT 1"}', null)
    expect(isRefusal(unsaid) && unsaid.detail).toContain('which database')
  })
})

describe('a query that waits', () => {
  it('is the same afterwards', () => {
    expect(restoreQuery(storeQuery(QUERY))).toEqual(QUERY)
  })

  it.each([
    { version: 2, by: 'query' },
    { version: 1, database: 'shop' },
  ])('is not guessed at: %j', (head) => {
    expect(restoreQuery({ ...storeQuery(QUERY), head })).toBeNull()
  })
})

it('a query is one batch of the extended protocol', () => {
  const { kind, sent } = batchOf(QUERY)
  expect(kind).toBe('sync')
  expect(sent.map(({ message }) => message.type)).toEqual(['parse', 'bind', 'describe', 'execute', 'sync'])
})
