import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Refusal } from '../../../../src/domain/refusal.ts'
import { type Answer, createAnswer } from '../../../../src/protocols/postgres/query/answer.ts'
import { type Backend, type Column, encodeBackend } from '../../../../src/protocols/postgres/wire/backend.ts'

const COLUMN: Column = { name: 'a', table: 0, attribute: 0, dataType: 25, size: -1, modifier: -1, format: 'text' }

function described(...columns: Partial<Column>[]): Backend {
  return { type: 'row_description', columns: columns.map((column) => ({ ...COLUMN, ...column })) }
}

function row(...values: (string | null)[]): Backend {
  return { type: 'data_row', values: values.map((value) => (value === null ? null : Buffer.from(value))) }
}

interface Given {
  readonly answer: Answer
  readonly refused: readonly Refusal[]
  readonly bytes: () => number
}

function give(
  messages: readonly Backend[],
  { maxBytes = 1e6, room = 1e6, cutAt = [] as readonly number[] } = {},
): Given {
  const refused: Refusal[] = []
  let taken = 0
  const answer = createAnswer({
    maxBytes,
    take(bytes) {
      taken += bytes
      return taken <= room
    },
    onExcess: (why) => refused.push(why),
  })
  const stream = Buffer.concat(messages.map(encodeBackend))
  const cuts = [...cutAt.map((at) => at % stream.length).toSorted((one, other) => one - other), stream.length]
  let from = 0
  for (const cut of cuts) {
    answer.client.write(stream.subarray(from, cut))
    from = cut
  }
  return { answer, refused, bytes: () => taken }
}

function read({ answer }: Given): unknown {
  return JSON.parse(answer.encode(new Map([[25, 'text']])))
}

describe('an answer', () => {
  const messages: readonly Backend[] = [
    described({ name: 'name' }, { name: 'data', dataType: 114 }),
    row('one', '{"a": [1]}'),
    { type: 'notice', report: { S: 'NOTICE', V: 'NOTICE', C: '00000', M: 'hello', F: 'file.c', P: '3' } },
    row(null, '1}, "x": {'),
    { type: 'command_complete', tag: 'SELECT 2' },
    { type: 'ready', status: 'I' },
  ]

  it('is the same wherever its bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 8 }), (cutAt) => {
        expect(read(give(messages, { cutAt }))).toEqual({
          columns: [
            { name: 'name', type: 'text' },
            { name: 'data', type: '114' },
          ],
          rows: [
            { name: 'one', data: { a: [1] } },
            // What is not JSON cannot end the value it stands in.
            { name: null, data: '1}, "x": {' },
          ],
          rowCount: 2,
          command: 'SELECT',
          notices: [{ severity: 'NOTICE', code: '00000', message: 'hello', position: 3 }],
        })
      }),
    )
  })

  it.each([
    ['SELECT 5', 'SELECT', 5],
    ['INSERT 0 3', 'INSERT', 3],
    ['DELETE 0', 'DELETE', 0],
    ['CREATE TABLE', 'CREATE TABLE', null],
    ['REFRESH MATERIALIZED VIEW', 'REFRESH MATERIALIZED VIEW', null],
  ])('tells of %s', (tag, command, rowCount) => {
    expect(read(give([{ type: 'command_complete', tag }]))).toMatchObject({ command, rowCount })
  })

  it('keeps the first error', () => {
    const error = (code: string): Backend => ({ type: 'error', report: { S: 'ERROR', C: code, M: 'no' } })
    expect(give([error('23505'), error('57P01')]).answer.error).toMatchObject({ C: '23505' })
  })

  it('is not taken with rows that are not of its columns', () => {
    expect(() => give([described({}), row('a', 'b')])).toThrow('other columns')
  })
})

describe('more than may be kept', () => {
  it.each([
    ['in all rows', [described({}), ...Array.from({ length: 40 }, () => row('x'.repeat(50)))], 1000],
    ['in one row', [described({}), row('x'.repeat(2000))], 1000],
    [
      'by the names of columns',
      [described({ name: 'x'.repeat(60) }), ...Array.from({ length: 20 }, () => row('1'))],
      1000,
    ],
    ['by what JSON makes of it', [described({}), row('\u0001'.repeat(300))], 1000],
    [
      'by notices',
      Array.from({ length: 30 }, (): Backend => ({ type: 'notice', report: { M: 'x'.repeat(50) } })),
      1000,
    ],
  ])('is told once: %s', (_where, messages, maxBytes) => {
    const given = give([...messages, ...messages], { maxBytes })
    expect(given.refused).toMatchObject([{ code: 'too_large', detail: expect.stringContaining('1000 bytes') }])
    const before = given.bytes()
    given.answer.client.write(encodeBackend(row('more')))
    expect(given.bytes()).toBe(before)
  })

  it('is what there is no room for', () => {
    const many = Array.from({ length: 100 }, () => row('x'.repeat(100)))
    expect(give([described({}), ...many], { room: 5000 }).refused).toMatchObject([{ code: 'rate_limited' }])
    // A row that is not whole yet takes room, too.
    expect(give([described({}), row('x'.repeat(9000))], { room: 5000, cutAt: [8000] }).refused).toMatchObject([
      { code: 'rate_limited' },
    ])
  })
})
