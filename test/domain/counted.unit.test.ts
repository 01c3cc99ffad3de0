import { expect, it } from 'vitest'
import { counted } from '../../src/domain/counted.ts'

it('says one of a thing, and several', () => {
  expect([0, 1, 2, 1200].map((count) => counted(count, 'rule'))).toEqual(['0 rules', '1 rule', '2 rules', '1200 rules'])
  expect([1, 2].map((count) => counted(count, 'policy', 'policies'))).toEqual(['1 policy', '2 policies'])
})
