import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startWorld, type World } from './world.ts'

const run = promisify(execFile)
let world: World
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.close())

function isThere(): boolean {
  try {
    execFileSync('psql', ['--version'])
    return true
  } catch {
    return false
  }
}

async function psql(url: string, ...commands: string[]): Promise<string> {
  const plain = new URL(url)
  // An older psql does not know each of them.
  plain.search = ''
  const { stdout } = await run('psql', [
    '-X',
    '-v',
    'ON_ERROR_STOP=1',
    ...commands.flatMap((each) => ['-c', each]),
    plain.href,
  ])
  return stdout
}

const SCRIPT = [
  '\\d shop',
  '\\dt',
  '\\df pg_catalog.lower',
  'SELECT * FROM shop ORDER BY id',
  '\\copy shop TO STDOUT',
  'BEGIN; DECLARE c CURSOR FOR SELECT id FROM shop ORDER BY id; FETCH 2 FROM c; COMMIT',
]

// Skipped where it is not installed, but never where nothing may be.
const mustRun = process.env['COUNTERSIGN_TEST_NO_SKIP'] === '1'

test.runIf(mustRun || isThere())('psql prints the same with and without the gateway (needs psql)', async () => {
  await psql(
    world.adminUrl,
    'CREATE TABLE shop (id int PRIMARY KEY, what text)',
    `INSERT INTO shop VALUES (1, 'a'), (2, 'b')`,
  )
  const through = await psql(world.url(), ...SCRIPT)
  expect(through).toBe(await psql(world.adminUrl, ...SCRIPT))
  expect(through).toContain('shop_pkey')
})
