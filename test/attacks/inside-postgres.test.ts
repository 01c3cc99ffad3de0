import { createServer, type Server, type Socket } from 'node:net'
import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { openDatabase } from '../../src/platform/database.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { makeCall } from '../approvals/parts.ts'
import { hold, openWorld } from '../approvals/world.ts'

const log = createLogger({ level: 'silent' })
const PASSWORD = 'the-password-of-the-gateway'

/** What stands before the first statement: the message type R, a length, and which authentication is wanted. */
const CLEARTEXT = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])
const MD5 = Buffer.from([0x52, 0, 0, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4])
const NONE = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0])
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

describe('whoever takes the port of the embedded Postgres once that is gone', () => {
  const servers: Server[] = []
  afterEach(async () => {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    servers.length = 0
  })

  /** Answers every start with these bytes, and keeps what it is told afterwards. */
  async function impersonate(...answers: readonly Buffer[]): Promise<{ port: number; told: () => string }> {
    let told = ''
    const server = createServer((socket: Socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => {
        socket.write(Buffer.concat(answers))
        socket.on('data', (bytes) => {
          told += bytes.toString('latin1')
        })
      })
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    return { port: typeof address === 'object' && address ? address.port : 0, told: () => told }
  }

  it.each([
    ['in the clear', [CLEARTEXT]],
    ['as MD5', [MD5]],
    ['not at all', [NONE, READY]],
  ])('is not told the password, asked for %s, nor anything else', async (_how, answers) => {
    const { port, told } = await impersonate(...answers)
    const url = `postgres://login:${PASSWORD}@127.0.0.1:${port}/countersign?require_auth=scram-sha-256`
    const database = openDatabase({ url, log })
    await expect(database.query('SELECT 1')).rejects.toMatchObject({ code: 'store' })
    await expect(database.listen('channel', () => undefined)).rejects.toMatchObject({ code: 'store' })
    const dedicated = await database.dedicated()
    await expect(dedicated.query({ text: 'SELECT 1' })).rejects.toMatchObject({ code: 'store' })
    await database.close()
    expect(told()).toBe('')
  })
})

describe('settings that a role may leave behind for itself', () => {
  it.each([
    ['DateStyle', 'German, DMY'],
    ['standard_conforming_strings', 'off'],
    ['IntervalStyle', 'iso_8601'],
    ['bytea_output', 'escape'],
    ['TimeZone', 'Pacific/Kiritimati'],
  ])('do not keep calls from being held: %s', async (name, value) => {
    const world = await openWorld()
    try {
      const client = new pg.Client({ connectionString: world.store.url })
      await client.connect()
      const { rows } = await client.query<{ user: string }>(
        'SELECT current_user AS user, current_database() AS database',
      )
      const where = `IN DATABASE ${new URL(world.store.url).pathname.slice(1)}`
      await client.query(
        `ALTER ROLE ${rows[0]?.user} ${where} SET ${name} = ${value.includes(',') ? value : `'${value}'`}`,
      )
      await client.end()
      const approval = await hold(world.openReplica().queue, makeCall())
      expect(approval.state).toBe('pending')
    } finally {
      await world.close()
    }
  })
})
