import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { compareRecords } from './agree.ts'
import { createRounds, type Fate, judgeFates, MOMENTS, type Rounds } from './crash.ts'
import { countersign, type Replica } from './replica.ts'
import { startWorld, type World } from './world.ts'

/** By moment; together with the calls of each, twenty calls are cut off at every moment. */
const ROUNDS = { holding: 5, approved: 5, spent: 5, forwarded: 5, anywhere: 2 }
const CALLS = 4

let store: TestDatabase
let world: World
let survivor: Replica
let rounds: Rounds
const fates: Fate[] = []
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  survivor = await world.start()
  rounds = createRounds(world, survivor)
})
afterAll(async () => {
  await rounds?.close()
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

describe('a gateway that is killed', () => {
  it.for(MOMENTS)('%s: loses no decision and repeats no call', { timeout: 60_000 }, async (moment) => {
    for (let round = 0; round < ROUNDS[moment]; round++) {
      fates.push(...(await rounds.run(moment, { way: round, calls: CALLS })))
    }
    expect(fates.filter((fate) => fate.moment === moment)).toHaveLength(ROUNDS[moment] * CALLS)
  })

  it('leaves a log that agrees with the upstream, `unknown` exactly where it is unknown', {
    timeout: 60_000,
  }, async () => {
    // It counts as dead when it has not been heard of for a while; then the survivor says what it owed.
    await expect
      .poll(() => world.admin.query(UNSETTLED).then(({ rows }) => rows), { timeout: 45_000, interval: 500 })
      .toEqual([])
    const account = await compareRecords(world.admin, world.upstream.received())
    expect(account.contradictions).toEqual([])
    expect(judgeFates(fates, account)).toEqual([])
    await survivor.stop()
    expect(await countersign('audit', 'verify', '--config', survivor.configFile)).toMatchObject({ code: 0 })
  })
})

const UNSETTLED = `SELECT id FROM countersign.approval WHERE state = 'spent' AND outcome IS NULL`
