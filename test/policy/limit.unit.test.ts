import { describe, expect, it } from 'vitest'
import { parseLimit } from '../../src/policy/limit.ts'

describe('limits', () => {
  it('are read as they are written', () => {
    expect(parseLimit('10MiB per call')).toEqual({ unit: 'bytes', amount: 10 * 1024 ** 2, windowMs: null })
    expect(parseLimit('100MiB per 1h')).toEqual({ unit: 'bytes', amount: 100 * 1024 ** 2, windowMs: 3_600_000 })
    expect(parseLimit('5000 rows per call')).toEqual({ unit: 'rows', amount: 5000, windowMs: null })
    expect(parseLimit('100 calls per 1m')).toEqual({ unit: 'calls', amount: 100, windowMs: 60_000 })
  })

  for (const text of [
    '',
    '10MiB',
    '10MiB per',
    'per call',
    '10 per call',
    '1 calls per call',
    '1 rows per 10ms',
    '1 rows per 60d',
    '0 rows per call',
    '-1 rows per call',
    '1.5 rows per call',
    '1e3 rows per call',
    '10 mib per call',
    '1 row per call',
  ]) {
    it(`are not: "${text}"`, () => {
      expect(parseLimit(text)).toBeNull()
    })
  }
})
