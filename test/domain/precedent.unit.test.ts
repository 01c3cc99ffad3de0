import { expect, it } from 'vitest'
import { describeDecisions, describeExtent, describeSpan } from '../../src/domain/precedent.ts'

it.each([
  [0, '1 minute'],
  [60_000, '1 minute'],
  [5_400_000, '90 minutes'],
  [7_200_000, '2 hours'],
  [86_400_000, '24 hours'],
  [172_800_000, '2 days'],
  [7_776_000_000, '90 days'],
])('%i ms are %s', (ms, text) => {
  expect(describeSpan(ms)).toBe(text)
})

it('says what was decided, a denial first', () => {
  const none = { approved: 0, identical: 0, overridden: 0, granted: 0, denied: 0 }
  expect(describeDecisions(none)).toEqual([])
  expect(describeDecisions({ approved: 2, identical: 2, overridden: 1, granted: 3, denied: 1 })).toEqual([
    'denied once',
    'approved twice, 2 with the same content',
    'overridden once',
    'let through 3 times by grants, which nobody looked at',
  ])
})

it.each([
  [1, 0, 'approved once, not with the same content'],
  [1, 1, 'approved once, with the same content'],
  [2, 0, 'approved twice, none of them with the same content'],
  [3, 1, 'approved 3 times, 1 with the same content'],
])('of %i approvals, %i with the same content, says: %s', (approved, identical, said) => {
  expect(describeDecisions({ approved, identical, overridden: 0, granted: 0, denied: 0 })).toEqual([said])
})

it('says that two calls are the same only if their bytes are', () => {
  const change = { at: 'held by', before: 'a', now: 'b' }
  const said = (extent: 'none' | 'attempt' | 'content', changes: readonly (typeof change)[]) =>
    describeExtent({ extent, changes, more: 0 })
  expect(said('none', [])).toBe('The same call, to the last byte.')
  expect(said('none', [change])).toBe('The same bytes; what stands around them is different:')
  expect(said('attempt', [])).toContain('The same but for')
  expect(said('attempt', [change])).toMatch(/^The same but for.*:$/)
  expect(said('content', [])).toBe('It differs, but in nothing that the cards show.')
  expect(said('content', [change])).toBe('What differs here:')
})
