import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { encodeOpening } from '../../../src/protocols/postgres/wire/opening.ts'
import { createTestDatabase } from '../../postgres.ts'
import { connectSession, query, type RawSession } from './raw.ts'
import { startWorld, type World } from './world.ts'

let world: World
let road: net.Server
// Cancels that are on their way upstream, to be let go on.
let underWay: (() => void)[] = []
let told = () => {}

/** Stands between the gateway and the server, and keeps cancels back. */
function lead(port: number): net.Server {
  return net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => other.destroy()).on('close', () => other.destroy())
    }
    far.pipe(near)
    near.once('data', (first: Buffer) => {
      const go = () => {
        far.write(first)
        near.pipe(far)
      }
      if (first.readInt32BE(4) !== 80_877_102) return go()
      underWay.push(go)
      told()
    })
  })
}

beforeAll(async () => {
  const database = await createTestDatabase()
  const url = new URL(database.adminUrl)
  road = lead(Number(url.port))
  await new Promise<void>((resolve) => road.listen(0, '127.0.0.1', resolve))
  // A server that listens on TCP has an address with a port.
  url.port = String((road.address() as net.AddressInfo).port)
  url.hostname = '127.0.0.1'
  world = await startWorld(Promise.resolve({ adminUrl: url.href, close: () => database.close() }))
})
afterAll(async () => {
  await world.close()
  road.close()
})
beforeEach(() => {
  world.calls.length = 0
  underWay = []
})

/** As libpq does it: whoever asks waits until the other side has closed. */
async function cancel({ beginning }: RawSession): Promise<void> {
  const key = beginning.find((message) => message.type === 'backend_key')
  if (key?.type !== 'backend_key') throw new Error('the session has no key')
  const socket = net.connect({ port: world.port, host: '127.0.0.1' })
  socket.write(encodeOpening({ type: 'cancel', processId: key.processId, secret: key.secret }))
  await new Promise((resolve) => socket.resume().once('close', resolve))
}

/** Until the upstream runs what the session sent. */
async function running(): Promise<void> {
  const admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  const sql = `SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'`
  while ((await admin.query(sql)).rows.length === 0);
  await admin.end()
}

test('a cancel that comes late ends nothing that was sent after it, and goes upstream once', async () => {
  const session = await connectSession(world.port, { database: world.database })
  const isUnderWay = new Promise<void>((resolve) => {
    told = resolve
  })
  session.send(query('SELECT pg_sleep(1)'))
  await running()
  await Promise.all([cancel(session), cancel(session)])
  await isUnderWay
  expect((await session.story()).at(-1)).toBe('ready I')

  session.send(query('SELECT pg_sleep(0.5)'))
  // Long enough for it to run, were it let through.
  await sleep(250)
  for (const go of underWay) go()
  expect(await session.story()).toEqual(['row_description', 'row ', 'SELECT 1', 'ready I'])
  expect(underWay).toHaveLength(1)
  session.close()
})
