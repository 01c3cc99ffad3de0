import { describe, expect, it } from 'vitest'
import { refusePending } from '../../src/approvals/refusals.ts'
import { PROBLEM_BASE, problemOf } from '../../src/domain/problem.ts'
import { CODES, type Code } from '../../src/domain/refusal.ts'
import { blocks, quoted, readPage, tableUnder } from './pages.ts'

const page = readPage('docs/codes.md')

describe('the list of codes', () => {
  const rows = tableUnder(page, 'Every code')

  it('is the one of the program, with its statuses', () => {
    const listed = rows.map(([code = '', status]) => [quoted(code)[0], Number(status)])
    expect(listed).toEqual(Object.entries(CODES))
  })

  it('says of each what it means and what to do', () => {
    for (const [, , meaning = '', advice = ''] of rows) {
      expect(meaning.length).toBeGreaterThan(10)
      expect(advice.length).toBeGreaterThan(10)
    }
  })
})

it('shows a problem as it is made', () => {
  const shown = JSON.parse(blocks(page, 'json')[0] ?? '')
  const { code, call: callId, approval } = shown
  expect(Object.keys(CODES)).toContain(code satisfies Code)
  expect(
    problemOf(refusePending({ id: approval, requirements: [] }), { callId, publicUrl: 'https://gateway.example.com' }),
  ).toEqual(shown)
  expect(shown.type).toBe(PROBLEM_BASE + code)
})
