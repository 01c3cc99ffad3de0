import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEmptyDatabase } from '../../../postgres.ts'
import { startWorld, type World } from '../world.ts'
import { acts, isThere, lacks, PATIENT, plain, run, same, succeed } from './programs.ts'
import { findRelease, startServer } from './server.ts'

const SHOP = fileURLToPath(new URL('./shop.sql', import.meta.url))
const SCRIPT = fileURLToPath(new URL('./psql.sql', import.meta.url))

const bin = findRelease()
describe.skipIf(lacks(isThere('psql'))).each([
  // Some of what psql asks, a newer server does not have any more; the newer one tells of its search path by itself.
  { what: 'the newest server', isMissing: false, start: createEmptyDatabase },
  { what: 'a server of its own release', isMissing: lacks(bin), start: () => startServer(bin ?? '') },
])('psql with $what', ({ isMissing, start }) => {
  let world: World
  let cwd: string
  beforeAll(async () => {
    if (isMissing) return
    world = await startWorld(start())
    cwd = await mkdtemp(join(tmpdir(), 'countersign-psql-'))
    await succeed('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', SHOP, plain(world.adminUrl)])
  })
  afterAll(async () => {
    await world?.close()
    if (cwd) await rm(cwd, { recursive: true })
  })

  test.skipIf(isMissing)(
    'prints the same with and without the gateway (needs postgresql-client, postgresql)',
    PATIENT,
    async () => {
      await writeFile(join(cwd, 'in.csv'), '1,one\n2,"t w o"\n')
      const printed = await same(world, async (url) => {
        const said = await run('psql', ['-X', '-a', '-f', SCRIPT, url], { input: '3\tc\n\\.\n', cwd })
        // The moment of a \watch, and whose notification it is.
        return said.replace(/^.* \(every [\d.]+s\)$/gm, '(every)').replace(/(?<=server process with PID )\d+/g, '')
      })
      // It has come to its end, through errors and notices.
      expect(printed).toMatch(/noted 1.*due to statement timeout.*ended with 0\n$/s)
    },
  )

  test.skipIf(isMissing)(
    'describes a database by reading the catalog, and nothing else (needs postgresql-client, postgresql)',
    PATIENT,
    async () => {
      world.calls.length = 0
      const commands = [
        '\\d shop.*',
        '\\d+ shop.*',
        '\\df shop.*',
        '\\l',
        '\\du',
        '\\dn',
        '\\dT',
        '\\sf shop.twice',
        '\\dt',
      ]
      await succeed('psql', ['-X', ...commands.flatMap((each) => ['-c', each]), plain(world.url())])
      const read = new RegExp(`^select (?:pg_catalog\\.pg_\\w+|${world.database})$`)
      expect([...acts(world)].filter((act) => !read.test(act))).toEqual([])
      const facts = world.calls.flatMap(({ actions }) => (actions ?? []).map((action) => action.facts))
      expect(facts.filter(({ writes }) => writes)).toEqual([])
      expect(facts.flatMap(({ secrets }) => secrets)).toEqual([])
    },
  )

  test.skipIf(isMissing)('ends what runs on Ctrl-C (needs postgresql-client, postgresql)', PATIENT, async () => {
    await same(world, async (url) => {
      const client = spawn('psql', ['-X', '-c', 'SELECT pg_sleep(63)', '-c', 'SELECT 1 AS after', url])
      const said = Promise.all([text(client.stdout), text(client.stderr)])
      await running(world, 'pg_sleep(63)')
      client.kill('SIGINT')
      return await said
    })
  })
})

/** Until the server runs such a statement. */
async function running(world: World, part: string): Promise<void> {
  const admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  for (;;) {
    const { rows } = await admin.query(
      `SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND position($1 in query) > 0 AND pid <> pg_backend_pid()`,
      [part],
    )
    if (rows.length > 0) break
  }
  await admin.end()
}
