import { expect, test } from 'vitest'
import { refuse } from '../../../../src/domain/refusal.ts'
import { faultOf } from '../../../../src/protocols/postgres/wire/report.ts'

test('a refusal is told in its first sentence, and its rule in a sentence of its own', () => {
  expect(faultOf(refuse('denied', 'Not executed. Say which rows. (rule orders/whole)'))).toMatchObject({
    code: '42501',
    message: 'Not executed. Say which rows.',
    detail: 'Rule orders/whole.',
  })
  expect(faultOf(refuse('denied', 'Not executed. Say which rows. With WHERE. (rule orders/whole)')).detail).toBe(
    'With WHERE. (rule orders/whole)',
  )
})

test('an approval is named once, and never behind the words of a reviewer', () => {
  const approval = '7Q3F000000'
  const said = `Not executed. A reviewer denied approval ${approval}. The reviewer said: not these`
  expect(faultOf(refuse('not_approved', said, { approval }))).toMatchObject({
    message: `Not executed. A reviewer denied approval ${approval}.`,
    detail: 'The reviewer said: not these',
  })
  expect(faultOf(refuse('unavailable', 'Not executed. The store is away.', { approval })).detail).toBe(
    `Approval ${approval}.`,
  )
})
