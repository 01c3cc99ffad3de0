import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest'
import {
  cancelUpstream,
  type Login,
  openUpstream,
  type Target,
} from '../../../../src/protocols/postgres/upstream/open.ts'
import { encodeBackend } from '../../../../src/protocols/postgres/wire/backend.ts'
import { encodeFrontend } from '../../../../src/protocols/postgres/wire/frontend.ts'
import { secureServer, serverContext } from '../../../../src/transports/tcp/secure.ts'
import { createTestDatabase, type TestDatabase } from '../../../postgres.ts'
import { selfSigned } from '../../../transports/tls.ts'

let database: TestDatabase
let target: Target
let login: Login
const never = new AbortController().signal
const closing: (() => void)[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  const url = new URL(inject('cluster').adminUrl)
  target = { host: url.hostname, port: Number(url.port), tls: null, connectTimeoutMs: 10_000 }
  login = {
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: new URL(database.adminUrl).pathname.slice(1),
    settings: new Map([['application_name', 'a test']]),
  }
})
afterAll(() => database.close())
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

test('begins a session by SCRAM, and hears the settings of the server', async () => {
  const session = await openUpstream(target, login, never)
  closing.push(session.link.destroy)
  expect(Object.fromEntries(session.parameters)).toMatchObject({
    client_encoding: 'UTF8',
    standard_conforming_strings: 'on',
    application_name: 'a test',
  })
  expect(session.key?.secret).toHaveLength(4)
})

test('ends what a session does by its key', async () => {
  const session = await openUpstream(target, login, never)
  closing.push(session.link.destroy)
  session.link.write(encodeFrontend({ type: 'query', sql: 'SELECT pg_sleep(60)' }))
  const watcher = new pg.Client({ connectionString: database.adminUrl })
  await watcher.connect()
  for (let isAsleep = false; !isAsleep; ) {
    const { rows } = await watcher.query(
      `SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'`,
    )
    isAsleep = rows.length > 0
  }
  await watcher.end()
  if (!session.key) throw new Error('no key')
  await cancelUpstream(target, session.key)
  let said = ''
  for (let frame = await session.link.next(); frame !== null; frame = await session.link.next()) {
    if (frame.kind !== 'fault') said += String(frame.bytes)
    if (said.includes('57014')) break
  }
  expect(said).toContain('canceling statement')
})

test('tells what the server says no with', async () => {
  await expect(openUpstream(target, { ...login, password: 'wrong' }, never)).rejects.toMatchObject({
    // A fault of others, which the log says in a line.
    code: 'upstream',
    message: expect.stringMatching(/^the upstream refused the session: password authentication failed .* \(28P01\)$/),
    report: { C: '28P01' },
  })
  await expect(openUpstream(target, { ...login, database: 'nowhere' }, never)).rejects.toMatchObject({
    report: { C: '3D000' },
  })
})

test('does not go on in plain with a server that has no TLS', async () => {
  const attempt = openUpstream({ ...target, tls: { ca: null } }, login, never)
  await expect(attempt).rejects.toMatchObject({
    code: 'upstream',
    message: expect.stringContaining('does not speak TLS'),
  })
})

/** A server that answers as a test says. */
async function impostor(answer: (socket: Socket) => void | Promise<void>): Promise<Target> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    closing.push(() => socket.destroy())
    void answer(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => server.close())
  // A server that listens on TCP has an address with a port.
  return { ...target, port: (server.address() as AddressInfo).port, connectTimeoutMs: 2_000 }
}

const ok = encodeBackend({ type: 'authentication', asks: { method: 'ok' } })
const own = selfSigned()

test.each<[string, Parameters<typeof encodeBackend>[0], string]>([
  ['the password in plain', { type: 'authentication', asks: { method: 'cleartext' } }, 'in plain without TLS'],
  ['MD5', { type: 'authentication', asks: { method: 'md5', salt: Buffer.alloc(4) } }, 'md5'],
  ['GSSAPI', { type: 'authentication', asks: { method: 'gss' } }, 'gss'],
  [
    'a kind of SASL that is not spoken',
    { type: 'authentication', asks: { method: 'sasl', mechanisms: ['X'] } },
    'SCRAM',
  ],
  ['something else', { type: 'ready', status: 'I' }, 'did not say how to authenticate'],
])('refuses a server that asks for %s', async (_name, asks, why) => {
  const fake = await impostor((socket) => void socket.once('data', () => socket.write(encodeBackend(asks))))
  await expect(openUpstream(fake, login, never)).rejects.toMatchObject({ message: expect.stringContaining(why) })
})

test('refuses a server that leaves its own proof out', async () => {
  const sasl = encodeBackend({ type: 'authentication', asks: { method: 'sasl', mechanisms: ['SCRAM-SHA-256'] } })
  const fake = await impostor((socket) => {
    socket.once('data', () => {
      socket.write(sasl)
      socket.once('data', () => socket.write(ok))
    })
  })
  await expect(openUpstream(fake, login, never)).rejects.toMatchObject({
    message: expect.stringContaining('challenge'),
  })
})

test('refuses bytes behind the answer to the request for TLS', async () => {
  const fake = await impostor(
    (socket) => void socket.once('data', () => socket.write(Buffer.concat([Buffer.from('S'), ok]))),
  )
  await expect(openUpstream({ ...fake, tls: { ca: null } }, login, never)).rejects.toMatchObject({ code: 'upstream' })
})

test.runIf(own !== null)('speaks to no impostor, and gives a verified server its password in plain', async () => {
  if (!own) return
  const heard: string[] = []
  const fake = await impostor(async (socket) => {
    await once(socket, 'data')
    socket.pause().write('S')
    const secure = await secureServer(socket, { context: serverContext(own), alpn: 'postgresql', isDemanded: true })
    if (!secure) return
    await once(secure, 'data')
    secure.write(encodeBackend({ type: 'authentication', asks: { method: 'cleartext' } }))
    const [password] = await once(secure, 'data')
    heard.push(String(password.subarray(5, -1)))
    secure.write(Buffer.concat([ok, encodeBackend({ type: 'ready', status: 'I' })]))
  })
  const trusting: Target = { ...fake, host: 'localhost', tls: { ca: own.cert } }
  await expect(openUpstream({ ...trusting, tls: { ca: null } }, login, never)).rejects.toMatchObject({
    message: expect.stringContaining('self-signed'),
  })
  expect(heard).toEqual([])
  const session = await openUpstream(trusting, login, never)
  closing.push(session.link.destroy)
  expect(heard).toEqual([login.password])
})

test('waits no longer than it may', async () => {
  const fake = await impostor(() => {})
  const attempt = openUpstream({ ...fake, connectTimeoutMs: 200 }, login, never)
  await expect(attempt).rejects.toMatchObject({ message: expect.stringContaining('did not answer in time') })
})
