// Feeds mutated conversations to the Postgres front of the gateway, and watches what gets through; or plays generated
// sequences of messages through a gateway and past it, and compares.
//
//   node --expose-gc scripts/fuzz-postgres.ts streams [--runs 100000] [--seed 1] [--at-once 8]
//   node scripts/fuzz-postgres.ts sequences [--runs 1000] [--seed 1]
//
// Ctrl-C ends it early, and prints what there is. Ends with 0 if nothing was wrong. docs/fuzzing.md says what it does and what came of it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import fc from 'fast-check'
import { loadModule } from 'libpg-query'
import pg from 'pg'
import { startEmbedded } from '../src/platform/embedded.ts'
import { createLogger } from '../src/platform/logger.ts'
import { createNamer } from '../src/protocols/postgres/naming/namer.ts'
import { CONVERSATIONS } from '../test/protocols/postgres/fuzz/conversations.ts'
import { emptyTally, runStream, type Tally } from '../test/protocols/postgres/fuzz/harness.ts'
import { mutate } from '../test/protocols/postgres/fuzz/mutate.ts'
import { createRandom } from '../test/protocols/postgres/fuzz/random.ts'
import { ops, startComparison } from '../test/protocols/postgres/fuzz/sequences.ts'
import { startWorld } from '../test/protocols/postgres/world.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    seed: { type: 'string', default: '1' },
    'at-once': { type: 'string', default: '8' },
  },
})
const [seed, atOnce] = [Number(values.seed), Number(values['at-once'])]
const REPORT_EVERY = 10_000
const MOST_WRONG = 20
const SEQUENCES_AT_ONCE = 50

const startedAt = performance.now()
const tally = emptyTally()
const namer = createNamer()
const rss: number[] = []
let isEnough = false
process.on('SIGINT', () => {
  isEnough = true
})
process.on('unhandledRejection', (error) => tally.wrong.push(`unhandled: ${String(error)}`))

try {
  if (positionals[0] === 'streams') await streams(Number(values.runs ?? 100_000))
  else if (positionals[0] === 'sequences') await sequences(Number(values.runs ?? 1_000))
  else throw new TypeError('say what to play: streams, or sequences')
} finally {
  await namer.stop()
}

async function streams(runs: number): Promise<void> {
  await loadModule()
  let next = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (next < runs && !isEnough && tally.wrong.length < MOST_WRONG) {
        const index = next++
        if (index % REPORT_EVERY === 0) report(index)
        await one(index)
      }
    }),
  )
  for (const line of linesOf(tally)) console.log(line)
  process.exitCode = tally.wrong.length === 0 ? 0 : 1
}

async function sequences(runs: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'countersign-fuzz-'))
  const store = await startEmbedded({ dataDir: directory, log: createLogger({ level: 'warn' }) })
  try {
    const [adminUrl, directUrl] = await Promise.all(
      ['behind', 'direct'].map((name) => createDatabase(store.adminUrl, name)),
    )
    const world = await startWorld(Promise.resolve({ adminUrl: adminUrl ?? '', close: () => Promise.resolve() }))
    const comparison = await startComparison(world, directUrl ?? '')
    try {
      for (let done = 0; done < runs && !isEnough; done += SEQUENCES_AT_ONCE) {
        await fc.assert(
          fc.asyncProperty(ops, (sequence) => comparison.play(sequence)),
          { numRuns: Math.min(SEQUENCES_AT_ONCE, runs - done), seed: seed * 1_000_003 + done },
        )
        process.stderr.write(`\r${done + SEQUENCES_AT_ONCE} sequences`)
      }
    } finally {
      await comparison.close()
      await world.close()
    }
    const { alike, forbidden, unknown, uncertain, ran } = comparison.counts
    console.log(`\n${runs} sequences of seed ${seed}, ${Math.round((performance.now() - startedAt) / 1000)} s`)
    console.log(
      `batches: ${alike} answered alike, ${forbidden} forbidden, ${unknown} naming nothing, ${uncertain} uncertain`,
    )
    console.log(`${ran} statements ran, as often through the gateway as past it, each of them judged`)
  } finally {
    await store.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

async function createDatabase(url: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`CREATE DATABASE ${name}`)
  await client.end()
  const made = new URL(url)
  made.pathname = `/${name}`
  return made.href
}

/** Each by its own number, so that it can be repeated alone. */
async function one(index: number): Promise<void> {
  const random = createRandom(seed * 1_000_003 + index)
  const turns = mutate(random.of(CONVERSATIONS), random, CONVERSATIONS)
  await runStream(turns, { name: `stream ${index} of seed ${seed}`, namer, random, tally })
}

function report(index: number): void {
  globalThis.gc?.()
  rss.push(Math.round(process.memoryUsage.rss() / 2 ** 20))
  const rate = Math.round(index / ((performance.now() - startedAt) / 1000))
  process.stderr.write(`${index} streams, ${rate}/s, ${rss.at(-1)} MiB, ${tally.wrong.length} wrong\n`)
}

function* linesOf(seen: Tally): Generator<string> {
  const seconds = (performance.now() - startedAt) / 1000
  globalThis.gc?.()
  rss.push(Math.round(process.memoryUsage.rss() / 2 ** 20))
  const list = (counts: ReadonlyMap<string, number>) =>
    [...counts]
      .sort(([, a], [, b]) => b - a)
      .map(([what, times]) => `${what} ${times}`)
      .join(', ')
  yield `${seen.streams} streams of seed ${seed}, ${seen.bytesIn} bytes, ${Math.round(seconds)} s, Node ${process.version}`
  yield `${seen.sessions} came to a session, ${seen.allowed} calls let through, ${seen.cancels} cancels with the right key`
  yield `memory in MiB: ${rss[0]} at first, ${rss[1] ?? rss[0]} after ${REPORT_EVERY}, at most ${Math.max(...rss)}, ${rss.at(-1)} in the end`
  yield `upstream: ${seen.forwardedBytes} bytes: ${list(seen.forwarded)}`
  yield `refusals and errors: ${list(seen.refusals)}`
  yield `the gateway's own questions: ${[...seen.own.values()].join(', ')}`
  for (const line of seen.wrong) yield `WRONG ${line}`
  yield seen.wrong.length === 0 ? 'nothing wrong' : `${seen.wrong.length} lines of what is wrong`
}
