// Kills gateways, hundreds of times, and compares what reached the upstream with the audit log.
//
//   node scripts/crash.ts [--kills 200] [--calls 3] [moment…]
//
// Ctrl-C ends the killing early, and counts what there is. Ends with 0 if they agree. docs/crash-tests.md says what it does and what came of it.
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startEmbedded } from '../src/platform/embedded.ts'
import { createLogger } from '../src/platform/logger.ts'
import { migrate } from '../src/platform/migrations.ts'
import { type Account, compareRecords } from '../test/e2e/agree.ts'
import { createRounds, type Fate, judgeFates, MOMENTS } from '../test/e2e/crash.ts'
import { countersign } from '../test/e2e/replica.ts'
import { startWorld, type World } from '../test/e2e/world.ts'

// What a killed gateway owed is written once no living one can have such an old call under way.
const MOST_SETTLE_MS = 300_000

const UNSETTLED = `SELECT (SELECT count(*) FROM countersign.approval WHERE state = 'spent' AND outcome IS NULL)
  + (SELECT count(DISTINCT i.call_id) FROM countersign.audit_entry i WHERE i.kind = 'intent' AND NOT EXISTS
      (SELECT FROM countersign.audit_entry o WHERE o.kind = 'outcome' AND o.call_id = i.call_id)) AS count`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { kills: { type: 'string', default: '200' }, calls: { type: 'string', default: '3' } },
})
const kills = Number(values.kills)
const calls = Number(values.calls)
const moments = positionals.length === 0 ? MOMENTS : MOMENTS.filter((moment) => positionals.includes(moment))

const directory = await mkdtemp(join(tmpdir(), 'countersign-crash-'))
const log = createLogger({ level: 'warn' })
const store = await startEmbedded({ dataDir: directory, log })
try {
  await migrate({ adminUrl: store.adminUrl, gatewayUrl: store.url, log })
  await using world = await startWorld(store)
  process.exitCode = (await crash(world)) ? 0 : 1
} finally {
  await store.stop()
  await rm(directory, { recursive: true, force: true })
}

async function crash(world: World): Promise<boolean> {
  const startedAt = performance.now()
  const survivor = await world.start()
  const rounds = createRounds(world, survivor)
  const fates: Fate[] = []
  const wrong: string[] = []
  let done = 0
  let isEnough = false
  process.on('SIGINT', () => {
    isEnough = true
  })
  for (let kill = 0; kill < kills && !isEnough; kill++) {
    for (const moment of moments) {
      done++
      try {
        fates.push(...(await rounds.run(moment, { way: kill, calls })))
      } catch (error) {
        wrong.push(`${moment}, kill ${kill}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    process.stderr.write(`\r${done} kills, ${wrong.length} wrong`)
  }
  await rounds.close()
  process.stderr.write('\nwaiting for the survivor to say what the dead still owed\n')
  await settle(world)

  const account = await compareRecords(world.admin, world.upstream.received(), { isSettled: true })
  wrong.push(...account.contradictions, ...judgeFates(fates, account))
  await survivor.stop()
  const verified = await countersign('audit', 'verify', '--config', survivor.configFile)
  if (verified.code !== 0) wrong.push(`audit verify: ${verified.out}${verified.err}`)

  for (const line of tableOf(fates, account)) console.log(line)
  console.log(
    `\n${done} kills, ${done / moments.length} at each moment, ${fates.length} held calls, ${account.forwarded} requests upstream`,
  )
  console.log(`audit verify: ${verified.out.trim()}`)
  const minutes = Math.round((performance.now() - startedAt) / 60_000)
  console.log(`${minutes} minutes on ${availableParallelism()} cores, Node ${process.version}`)
  for (const line of wrong) console.log(`WRONG ${line}`)
  console.log(wrong.length === 0 ? 'no contradiction' : `${wrong.length} contradictions`)
  return wrong.length === 0
}

async function settle(world: World): Promise<void> {
  for (const deadline = Date.now() + MOST_SETTLE_MS; Date.now() < deadline; await sleep(2000)) {
    const { rows } = await world.admin.query<{ count: string }>(UNSETTLED)
    if (rows[0]?.count === '0') return
  }
}

/** What was found after the kills, by moment and way. */
function* tableOf(fates: readonly Fate[], account: Account): Generator<string> {
  yield '| killed | calls | still open | used, never sent | sent | `forwarded` | `unknown` |'
  yield '|---|--:|--:|--:|--:|--:|--:|'
  for (const [name, some] of Map.groupBy(fates, ({ moment, way }) => `${moment}: ${way}`)) {
    const count = (isMeant: (fate: Fate) => boolean) => some.filter(isMeant).length
    const ended = (outcome: string) => (fate: Fate) =>
      fate.state === 'spent' && account.approvals.get(fate.approval)?.outcome === outcome
    const cells = [
      some.length,
      count(({ state }) => state !== 'spent'),
      count(({ state, arrivals }) => state === 'spent' && arrivals === 0),
      count(({ arrivals }) => arrivals > 0),
      count(ended('forwarded')),
      count(ended('unknown')),
    ]
    yield `| ${name} | ${cells.join(' | ')} |`
  }
}
