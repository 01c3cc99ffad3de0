import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import WebSocket, { WebSocketServer } from 'ws'
import { refuse } from '../../../src/domain/refusal.ts'
import { connectRaw, type Script, startRawUpstream, statusOf } from '../../transports/raw.ts'
import { ALLOWED, APPROVAL, allow, allowRead, type Judge, startGateway, type TestGateway } from './gateway.ts'

const TOKEN = { authorization: 'Bearer agents-own.token.value' }
const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function raw(script: Script) {
  const upstream = await startRawUpstream(script)
  cleanups.push(() => upstream.close())
  return upstream
}

async function gate(judge: Judge, upstream: object): Promise<TestGateway> {
  const gateway = await startGateway(judge, [{ assertion: false, ...upstream }])
  cleanups.push(() => gateway.close())
  return gateway
}

const upgradeHead = (protocol: string, lines: readonly string[] = [], line = 'GET /billing/ws HTTP/1.1') =>
  [
    line,
    'Host: a',
    'Authorization: Bearer a.b.c',
    'Connection: Upgrade',
    `Upgrade: ${protocol}`,
    ...lines,
    '',
    '',
  ].join('\r\n')

/** Switches protocols, then says back what it hears. */
const echo: Script = (socket, seen) => {
  const end = seen.indexOf('\r\n\r\n')
  if (end === -1 || socket.listenerCount('echo') > 0) return
  socket.on('echo', () => {})
  socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: tcp\r\nset-cookie: a=b\r\n\r\n')
  const early = seen.slice(end + 4)
  if (early !== '') socket.write(`echo:${early}`)
  socket.on('data', (chunk: Buffer) => socket.write(Buffer.concat([Buffer.from('echo:'), chunk])))
}

