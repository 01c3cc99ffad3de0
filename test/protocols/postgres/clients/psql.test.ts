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

const SHOP = fileURLToPath(new URL('./shop.sql', import.meta.url))
const SCRIPT = fileURLToPath(new URL('./psql.sql', import.meta.url))

let world: World
let cwd: string
beforeAll(async () => {
  world = await startWorld(createEmptyDatabase())
  cwd = await mkdtemp(join(tmpdir(), 'countersign-psql-'))
})
afterAll(async () => {
  await world?.close()
  await rm(cwd, { recursive: true })
})

describe.skipIf(lacks(isThere('psql')))('psql', () => {
  test('prints the same with and without the gateway (needs psql)', PATIENT, async () => {
    await writeFile(join(cwd, 'in.csv'), '1,one\n2,"t w o"\n')
    await succeed('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', SHOP, plain(world.adminUrl)])
    const printed = await same(world, async (url) => {
      const said = await run('psql', ['-X', '-a', '-f', SCRIPT, url], { input: '3\tc\n\\.\n', cwd })
      // The moment of a \watch, and whose notification it is.
      return said.replace(/^.* \(every [\d.]+s\)$/gm, '(every)').replace(/(?<=server process with PID )\d+/g, '')
    })
    // It has come to its end, through errors and notices.
    expect(printed).toMatch(/noted 1.*due to statement timeout.*ended with 0\n$/s)
  })

  test('describes a database by reading the catalog, and nothing else (needs psql)', async () => {
    world.calls.length = 0
    const commands = [
      '\\d shop.*',
      '\\d+ shop.*',
      '\\dt',
      '\\df shop.*',
      '\\l',
      '\\du',
      '\\dn',
      '\\dT',
      '\\sf shop.twice',
    ]
    await succeed('psql', ['-X', ...commands.flatMap((each) => ['-c', each]), plain(world.url())])
    const read = new RegExp(`^select (?:pg_catalog\\.pg_\\w+|${world.database})$`)
    expect([...acts(world)].filter((act) => !read.test(act))).toEqual([])
  })

  test('ends what runs on Ctrl-C (needs psql)', async () => {
    await same(world, async (url) => {
      const client = spawn('psql', ['-X', '-c', 'SELECT pg_sleep(63)', '-c', 'SELECT 1 AS after', url])
      const said = Promise.all([text(client.stdout), text(client.stderr)])
      await running('pg_sleep(63)')
      client.kill('SIGINT')
      return await said
    })
  })
})

/** Until the server runs such a statement. */
async function running(part: string): Promise<void> {
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
