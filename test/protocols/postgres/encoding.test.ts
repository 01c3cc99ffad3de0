import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../postgres.ts'
import { bind, connectSession, execute, parse, query, type RawSession, sync } from './raw.ts'
import { startWorld, type World } from './world.ts'

/** A database whose encoding has one byte for each character. */
let world: World
let admin: pg.Client
const sessions: RawSession[] = []

beforeAll(async () => {
  world = await startWorld(createLatinDatabase())
  world.decide = (actions) => (actions.some(({ verb }) => verb === 'delete') ? 'deny' : 'allow')
  admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  await admin.query('CREATE TABLE orders (id int, what text); INSERT INTO orders VALUES (1)')
})
afterAll(async () => {
  await admin.end()
  await world.close()
})
afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  expect((await admin.query('SELECT FROM orders')).rowCount).toBe(1)
})

async function createLatinDatabase(): Promise<Pick<TestDatabase, 'adminUrl' | 'close'>> {
  const store = await createTestDatabase()
  const creator = new pg.Client({ connectionString: store.adminUrl })
  await creator.connect()
  const name = `latin_${randomUUID().replaceAll('-', '')}`
  await creator.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`)
  const url = new URL(store.adminUrl)
  url.pathname = `/${name}`
  return {
    adminUrl: url.href,
    async close() {
      await creator.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await creator.end()
      await store.close()
    },
  }
}

async function begin(): Promise<RawSession> {
  const session = await connectSession(world.port, { database: world.database })
  sessions.push(session)
  return session
}

// In UTF-8 both are cut to the same 31 letters.
const [some, others] = ['é'.repeat(40), 'é'.repeat(41)]

describe('in a database of another encoding', () => {
  test.each([
    ['by SQL', [[query(`PREPARE ${some} AS DELETE FROM orders`)], [query(`PREPARE ${others} AS SELECT 1`)]]],
    [
      'by messages',
      [
        [parse(`PREPARE ${some} AS DELETE FROM orders`), bind(), execute(), sync],
        [parse(`PREPARE ${others} AS SELECT 1`), bind(), execute(), sync],
      ],
    ],
  ])('a name does not stand for a statement that is denied, prepared %s', async (_how, batches) => {
    const session = await begin()
    for (const batch of [...batches, [query(`EXECUTE ${some}`)]]) {
      session.send(...batch)
      expect(await session.story()).toEqual(['error 0A000', 'ready I'])
    }
  })

  test('the names in messages are in ASCII', async () => {
    const session = await begin()
    session.send(parse('SELECT 1', 'é'), sync)
    expect(await session.story()).toEqual(['error 0A000', 'ready I'])
    session.send(parse('SELECT 1', 'e'), bind([], { portal: 'é', statement: 'e' }), sync)
    expect(await session.story()).toContain('error 0A000')
  })

  test('a parameter may hold whatever that encoding has', async () => {
    const session = await begin()
    session.send(parse('SELECT $1::text, length($1)'), bind(['Käufer']), execute(), sync)
    expect(await session.story()).toContain('row Käufer 6')
  })
})
