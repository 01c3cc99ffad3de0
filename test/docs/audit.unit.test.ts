import { describe, expect, it } from 'vitest'
import { EXIT_CODES } from '../../src/audit/verify.ts'
import { KINDS, OUTCOMES } from '../../src/domain/entry.ts'
import { quoted, readPage, tableUnder } from './pages.ts'

const page = readPage('docs/audit.md')

function listed(heading: string) {
  return Object.fromEntries(tableUnder(page, heading).map(([name = '', says]) => [quoted(name)[0], says]))
}

describe('the closed lists of the audit log', () => {
  it('are the kinds of the program', () => {
    expect(listed('Kinds')).toEqual(KINDS)
  })

  it('are the outcomes of the program', () => {
    expect(listed('Outcomes')).toEqual(OUTCOMES)
  })

  it('are the verdicts of verify, with their exit codes', () => {
    const codes = tableUnder(page, 'Verify').map(([code, verdict = '']) => [quoted(verdict)[0], Number(code)])
    expect(Object.fromEntries(codes)).toEqual(EXIT_CODES)
  })
})
