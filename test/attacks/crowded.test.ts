import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { createControlServer } from '../../src/control/server.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { newCallId } from '../../src/platform/id.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { createGatewayServer, type GatewayServerOptions } from '../../src/transports/http/server.ts'
import { fakeAgents, fakePeople, fakeQueue } from '../control/people.ts'
import { connectRaw, type RawClient, statusOf } from '../transports/raw.ts'
import { selfSigned } from '../transports/tls.ts'

/** One source takes every connection that there is, without a token, and then does nothing with them. */

const MOST = 20
const REQUEST = 'GET /.countersign/nothing HTTP/1.1\r\nHost: a\r\n\r\n'
const log = createLogger({ level: 'silent' })
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function startDoor(tlsKeys: GatewayServerOptions['tls'] = null) {
  const server = createGatewayServer({
    host: '127.0.0.1',
    port: 0,
    tls: tlsKeys,
    isBehindTlsProxy: false,
    log,
    newCallId,
    onMalformed: () => undefined,
    maxConnections: MOST,
  })
  const slow = Promise.withResolvers<string>()
  server.app.get('/.countersign/slow', () => slow.promise)
  cleanups.push(() => server.close(0))
  const { port } = await server.listen()
  return { port, slow }
}

async function startControl() {
  const control = await createControlServer({
    queue: fakeQueue([]),
    people: fakePeople([]),
    signIn: { issuers: [] },
    observed: () => [],
    callbacks: [],
    console: null,
    agents: fakeAgents(),
    publicUrl: null,
    tls: null,
    log,
    clock: systemClock,
    maxConnections: MOST,
  })
  cleanups.push(() => control.close())
  await control.listen({ host: '127.0.0.1', port: 0 })
  return { port: (control.server.address() as AddressInfo).port } // it listens on TCP
}

function connect(port: number): RawClient {
  const client = connectRaw(port)
  cleanups.push(() => client.socket.destroy())
  return client
}

/** Asks, and keeps its connection. */
async function ask(client: RawClient): Promise<number> {
  client.send(REQUEST)
  return statusOf(await client.until((text) => text.includes('\r\n\r\n')))
}

async function connected(client: RawClient): Promise<RawClient> {
  if (client.socket.connecting) await new Promise((resolve) => client.socket.once('connect', resolve))
  return client
}

describe.each([
  ['agents', startDoor],
  ['people', startControl],
])('the listener for %s', (_whom, start) => {
  it.each<[string, string | null]>([
    ['were used and are kept', REQUEST],
    ['never asked for anything', null],
    ['began to ask', 'GET / HTTP/1.1\r\nHo'],
  ])('serves whoever comes while all connections are taken by those that %s', async (_what, bytes) => {
    const { port } = await start()
    const idle: RawClient[] = []
    for (let n = 0; n < 2 * MOST; n++) {
      const client = await connected(connect(port))
      if (bytes) client.send(bytes)
      if (bytes === REQUEST) await client.until((text) => text.includes('\r\n\r\n'))
      idle.push(client)
    }
    expect(await ask(connect(port))).toBeGreaterThan(0)
    // Those go that were idle for the longest time.
    await idle[0]?.closed()
    expect(idle.at(-1)?.socket.destroyed).toBe(false)
  })
})

describe('a connection with a call under way', () => {
  it('is not ended for one that comes', async () => {
    const { port, slow } = await startDoor()
    const busy = await connected(connect(port))
    busy.send(REQUEST.replace('nothing', 'slow'))
    const first = await connected(connect(port))
    for (let n = 0; n < 2 * MOST; n++) expect(await ask(connect(port))).toBe(404)
    await first.closed()
    slow.resolve('done')
    expect(statusOf(await busy.until((text) => text.endsWith('done')))).toBe(200)
    // It was used last.
    for (let n = 0; n < MOST / 2; n++) expect(await ask(connect(port))).toBe(404)
    busy.send(REQUEST)
    await busy.until((text) => text.includes('HTTP/1.1 404'))
  })
})

describe('over TLS', () => {
  const keys = selfSigned()
  it.skipIf(keys === null)('serves whoever comes while all connections are idle, or never said hello', async () => {
    const { port } = await startDoor(keys)
    const secure = () =>
      new Promise<tls.TLSSocket>((resolve, reject) => {
        const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => resolve(socket))
        socket.once('error', reject)
        cleanups.push(() => socket.destroy())
      })
    const get = async () => {
      const socket = await secure()
      socket.write(REQUEST)
      return await new Promise((resolve, reject) => {
        socket.once('data', (data: Buffer) => resolve(statusOf(data.toString('latin1'))))
        socket.once('error', reject).once('close', () => reject(new Error('ended')))
      })
    }
    for (let n = 0; n < 2 * MOST; n++) expect(await get()).toBe(404)
    for (let n = 0; n < 2 * MOST; n++) await connected(connect(port))
    expect(await get()).toBe(404)
  })
})
