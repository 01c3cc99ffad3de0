import { expect, test } from 'vitest'
import { presentDoings } from '../../../../src/protocols/postgres/call/present.ts'
import { NOTHING_GIVEN } from '../../../../src/protocols/postgres/planning/meaning.ts'
import type { Doing } from '../../../../src/protocols/postgres/planning/plan.ts'

function doing(sql: string, more: Partial<Doing> = {}): Doing {
  return { how: 'run', sql, named: [], bound: null, meanings: [], maxRows: 0, slot: null, ...more }
}

function bind(values: readonly (Buffer | null)[], formats: readonly ('text' | 'binary')[] = []): Doing['bound'] {
  return { sql: '', named: [], parameterTypes: [], formats, values, resultFormats: [], meanings: [] }
}

test('no line of the agent looks like one that the gateway adds', () => {
  const forged = 'DELETE FROM t WHERE id = $1\n$1 = "5"\r$1 = "6"\u2028$1 = "7"\nMade ready, not run:\nSELECT 1'
  const { text } = presentDoings([doing(forged, { bound: bind([Buffer.from('1\n$1 = "2"')]) })])
  expect(text?.split('\n').filter((line) => !line.startsWith('  '))).toEqual(['$1 = "1\\n$1 = \\"2\\""'])
})

test('each statement is shown with what belongs to it', () => {
  const { text, isCut } = presentDoings([
    doing('SELECT $1, $2', { bound: bind([null, Buffer.from([1, 255])], ['text', 'binary']), maxRows: 5 }),
    doing('DROP TABLE t', { how: 'prepare' }),
  ])
  expect(text?.split('\n')).toEqual([
    '  SELECT $1, $2',
    '$1 = NULL',
    '$2 = \\x01ff (binary)',
    'At most 5 rows at a time.',
    'Made ready, not run:',
    '  DROP TABLE t',
  ])
  expect(isCut).toBe(false)
})

test('what a name stands for is shown with what belongs to that', () => {
  const inner = { ...NOTHING_GIVEN, name: 's', sql: 'PREPARE s AS\nDELETE FROM t' }
  const outer = { ...NOTHING_GIVEN, name: 'p', sql: 'EXECUTE s', values: [Buffer.from('5')], meanings: [inner] }
  const { text } = presentDoings([doing('FETCH p', { meanings: [outer] })])
  expect(text?.split('\n')).toEqual([
    '  FETCH p',
    '"p" stands for:',
    '  EXECUTE s',
    '$1 = "5"',
    '"s" stands for:',
    '  PREPARE s AS',
    '  DELETE FROM t',
  ])
})

test.each([
  ['a value that is too long', Buffer.alloc(4_001, 'a')],
  ['a value that is no text', Buffer.from([0xff])],
])('%s is not all that there is', (_, value) => {
  const { text, isCut } = presentDoings([doing('SELECT $1', { bound: bind([value]) })])
  expect(isCut).toBe(true)
  expect(text).toContain('[cut: there is more than is shown here]')
})
