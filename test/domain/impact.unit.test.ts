import { describe, expect, it } from 'vitest'
import { mostRows, parseTolerance } from '../../src/domain/impact.ts'

describe('a tolerance', () => {
  it.each([
    ['0%', { percent: 0 }],
    ['10%', { percent: 10 }],
    ['20 rows', { rows: 20 }],
  ])('%s', (text, tolerance) => {
    expect(parseTolerance(text)).toEqual(tolerance)
  })

  it.each(['', '10', '10 %', '-1%', '1.5%', '1000%', '05%', '20rows', '1e9 rows', 'any'])('is not %j', (text) => {
    expect(parseTolerance(text)).toBeNull()
  })
})

describe('the most rows', () => {
  it('are those that were counted, without a tolerance', () => {
    expect(mostRows(7, [])).toBe(7)
  })

  it('are rounded down', () => {
    expect(mostRows(19, [{ percent: 10 }])).toBe(20)
  })

  it('are the fewest of several', () => {
    expect(mostRows(100, [{ percent: 10 }, { rows: 3 }, { percent: 50 }])).toBe(103)
    expect(mostRows(0, [{ percent: 500 }])).toBe(0)
  })
})
