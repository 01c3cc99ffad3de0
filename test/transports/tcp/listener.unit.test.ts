import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import { afterEach, expect, test } from 'vitest'
import { createLogger } from '../../../src/platform/logger.ts'
import { type Accepted, createTcpListener, LISTENER_LIMITS } from '../../../src/transports/tcp/listener.ts'
import { secureClient, secureServer, serverContext } from '../../../src/transports/tcp/secure.ts'
import { selfSigned } from '../tls.ts'
import { connectPair } from './pair.ts'

const log = createLogger({ level: 'fatal' })
const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function listen(limits: Partial<typeof LISTENER_LIMITS>, onConnection: (accepted: Accepted) => void) {
  const listener = createTcpListener({
    place: { host: '127.0.0.1', port: 0 },
    limits: { ...LISTENER_LIMITS, ...limits },
    log,
    onConnection(accepted) {
      accepted.socket.on('end', () => accepted.socket.end()).resume()
      onConnection(accepted)
    },
  })
  const { port } = await listener.listen()
  closing.push(listener.destroy)
  const connect = async (): Promise<Socket> => {
    const socket = net.connect({ port, host: '127.0.0.1' })
    closing.push(() => socket.destroy())
    socket.on('error', () => {})
    socket.resume()
    await once(socket, 'connect')
    return socket
  }
  return { listener, connect }
}

const closed = (socket: Socket) => (socket.closed ? Promise.resolve() : once(socket, 'close'))

test('ends who does not say who they are in time, and nobody else', async () => {
  const { connect } = await listen({ handshakeMs: 100 }, ({ proven }) => {
    if (!wasProven) proven()
    wasProven = true
  })
  let wasProven = false
  const proven = await connect()
  const silent = await connect()
  await closed(silent)
  expect(proven.closed).toBe(false)
})

test('the oldest of those that have not said who they are makes room for the next', async () => {
  const { connect, listener } = await listen({ unproven: 2 }, () => {})
  const [first, second] = [await connect(), await connect()]
  const third = await connect()
  await closed(first)
  expect([second.closed, third.closed]).toEqual([false, false])
  expect(listener.open).toBe(2)
})

test('takes no more connections than it may', async () => {
  const { connect, listener } = await listen({ connections: 2 }, ({ proven }) => proven())
  const kept = [await connect(), await connect()]
  await closed(await connect())
  expect(kept.map((socket) => socket.closed)).toEqual([false, false])
  kept[0]?.destroy()
  while (listener.open > 1) await new Promise(setImmediate)
  const again = await connect()
  expect(again.closed).toBe(false)
})

const own = selfSigned()

test.runIf(own !== null)('speaks TLS in place, and only its own protocol', async () => {
  if (!own) return
  const context = serverContext(own)
  const talk = async (offers: readonly string[], isDemanded: boolean) => {
    const { near, far, close } = await connectPair()
    closing.push(close)
    const client = tls.connect({ socket: far, ca: own.cert, servername: 'localhost', ALPNProtocols: [...offers] })
    client.on('error', () => {})
    const secure = await secureServer(near, { context, alpn: 'postgresql', isDemanded })
    if (!secure) return 'refused'
    secure.write('hello')
    const [said] = await once(client, 'data')
    return String(said)
  }
  expect(await talk(['postgresql'], true)).toBe('hello')
  expect(await talk(['http/1.1'], true)).toBe('refused')
  expect(await talk(['http/1.1'], false)).toBe('refused')
  expect(await talk([], true)).toBe('refused')
  expect(await talk([], false)).toBe('hello')
})

test('what is not TLS ends the handshake', async () => {
  const { near, far, close } = await connectPair()
  closing.push(close)
  far.write('SELECT 1')
  const context = own ? serverContext(own) : tls.createSecureContext()
  expect(await secureServer(near, { context, alpn: 'postgresql', isDemanded: false })).toBeNull()
})

test.runIf(own !== null)('refuses an upstream whose certificate is not trusted, or is for another name', async () => {
  if (!own) return
  const context = serverContext(own)
  const attempt = async (host: string, ca: string | null) => {
    const { near, far, close } = await connectPair()
    closing.push(close)
    void secureServer(near, { context, alpn: 'postgresql', isDemanded: false })
    return secureClient(far, { host, ca, alpn: 'postgresql' }).then(
      (secure) => secure.authorized,
      (error: NodeJS.ErrnoException) => error.code,
    )
  }
  expect(await attempt('localhost', own.cert)).toBe(true)
  expect(await attempt('localhost', null)).toBe('DEPTH_ZERO_SELF_SIGNED_CERT')
  expect(await attempt('db.example.com', own.cert)).toBe('ERR_TLS_CERT_ALTNAME_INVALID')
})
