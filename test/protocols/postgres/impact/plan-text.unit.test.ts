import { expect, it } from 'vitest'
import { readPlan } from '../../../../src/protocols/postgres/impact/plan-text.ts'

const explained = (plan: object) => JSON.stringify([{ Plan: plan }])

it('says what is read how, and about how many rows that is', () => {
  const scan = { 'Node Type': 'Index Scan', 'Relation Name': 'orders', 'Index Name': 'orders_pkey', 'Plan Rows': 12 }
  const plan = { 'Node Type': 'ModifyTable', Operation: 'Delete', 'Relation Name': 'orders', 'Plan Rows': 0 }
  expect(readPlan(explained({ ...plan, Plans: [scan] }))).toEqual([
    'Delete on orders, about 12 rows',
    'Index Scan on orders by orders_pkey, about 12 rows',
  ])
})

it('stops after some lines', () => {
  const nested = Array.from({ length: 20 }).reduce<object>((inner) => ({ 'Node Type': 'Limit', Plans: [inner] }), {})
  expect(readPlan(explained(nested))).toEqual(Array(6).fill('Limit'))
})

it.each(['', 'no JSON', '[]', '{}', '[{}]', 'null'])('makes nothing of %j', (text) => {
  expect(readPlan(text)).toBeNull()
})
