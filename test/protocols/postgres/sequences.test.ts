import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEmptyDatabase, type TestDatabase } from '../../postgres.ts'
import { type Comparison, ops, startComparison } from './fuzz/sequences.ts'
import { startWorld, type World } from './world.ts'

let world: World
let direct: TestDatabase
let comparison: Comparison

beforeAll(async () => {
  world = await startWorld()
  direct = await createEmptyDatabase()
  comparison = await startComparison(world, direct.adminUrl)
})
afterAll(async () => {
  await comparison.close()
  await world.close()
  await direct.close()
})

test('any sequence of messages is answered as without the gateway, and only what was judged runs', async () => {
  await fc.assert(
    fc.asyncProperty(ops, (sequence) => comparison.play(sequence)),
    { numRuns: 40, seed: 20_261_121 },
  )
  expect(comparison.counts.alike).toBeGreaterThan(200)
}, 120_000)
