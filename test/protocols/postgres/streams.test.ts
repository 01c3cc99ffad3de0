import { loadModule } from 'libpg-query'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createNamer } from '../../../src/protocols/postgres/naming/namer.ts'
import { encodeFrontend } from '../../../src/protocols/postgres/wire/frontend.ts'
import { CONVERSATIONS } from './fuzz/conversations.ts'
import { emptyTally, runStream } from './fuzz/harness.ts'
import { mutate } from './fuzz/mutate.ts'
import { createRandom } from './fuzz/random.ts'
import { bind, execute, parse, query, sync } from './raw.ts'

const SEED = 20_261_121
const STREAMS = 1_000

const namer = createNamer()
beforeAll(loadModule)
afterAll(() => namer.stop())

test('mutated conversations end, crash nothing, and get nothing through that was not judged', async () => {
  const tally = emptyTally()
  for (let index = 0; index < STREAMS; index += 10) {
    await Promise.all(
      Array.from({ length: 10 }, async (_, offset) => {
        const random = createRandom(SEED + index + offset)
        const turns = mutate(random.of(CONVERSATIONS), random, CONVERSATIONS)
        await runStream(turns, { name: `stream ${index + offset} of seed ${SEED}`, namer, random, tally })
      }),
    )
  }
  expect(tally.wrong).toEqual([])
  // Much of it gets far enough to count for something.
  expect(tally.sessions).toBeGreaterThan(STREAMS / 3)
  expect(tally.allowed).toBeGreaterThan(STREAMS / 3)
  // Where names are found, what they are by now, what a situation it is, and how a transaction is made to fail.
  const questions = new Set([...tally.own.keys()].map((sql) => sql.replace(/\s+/g, ' ').slice(0, 60)))
  expect(questions.size).toBeLessThan(12)
  for (const letter of 'QPBECSXdcf') expect(tally.forwarded.has(letter), letter).toBe(true)
}, 120_000)

test('conversations that nothing is done to are answered without a fault of the protocol', async () => {
  const tally = emptyTally()
  const random = createRandom(1)
  for (const [index, turns] of CONVERSATIONS.entries()) {
    await runStream(turns, { name: `conversation ${index}`, namer, random: { ...random, oneIn: () => false }, tally })
  }
  expect(tally.wrong).toEqual([])
  expect(tally.cancels).toBe(1)
})

test('whoever watches notices what was not judged', async () => {
  const lenient = { ...namer, name: () => Promise.resolve([]) }
  for (const messages of [[query('DELETE FROM orders')], [parse('SELECT 1'), bind(), execute(), sync]]) {
    const tally = emptyTally()
    const random = { ...createRandom(1), oneIn: () => false }
    const opening = CONVERSATIONS.at(-1)?.slice(0, 1) ?? []
    const said = [...(CONVERSATIONS.at(-1)?.[1]?.slice(0, 1) ?? []), ...messages.map(encodeFrontend)]
    await runStream([...opening, said], { name: 'unjudged', namer: lenient, random, tally })
    expect(tally.wrong[0]).toMatch(/not judged|forbidden/)
  }
})
