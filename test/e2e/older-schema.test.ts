import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLogger } from '../../src/platform/logger.ts'
import { migrate } from '../../src/platform/migrations.ts'
import { createOlderDatabase, type TestDatabase } from '../postgres.ts'
import { problemOf, startWorld, type World } from './world.ts'

/** What the release before this one migrates to. */
const BEFORE = 3

const KEYED = { headers: { 'idempotency-key': 'k' } }
const TWO_DAYS_AGO = `= now() - interval '2 days'`

let store: TestDatabase
let world: World
beforeAll(async () => {
  store = await createOlderDatabase(BEFORE)
  world = await startWorld(store)
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

it('a gateway runs with the schema of the release before, and through its migration', async () => {
  const replica = await world.start()
  const held = world.call(replica, '/refunds/older', KEYED)
  const id = await world.approvalOf('/refunds/older')
  await world.approve(replica, id)
  expect((await held).status).toBe(200)
  expect(await problemOf(await world.call(replica, '/refunds/older', KEYED))).toMatchObject({ code: 'already_spent' })

  const log = createLogger({ level: 'fatal' })
  expect(await migrate({ adminUrl: store.adminUrl, log })).not.toHaveLength(0)
  await world.admin.query(`
    ALTER TABLE countersign.approval DISABLE TRIGGER guard;
    UPDATE countersign.approval SET decided_at ${TWO_DAYS_AGO}, spent_at ${TWO_DAYS_AGO};
    ALTER TABLE countersign.approval ENABLE ALWAYS TRIGGER guard;
    UPDATE countersign.idempotency SET noted_at ${TWO_DAYS_AGO}`)
  await world.until('SELECT WHERE NOT EXISTS (SELECT FROM countersign.idempotency)')
  const again = world.call(replica, '/refunds/older', KEYED)
  await world.approve(replica, await world.approvalOf('/refunds/older'))
  expect((await again).status).toBe(200)
  expect(world.arrivals('/refunds/older')).toBe(2)
})
