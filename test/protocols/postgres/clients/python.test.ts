import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEmptyDatabase } from '../../../postgres.ts'
import { findPython } from '../../../python.ts'
import { startWorld, type World } from '../world.ts'
import { acts, lacks, PATIENT, run, same } from './programs.ts'

const PSYCOPG2 = fileURLToPath(new URL('./psycopg2_client.py', import.meta.url))
const DJANGO = fileURLToPath(new URL('./django/site.py', import.meta.url))

let world: World
beforeAll(async () => {
  world = await startWorld(createEmptyDatabase())
})
afterAll(() => world.close())

// Nothing beside the files.
const env = { PYTHONDONTWRITEBYTECODE: '1' }

const psycopg2 = findPython('psycopg2')
test.skipIf(lacks(psycopg2))(
  'psycopg2 gets the same with and without the gateway (needs python3-psycopg2)',
  PATIENT,
  async () => {
    const said = await same(world, (url) => run(psycopg2 ?? 'python3', [PSYCOPG2, url], { env }))
    expect(said).toMatch(/QueryCanceled 57014.*ended with 0\n$/s)
  },
)

const django = findPython('django', 'psycopg2')
test.skipIf(lacks(django))(
  'Django migrates, introspects and queries the same with and without the gateway (needs python3-django)',
  PATIENT,
  async () => {
    world.calls.length = 0
    const said = await same(world, async (url) => {
      const printed = await run(django ?? 'python3', [DJANGO, url], { env })
      await empty()
      return printed
    })
    expect(said).toMatch(/Applying shop.0002_go_on... OK.*class ShopOrder.*ended with 0\n$/s)
    // Nothing in it needs a rule for a function.
    expect([...acts(world)].filter((act) => act.startsWith('call '))).toEqual([])
  },
)

async function empty(): Promise<void> {
  const admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  await admin.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public')
  await admin.end()
}