describe('a WebSocket', () => {
  async function sockets() {
    const server = http.createServer()
    const wss = new WebSocketServer({ server })
    const asked: http.IncomingMessage[] = []
    wss.on('connection', (socket, request) => {
      asked.push(request)
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => {
      for (const client of wss.clients) client.terminate()
      server.closeAllConnections()
      server.close()
    })
    // A TCP server that listens has an address with a port.
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
  }

  it('goes both ways through an upgrade that was judged as one', async () => {
    const { url, asked } = await sockets()
    const gateway = await gate(allow, { url, credential: { bearer: 'upstream-secret' } })
    const client = new WebSocket(`ws://127.0.0.1:${gateway.port}/billing/live?x=1`, ['chat', 'bearer.abc'], {
      headers: { ...TOKEN, cookie: 'a=b' },
    })
    const opened = new Promise<http.IncomingMessage>((resolve) => client.once('upgrade', resolve))
    await new Promise((resolve) => client.once('open', resolve))
    expect((await opened).headers['countersign-call']).toMatch(/^[0-9a-f-]{36}$/)
    const text = 'x'.repeat(300_000)
    const heard = new Promise((resolve) => client.once('message', (data) => resolve(data.toString())))
    client.send(text)
    expect(await heard).toBe(text)
    client.close(1000)
    const { actions, outcome } = await gateway.ended(1)
    expect(actions).toMatchObject([
      { verb: 'UPGRADE', resource: '/live', facts: { method: 'GET', upgrade: 'websocket' } },
    ])
    expect(outcome).toMatchObject({ name: 'forwarded', status: 101 })
    expect(outcome?.bytesIn).toBeGreaterThan(300_000)
    expect(outcome?.bytesOut).toBeGreaterThan(300_000)
    expect(asked[0]?.url).toBe('/live?x=1')
    expect(asked[0]?.headers).toMatchObject({
      authorization: 'Bearer upstream-secret',
      'sec-websocket-protocol': 'chat',
    })
    expect(asked[0]?.headers.cookie).toBeUndefined()
  })

  it('that was approved in an earlier attempt opens for the later one', async () => {
    const { url } = await sockets()
    let stored: Parameters<Parameters<Judge>[0]['adopt']>[0] | null = null
    const judge: Judge = async (call, _actions, release) => {
      const sealed = await call.seal(ALLOWED)
      if ('refused' in sealed) return call.refuse(sealed)
      if (stored === null) {
        stored = sealed.stored
        return call.refuse(refuse('approval_pending', 'Not executed. Waiting.'))
      }
      await call.adopt(stored)
      return release({ approval: APPROVAL })
    }
    const gateway = await gate(judge, { url })
    const connect = () => new WebSocket(`ws://127.0.0.1:${gateway.port}/billing/live`, { headers: TOKEN })
    const first = connect()
    const refused = await new Promise<number | undefined>((resolve) => {
      first.once('unexpected-response', (_request, response) => resolve(response.statusCode))
    })
    expect(refused).toBe(403)
    first.on('error', () => {})
    first.terminate()
    const second = connect()
    await new Promise((resolve, reject) => second.once('open', resolve).once('error', reject))
    second.close()
  })
})

describe('an upgrade', () => {
  it('carries what was sent early, and counts both ways', async () => {
    const upstream = await raw(echo)
    const gateway = await gate(allow, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(`${upgradeHead('tcp')}early`)
    const received = await client.until((text) => text.includes('echo:early'))
    expect(received).toMatch(/^HTTP\/1\.1 101 /)
    expect(received).not.toContain('set-cookie')
    client.send('later')
    await client.until((text) => text.includes('echo:later'))
    client.socket.end()
    expect((await gateway.ended(1)).outcome).toMatchObject({
      name: 'forwarded',
      status: 101,
      bytesIn: 10,
      bytesOut: 20,
    })
  })

  it('goes on in one direction when the other is closed', async () => {
    const upstream = await raw((socket, seen) => {
      if (!seen.includes('\r\n\r\n') || socket.listenerCount('echo') > 0) return
      socket.on('echo', () => {})
      socket.write('HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: tcp\r\n\r\n')
      socket.removeAllListeners('end')
      socket.on('end', () => setTimeout(() => socket.end('said after the client had closed its side'), 50))
    })
    const gateway = await gate(allow, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.socket.removeAllListeners('end')
    client.send(upgradeHead('tcp'))
    await client.until((text) => text.includes('101'))
    client.socket.end()
    await client.until((text) => text.includes('said after'))
    expect((await gateway.ended(1)).outcome?.name).toBe('forwarded')
  })

  it.each([
    [403, 'HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nx-why: not you\r\n\r\nno'],
    [200, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'],
  ])('that is answered with %i is answered so, and both connections end', async (status, text) => {
    const upstream = await raw((socket, seen) => {
      if (seen.endsWith('\r\n\r\n')) socket.write(text)
    })
    const gateway = await gate(allow, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(upgradeHead('websocket'))
    const received = await client.closed()
    expect(statusOf(received)).toBe(status)
    expect(received).toMatch(/connection: close/i)
    expect((await gateway.ended(1)).outcome).toMatchObject({ name: 'forwarded', status })
    client.send('GET /admin HTTP/1.1\r\n\r\n')
    await sleep(30)
    expect(upstream.seen).toHaveLength(1)
    expect(upstream.sockets.size).toBe(0)
  })

  it('to another protocol than was asked for is 502', async () => {
    const upstream = await raw((socket) => {
      socket.write('HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n')
    })
    const gateway = await gate(allow, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(upgradeHead('websocket'))
    const received = await client.closed()
    expect(received).not.toContain('101')
    expect((await gateway.ended(1)).outcome?.name).toBe('upstream_failed')
  })

  it('is refused as any call', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate((call) => call.refuse(refuse('denied', 'Not executed. No.')), { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(upgradeHead('websocket'))
    const received = await client.closed()
    expect(statusOf(received)).toBe(403)
    expect(received).toContain('"code":"denied"')
    expect(upstream.seen).toEqual([])
  })

  it('needs a token, and an upstream', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate(allow, { url: upstream.url })
    for (const [line, status] of [
      ['GET /billing/ws HTTP/1.1', 401],
      ['GET /none/ws HTTP/1.1', 404],
    ] as const) {
      const client = connectRaw(gateway.port)
      client.send(upgradeHead('websocket', [], line).replace(/Authorization.*\r\n/, ''))
      expect(statusOf(await client.closed())).toBe(status)
    }
    expect(upstream.seen).toEqual([])
  })

  it('that waits notices when its client leaves', async () => {
    const upstream = await raw(() => {})
    const judge: Judge = async (call) => {
      await new Promise<void>((resolve) => call.gone.addEventListener('abort', () => resolve()))
      return call.refuse(refuse('approval_pending', 'Not executed. Waiting.'))
    }
    const gateway = await gate(judge, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(`${upgradeHead('websocket')}some early bytes`)
    await sleep(50)
    client.socket.destroy()
    expect((await gateway.ended(1)).outcome?.name).toBe('pending')
  })

  it('that waits keeps no more than 64 KiB of what comes early', async () => {
    const upstream = await raw(() => {})
    const judge: Judge = async (call) => {
      await new Promise<void>((resolve) => call.gone.addEventListener('abort', () => resolve()))
      return call.refuse(refuse('approval_pending', 'Not executed. Waiting.'))
    }
    const gateway = await gate(judge, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(`${upgradeHead('websocket')}${'x'.repeat(100_000)}`)
    await client.closed()
    expect((await gateway.ended(1)).outcome?.name).toBe('pending')
  })

  it.each([
    ['the gate stops it', {}, 'suspended'],
    ['it lasts too long', { timeouts: { upgraded: '100ms' } }, 'expired'],
    ['a limit runs out', {}, 'rate_limited'],
  ])('ends when %s', async (_why, options, code) => {
    const upstream = await raw(echo)
    const judge: Judge = (_call, _actions, release) => {
      const stop = new AbortController()
      if (code === 'suspended') setTimeout(() => stop.abort(refuse('suspended', 'Cut off.')), 80)
      return release({ signal: stop.signal, spendBytes: () => code !== 'rate_limited' })
    }
    const gateway = await gate(judge, { url: upstream.url, ...options })
    const client = connectRaw(gateway.port)
    client.send(upgradeHead('tcp'))
    await client.until((text) => text.includes('101'))
    client.send('x')
    await client.closed()
    expect((await gateway.ended(1)).outcome).toMatchObject({ name: 'cut', refusal: { code } })
  })

  it.each([
    ['Content-Length: 8', ['{"a"', ':12}', 'early']],
    ['Transfer-Encoding: chunked', ['3\r\n{"a\r\n', '5\r', '\n":12}\r\n0\r\n\r', '\nearly']],
  ])('with a body by %s, in pieces, is read whole', async (framing, pieces) => {
    const upstream = await raw((socket, seen) => {
      if (seen.includes('{"a":12}')) echo(socket, seen.replace('{"a":12}', ''))
    })
    const gateway = await gate(allowRead, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(upgradeHead('tcp', [framing, 'Content-Type: application/json'], 'POST /billing/exec HTTP/1.1'))
    for (const piece of pieces) {
      await sleep(10)
      client.send(piece)
    }
    await client.until((text) => text.includes('echo:early'))
    expect(gateway.passed).toEqual([])
    expect(upstream.seen[0]).toContain('content-length: 8\r\n\r\n{"a":12}')
    client.socket.destroy()
    expect((await gateway.ended(1)).actions).toMatchObject([{ facts: { body: { a: 12 } } }])
  })

  it.each([
    ['a chunk length that is none', 'Transfer-Encoding: chunked', 'xyz\r\nabc\r\n0\r\n\r\n', 400],
    ['a chunk extension', 'Transfer-Encoding: chunked', '3;a=b\r\nabc\r\n0\r\n\r\n', 400],
    ['a chunk of another length', 'Transfer-Encoding: chunked', '3\r\nabcd\r\n0\r\n\r\n', 400],
    ['a trailer', 'Transfer-Encoding: chunked', '0\r\nX-Evil: 1\r\n\r\n', 400],
    ['too many bytes', 'Transfer-Encoding: chunked', 'ffffff\r\n', 413],
    ['too many bytes by length', 'Content-Length: 99999999', '', 413],
  ])('with a body of %s is refused', async (_what, framing, body, status) => {
    const upstream = await raw(echo)
    const gateway = await gate(allowRead, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(upgradeHead('tcp', [framing, 'Content-Type: text/plain'], 'POST /billing/exec HTTP/1.1') + body)
    expect(statusOf(await client.closed())).toBe(status)
    expect(upstream.seen).toEqual([])
  })
})
