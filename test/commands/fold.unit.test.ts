import { describe, expect, it } from 'vitest'
import { fold } from '../../src/commands/fold.ts'
import { columnsOf } from '../../src/commands/terminal.ts'

describe('folding', () => {
  it('breaks at a blank where there is one, and loses nothing', () => {
    const line = '  its message     Refunds above a hundred are looked at by finance'
    const rows = fold([line], 40)
    expect(rows).toEqual(['  its message     Refunds above a ', '  ¦ hundred are looked at by finance'])
    expect(rows.join('').replaceAll('  ¦ ', '')).toBe(line)
  })

  it('takes a word that fits into a row whole to the next', () => {
    expect(fold([`  issuer          ${'i'.repeat(30)}`], 40)).toEqual(['  issuer          ', `  ¦ ${'i'.repeat(30)}`])
  })

  it('breaks a word that fits into no row', () => {
    expect(fold([`  | ${'x'.repeat(80)}`], 40)).toEqual([
      `  | ${'x'.repeat(36)}`,
      `  ¦ ${'x'.repeat(36)}`,
      `  ¦ ${'x'.repeat(8)}`,
    ])
  })

  it('leaves no row longer than the terminal, and marks each further one', () => {
    for (let blanks = 0; blanks < 90; blanks++) {
      const [first = '', ...more] = fold([`  | ${'a '.repeat(20)}${' '.repeat(blanks)}付付 owner  mallory`], 40)
      for (const row of [first, ...more]) expect(row.length).toBeLessThanOrEqual(40)
      for (const row of more) expect(row.startsWith('  ¦ ')).toBe(true)
    }
  })

  it('is not done where there is no terminal', () => {
    const line = `  | ${'付 word '.repeat(50)}`
    expect(fold([line], columnsOf({ isTTY: false, columns: 20 }))).toEqual([line])
  })
})

describe('the columns of a terminal', () => {
  it('are the usual ones, where it says that it has none', () => {
    expect([0, 1, 120].map((columns) => columnsOf({ isTTY: true, columns }))).toEqual([80, 1, 120])
  })
})
