import { createHash } from 'node:crypto'
import http, { type IncomingMessage, type RequestListener } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { refuse } from '../../../src/domain/refusal.ts'
import { connectRaw, problemIn, type Script, startRawUpstream, statusOf } from '../../transports/raw.ts'
import { selfSigned } from '../../transports/tls.ts'
import { ALLOWED, APPROVAL, allow, allowRead, type Judge, startGateway, type TestGateway } from './gateway.ts'

const TOKEN = { authorization: 'Bearer agents-own.token.value' }
const MIB = 1024 * 1024

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function serve(listener: (...call: Parameters<RequestListener>) => void | Promise<void>): Promise<string> {
  const server = http.createServer((request, response) => void listener(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  // A TCP server that listens has an address with a port.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function raw(script: Script) {
  const upstream = await startRawUpstream(script)
  cleanups.push(() => upstream.close())
  return upstream
}

async function gate(judge: Judge, upstream: object, more = {}): Promise<TestGateway> {
  const gateway = await startGateway(judge, [{ assertion: false, ...upstream }], more)
  cleanups.push(() => gateway.close())
  return gateway
}

const answerWith =
  (text: string): Script =>
  (socket, seen) => {
    if (seen.includes('\r\n\r\n')) socket.write(Buffer.from(text, 'latin1'))
  }

describe('responses', () => {
  it('come without what would name a session, an upstream or another way in', async () => {
    const url = await serve((_request, response) => {
      response.writeHead(200, [
        ...['set-cookie', 'a=1', 'set-cookie', 'b=2', 'countersign-call', 'forged', 'countersign-approval', 'forged'],
        ...['connection', 'x-private', 'x-private', 'secret', 'alt-svc', 'h3=":443"', 'etag', '"1"', 'x-two', 'a'],
        ...['x-two', 'b', 'strict-transport-security', 'max-age=1'],
      ])
      response.end('ok')
    })
    const gateway = await gate(allow, { url })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN })
    const names = [...response.headers.keys()]
    expect(await response.text()).toBe('ok')
    expect(names).not.toContain('set-cookie')
    expect(names).not.toContain('x-private')
    expect(names).not.toContain('alt-svc')
    expect(names).not.toContain('strict-transport-security')
    expect(names).not.toContain('countersign-approval')
    expect(response.headers.get('countersign-call')).toBe(gateway.passed[0]?.arrival.id)
    expect(response.headers.get('x-two')).toBe('a, b')
    expect(response.headers.get('etag')).toBe('"1"')
  })

  it('lead back to the gateway, and are not followed', async () => {
    let asked = 0
    const url = await serve((request, response) => {
      asked++
      const base = `http://${request.headers.host}`
      response.writeHead(302, {
        location: `${base}/v1/next?x=1`,
        link: `<${base}/v1/b>; rel="next", </v1/c>; rel="prev", <https://elsewhere.test/d>; rel="help"`,
      })
      response.end()
    })
    const gateway = await gate(allow, { url: `${url}/v1` })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN, redirect: 'manual' })
    expect(response.status).toBe(302)
    expect(response.headers.get('location')).toBe('/billing/next?x=1')
    expect(response.headers.get('link')).toBe(
      '</billing/b>; rel="next", </billing/c>; rel="prev", <https://elsewhere.test/d>; rel="help"',
    )
    expect(asked).toBe(1)
  })

  it.each([
    ['HEAD', 200, 'content-length: 5\r\n'],
    ['GET', 204, ''],
    ['GET', 304, 'etag: "1"\r\n'],
  ])('to %s with %i have no body, and the connection goes on', async (method, status, header) => {
    const upstream = await raw(answerWith(`HTTP/1.1 ${status} X\r\n${header}\r\n`))
    const gateway = await gate(allow, { url: upstream.url })
    const client = connectRaw(gateway.port)
    const line = `${method} /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\n\r\n`
    client.send(line)
    await gateway.ended(1)
    client.send(line)
    await gateway.ended(2)
    const received = await client.until((text) => text.split(`HTTP/1.1 ${status}`).length === 3)
    expect(received.match(/\r\n\r\n/g)).toHaveLength(2)
    client.socket.destroy()
  })

  it('wait for the last of several: interim ones are not the answer', async () => {
    const interim = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n'
    const upstream = await raw(answerWith(`${interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok`))
    const gateway = await gate(allow, { url: upstream.url })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe('ok')
  })

  it('that stream reach the client piece by piece', async () => {
    const pieces = Promise.withResolvers<(text: string) => void>()
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.flushHeaders()
      pieces.resolve((text) => (text === '' ? response.end() : response.write(text)))
    })
    const gateway = await gate(allow, { url })
    // The head comes before the first event, which is not sent until then.
    const response = await fetch(`${gateway.url}/billing/events`, { headers: TOKEN })
    const send = await pieces.promise
    const reader = response.body?.getReader()
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      send(event)
      const read = await reader?.read()
      expect(Buffer.from(read?.value ?? []).toString()).toBe(event)
    }
    send('')
    expect((await reader?.read())?.done).toBe(true)
    expect((await gateway.ended(1)).outcome).toMatchObject({ name: 'forwarded', bytesOut: 18 })
  })
})

describe('bodies', () => {
  it('stream both ways without being kept, and are hashed', async () => {
    const piece = Buffer.alloc(MIB, 'x')
    const count = 256
    const url = await serve(async (request, response) => {
      const hash = createHash('sha256')
      for await (const chunk of request) hash.update(chunk)
      response.writeHead(200, { 'x-hash': hash.digest('hex') })
      for (let index = 0; index < count; index++) {
        if (!response.write(piece)) await new Promise((resolve) => response.once('drain', resolve))
      }
      response.end()
    })
    const gateway = await gate(allow, { url })
    const whole = createHash('sha256')
    for (let index = 0; index < count; index++) whole.update(piece)
    const expected = whole.digest('hex')
    let most = 0
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss)
    }, 20)
    const before = process.memoryUsage().rss
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = http.request(`${gateway.url}/billing/up`, {
        method: 'POST',
        headers: { ...TOKEN, 'content-length': count * MIB, 'content-type': 'application/octet-stream' },
      })
      request.on('response', resolve).on('error', reject)
      const send = async () => {
        for (let index = 0; index < count; index++) {
          if (!request.write(piece)) await new Promise((done) => request.once('drain', done))
        }
        request.end()
      }
      send().catch(reject)
    })
    let size = 0
    for await (const chunk of response) size += chunk.length
    clearInterval(watch)
    expect(size).toBe(count * MIB)
    expect(response.headers['x-hash']).toBe(expected)
    expect((await gateway.ended(1)).outcome).toMatchObject({
      name: 'forwarded',
      bytesIn: count * MIB,
      bytesOut: count * MIB,
      requestHash: expected,
      responseHash: expected,
    })
    // Client, gateway and upstream are all in this process; the larger part is what waits to be collected.
    expect(most - before).toBeLessThan(200 * MIB)
  })

  it('stop coming from an upstream while the client does not read', async () => {
    let written = 0
    const url = await serve((_request, response) => {
      const piece = Buffer.alloc(MIB)
      const more = () => {
        while (written < 200 && response.write(piece)) written++
        if (written < 200) response.once('drain', more)
      }
      more()
    })
    const gateway = await gate(allow, { url })
    const client = connectRaw(gateway.port)
    client.socket.pause()
    client.send('GET /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\n\r\n')
    await sleep(300)
    const stalled = written
    await sleep(200)
    expect(written).toBe(stalled)
    expect(stalled).toBeLessThan(60)
    client.socket.destroy()
    expect((await gateway.ended(1)).outcome?.name).toBe('client_gone')
  })

  it('are asked for only when they are wanted', async () => {
    const upstream = await raw(answerWith('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
    const judge: Judge = (call, actions, release) =>
      actions[0].resource === '/no' ? call.refuse(refuse('denied', 'Not executed. No.')) : release()
    const gateway = await gate(judge, { url: upstream.url })
    const head = (path: string) =>
      `POST /billing${path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n`
    const refused = connectRaw(gateway.port)
    refused.send(head('/no'))
    const answer = await refused.closed()
    expect(statusOf(answer)).toBe(403)
    expect(answer).not.toContain('100 Continue')
    expect(answer).toMatch(/connection: close/i)

    const welcome = connectRaw(gateway.port)
    welcome.send(head('/yes'))
    await welcome.until((text) => text.includes('100 Continue'))
    welcome.send('abc')
    await welcome.until((text) => text.includes('200 OK'))
    welcome.socket.destroy()
    expect(upstream.seen).toHaveLength(1)
  })

  it('that break off end the call', async () => {
    const url = await serve((request) => void request.resume())
    const gateway = await gate(allow, { url })
    const client = connectRaw(gateway.port)
    client.send(
      `POST /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\nContent-Length: 100000\r\n\r\n${'a'.repeat(5000)}`,
    )
    await sleep(50)
    client.socket.destroy()
    expect((await gateway.ended(1)).outcome?.name).toBe('client_gone')
  })
})

describe('upstreams that fail', () => {
  it('that cannot be reached are 502', async () => {
    const upstream = await startRawUpstream()
    await upstream.close()
    const gateway = await gate(allow, { url: upstream.url })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN })
    expect(response.status).toBe(502)
    expect(await response.json()).toMatchObject({
      code: 'upstream_failed',
      detail: expect.stringMatching(/^Not executed/),
    })
    expect((await gateway.ended(1)).outcome).toMatchObject({ name: 'upstream_failed' })
  })

  it.each([
    ['hang up without a word', (socket) => socket.destroy()],
    ['reset the connection', (socket) => socket.resetAndDestroy()],
    ['do not speak HTTP', (socket) => socket.write('SSH-2.0-OpenSSH\r\n')],
    [
      'answer with two lengths',
      (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'),
    ],
    [
      'switch protocols unasked',
      (socket) => socket.write('HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    ],
  ] as const satisfies readonly (readonly [string, Script])[])('that %s are 502', async (_what, script) => {
    const upstream = await raw(script)
    const gateway = await gate(allow, { url: upstream.url })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN })
    expect(response.status).toBe(502)
    expect(await response.json()).toMatchObject({ detail: expect.stringMatching(/^Perhaps executed/) })
    expect(upstream.seen).toHaveLength(1)
  })

  it('that do not answer in time are 504', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate(allow, { url: upstream.url, timeouts: { response: '300ms' } })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN })
    expect(response.status).toBe(504)
    expect(await response.json()).toMatchObject({ code: 'upstream_timeout' })
    expect((await gateway.ended(1)).outcome?.name).toBe('upstream_timeout')
    expect(upstream.seen).toHaveLength(1)
  })

  it.each([
    ['reset', 'upstream_failed', { idle: '5s' }],
    ['stall', 'upstream_timeout', { idle: '300ms' }],
  ])('that %s in the middle of a body cut it visibly', async (how, outcome, timeouts) => {
    const upstream = await raw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n')
      if (how === 'reset') setTimeout(() => socket.resetAndDestroy(), 30)
    })
    const gateway = await gate(allow, { url: upstream.url, timeouts })
    const client = connectRaw(gateway.port)
    client.send('GET /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\n\r\n')
    const received = await client.closed()
    expect(received).toContain('hello')
    expect(received).not.toMatch(/0\r\n\r\n$/)
    expect((await gateway.ended(1)).outcome).toMatchObject({ name: outcome, status: 200 })
  })

  it('that are impostors do not get the credential', async (context) => {
    const own = selfSigned()
    if (!own) return context.skip('openssl is needed to make a certificate')
    const asked: (string | undefined)[] = []
    const server = https.createServer(own, (request, response) => {
      asked.push(request.headers.authorization)
      response.end('ok')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => {
      server.closeAllConnections()
      server.close()
    })
    const url = `https://localhost:${(server.address() as AddressInfo).port}`
    const credential = { bearer: 'upstream-secret' }

    const wary = await gate(allow, { url, credential })
    const refused = await fetch(`${wary.url}/billing/a`, { headers: TOKEN })
    expect(refused.status).toBe(502)
    expect(await refused.json()).toMatchObject({ detail: expect.stringMatching(/^Not executed.*certificate/) })
    expect(asked).toEqual([])

    const trusting = await gate(allow, { url, credential, ca: own.cert })
    expect((await fetch(`${trusting.url}/billing/a`, { headers: TOKEN })).status).toBe(200)
    expect(asked).toEqual(['Bearer upstream-secret'])
  })
})

describe('ends of a call', () => {
  it('the client leaves: the upstream is let go', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate(allow, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send('GET /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\n\r\n')
    await upstream.until((seen) => seen.includes('GET /a'))
    const [socket] = upstream.sockets
    const closed = new Promise((resolve) => socket?.once('close', resolve))
    client.socket.destroy()
    await closed
    expect((await gateway.ended(1)).outcome?.name).toBe('client_gone')
  })

  it('a held client that leaves is noticed', async () => {
    const upstream = await raw(() => {})
    let isGone = false
    const judge: Judge = async (call) => {
      await new Promise<void>((resolve) => call.gone.addEventListener('abort', () => resolve()))
      isGone = true
      return call.refuse(refuse('approval_pending', 'Not executed. Waiting.'))
    }
    const gateway = await gate(judge, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send(
      'POST /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc',
    )
    await sleep(50)
    expect(isGone).toBe(false)
    client.socket.destroy()
    expect((await gateway.ended(1)).outcome).toMatchObject({ name: 'pending' })
    expect(upstream.seen).toEqual([])
  })

  it.each([
    ['before it began', 0],
    ['while the upstream thinks', 50],
  ])('the gate stops it %s', async (_when, afterMs) => {
    const upstream = await raw(() => {})
    const why = refuse('suspended', 'Not executed. The agent is suspended.')
    const judge: Judge = async (_call, _actions, release) => {
      const stop = new AbortController()
      if (afterMs === 0) stop.abort(why)
      else setTimeout(() => stop.abort(why), afterMs)
      return release({ signal: stop.signal })
    }
    const gateway = await gate(judge, { url: upstream.url })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN })
    expect(response.status).toBe(403)
    expect(await response.json()).toMatchObject({ code: 'suspended' })
    expect((await gateway.ended(1)).outcome).toMatchObject({
      name: afterMs === 0 ? 'refused' : 'cut',
      refusal: why,
    })
    expect(upstream.seen).toHaveLength(afterMs === 0 ? 0 : 1)
  })

  it('the gate stops it in the middle of a stream', async () => {
    const upstream = await raw(answerWith('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n'))
    const judge: Judge = (_call, _actions, release) => {
      const stop = new AbortController()
      setTimeout(() => stop.abort(refuse('suspended', 'Cut off.')), 50)
      return release({ signal: stop.signal })
    }
    const gateway = await gate(judge, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send('GET /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\n\r\n')
    const received = await client.closed()
    expect(received).toContain('hello')
    expect(received).not.toMatch(/0\r\n\r\n$/)
    expect((await gateway.ended(1)).outcome).toMatchObject({ name: 'cut', bytesOut: 5 })
  })

  it('a limit of bytes runs out', async () => {
    const upstream = await raw(answerWith('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhellohello'))
    const judge: Judge = (_call, _actions, release) => release({ spendBytes: (count) => count < 10 })
    const gateway = await gate(judge, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send('GET /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\n\r\n')
    expect(await client.closed()).not.toContain('hellohello')
    expect((await gateway.ended(1)).outcome).toMatchObject({ name: 'cut', bytesOut: 10 })
  })

  it('the gate fails: 503, and nothing was forwarded', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate(() => Promise.reject(new Error('no')), { url: upstream.url })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN })
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({ code: 'unavailable' })
  })
})

describe('what a call is told', () => {
  it('names its approval, its call and what was dropped', async () => {
    const upstream = await raw(answerWith('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
    const judge: Judge = (_call, _actions, release) => release({ approval: APPROVAL })
    const gateway = await gate(judge, { url: upstream.url })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: { ...TOKEN, 'x-evil': '1', cookie: 'a=b' } })
    expect(response.headers.get('countersign-approval')).toBe(APPROVAL.id)
    expect(response.headers.get('countersign-call')).toBe(gateway.passed[0]?.call?.id)
    expect(response.headers.get('countersign-dropped')).toBe('x-evil, cookie')
  })

  it('is refused with a problem that can be acted on', async () => {
    const upstream = await raw(() => {})
    const why = refuse('approval_pending', 'Not executed. Waiting for approval 7Q3F. Repeat the call unchanged.', {
      approval: '7Q3F',
      retryAfterS: 5,
    })
    const gateway = await gate((call) => call.refuse(why), { url: upstream.url })
    const response = await fetch(`${gateway.url}/billing/a`, { headers: TOKEN })
    expect(response.status).toBe(403)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(response.headers.get('retry-after')).toBe('5')
    const id = gateway.passed[0]?.call?.id
    expect(response.headers.get('countersign-call')).toBe(id)
    expect(await response.json()).toMatchObject({
      type: 'https://countersign.dev/problems/approval_pending',
      status: 403,
      code: 'approval_pending',
      approval: '7Q3F',
      call: id,
      status_url: expect.stringMatching(/^https:\/\/gateway\.test\/\.countersign\/calls\//),
    })
  })

  it('has to say who it is, and is told how', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate(allow, { url: upstream.url })
    const response = await fetch(`${gateway.url}/billing/a`)
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toContain(
      'resource_metadata="https://gateway.test/.well-known/oauth-protected-resource/billing"',
    )
  })

  it('waits no longer than it wants to, nor than it may', async () => {
    const upstream = await raw(answerWith('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
    const gateway = await gate(allow, { url: upstream.url, wait: '20s' })
    for (const prefer of ['wait=5, return=minimal', 'wait=100', 'handling=strict']) {
      await fetch(`${gateway.url}/billing/a`, { headers: { ...TOKEN, prefer } })
    }
    expect(gateway.passed.map(({ call }) => call?.waitMs)).toEqual([5000, 20_000, 20_000])
    expect(upstream.seen.join()).toContain('\r\nprefer: return=minimal\r\n')
    expect(upstream.seen.join()).not.toContain('wait=')
  })
})

describe('held calls', () => {
  it('are forwarded as they were approved, not as they were repeated', async () => {
    const upstream = await raw(answerWith('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
    const sealed: { digest: Buffer; matchKey: Buffer; stored: { head: object; body: Uint8Array } }[] = []
    const judge: Judge = async (call, _actions, release) => {
      const seal = await call.seal(ALLOWED)
      if ('refused' in seal) return call.refuse(seal)
      sealed.push(seal)
      const first = sealed[0]
      if (!first || sealed.length === 1) return call.refuse(refuse('approval_pending', 'Not executed. Waiting.'))
      const digest = await call.adopt(first.stored as typeof seal.stored)
      expect(digest).toEqual(first.digest)
      expect(await call.describe(new Set(['body']), [])).toMatchObject([{ facts: { body: { amount: 1 } } }])
      return release({ approval: APPROVAL })
    }
    const gateway = await gate(judge, { url: upstream.url })
    const send = (key: string) =>
      fetch(`${gateway.url}/billing/refunds`, {
        method: 'POST',
        body: '{"amount": 1}',
        headers: { ...TOKEN, 'content-type': 'application/json', 'idempotency-key': key, 'user-agent': key },
      })
    expect((await send('one')).status).toBe(403)
    expect((await send('two')).status).toBe(200)
    expect(sealed[1]?.matchKey).toEqual(sealed[0]?.matchKey)
    expect(sealed[1]?.digest).not.toEqual(sealed[0]?.digest)
    expect(upstream.seen[0]).toContain('\r\nidempotency-key: one\r\n')
    expect(upstream.seen[0]).toMatch(/\r\n\r\n\{"amount": 1\}$/)
  })

  it('that ask for it are answered at once, run later, and their response is kept', async () => {
    const url = await serve((_request, response) => {
      response.writeHead(201, { 'content-type': 'text/plain', 'set-cookie': 'a=b', location: '/things/1' })
      response.end('made')
    })
    const judge: Judge = async (call) => {
      const sealed = await call.seal(ALLOWED)
      if ('refused' in sealed) return call.refuse(sealed)
      await call.held(APPROVAL)
      return { name: 'pending', response: sealed.stored }
    }
    const gateway = await gate(judge, { url })
    const response = await fetch(`${gateway.url}/billing/things`, {
      method: 'POST',
      body: '{"a":1}',
      headers: { ...TOKEN, 'content-type': 'application/json', prefer: 'respond-async' },
    })
    const { call, outcome } = await gateway.ended(1)
    expect(response.status).toBe(202)
    expect(response.headers.get('preference-applied')).toBe('respond-async')
    // Of the call that opened the approval, which need not be this one.
    expect(response.headers.get('location')).toBe(`/.countersign/calls/${APPROVAL.callId}`)
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
    if (!call || !outcome?.response) throw new Error('nothing was stored')

    const later = gateway.http.revive(outcome.response, {
      id: call.id,
      principal: call.principal,
      upstream: call.upstream.name,
    })
    const sealed = await later.seal(ALLOWED)
    expect('refused' in sealed).toBe(false)
    const { releaseOf } = await import('./gateway.ts')
    const done = await later.forward(releaseOf(later, { approval: APPROVAL }))
    expect(done).toMatchObject({ name: 'forwarded', status: 201, bytesIn: 7, bytesOut: 4 })
    expect(Buffer.from(done.response?.body ?? []).toString()).toBe('made')
    expect(done.response?.head).toMatchObject({ status: 201 })
    expect(JSON.stringify(done.response?.head)).toContain('/billing/things/1')
    expect(JSON.stringify(done.response?.head)).not.toContain('set-cookie')
  })

  it('whose kept response grows too large are cut', async () => {
    const url = await serve((_request, response) => void response.end('x'.repeat(5000)))
    const judge: Judge = async (call) => {
      const sealed = await call.seal(ALLOWED)
      if ('refused' in sealed) return call.refuse(sealed)
      await call.held(APPROVAL)
      return { name: 'pending', response: sealed.stored }
    }
    const gateway = await gate(judge, { url }, { maxKeptBytes: 1000 })
    await fetch(`${gateway.url}/billing/a`, { headers: { ...TOKEN, prefer: 'respond-async' } })
    const { call, outcome } = await gateway.ended(1)
    if (!call || !outcome?.response) throw new Error('nothing was stored')
    const how = { id: call.id, principal: call.principal, upstream: call.upstream.name }
    const later = gateway.http.revive(outcome.response, how)
    const { releaseOf } = await import('./gateway.ts')
    expect(await later.forward(releaseOf(later))).toMatchObject({
      name: 'cut',
      status: 200,
      refusal: { code: 'too_large' },
      response: { head: { isCut: true } },
    })
  })
})

describe('routes', () => {
  it('lead by Host where an upstream says so, reserved paths aside', async () => {
    const upstream = await raw(answerWith('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
    const gateway = await gate(allow, { url: `${upstream.url}/v2`, host: 'api.gateway.test' })
    const ask = async (host: string, path: string) => {
      const client = connectRaw(gateway.port)
      client.send(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer a.b.c\r\nConnection: close\r\n\r\n`)
      return statusOf(await client.closed())
    }
    expect(await ask('api.gateway.test:8080', '/billing/a?b=c')).toBe(200)
    expect(upstream.seen[0]).toMatch(/^GET \/v2\/billing\/a\?b=c HTTP/)
    expect(await ask('API.gateway.test', '/.countersign/calls/1')).toBe(404)
    expect(await ask('other.test', '/a')).toBe(404)
    expect(await ask('other.test', '/billing/a')).toBe(200)
    expect(upstream.seen.join('')).toContain('GET /v2/a HTTP')
  })
})

describe('what is not a call', () => {
  it('is counted with its source and a reason', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate(allowRead, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send('GET /billing/%2e%2e/a HTTP/1.1\r\nHost: a\r\n\r\n')
    const received = await client.closed()
    expect(problemIn(received)).toMatchObject({ status: 400, code: 'malformed' })
    expect(gateway.malformed).toEqual([{ source: '127.0.0.1', reason: 'target' }])
    expect(gateway.passed).toEqual([])
  })

  it('comes from where the proxy that ends TLS says', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate(allow, { url: upstream.url }, { isBehindTlsProxy: true })
    const client = connectRaw(gateway.port)
    client.send('GET /billing/a;b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4, 10.9.8.7\r\n\r\n')
    await client.closed()
    expect(gateway.malformed).toEqual([{ source: '10.9.8.7', reason: 'target' }])
  })

  it('a body that a stopped call still waits for is not waited for', async () => {
    const upstream = await raw(() => {})
    const judge: Judge = (_call, _actions, release) => {
      const stop = new AbortController()
      setTimeout(() => stop.abort(refuse('suspended', 'Not executed. Suspended.')), 50)
      return release({ signal: stop.signal })
    }
    const gateway = await gate(judge, { url: upstream.url })
    const client = connectRaw(gateway.port)
    client.send('POST /billing/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a.b.c\r\nContent-Length: 9\r\n\r\nabc')
    await client.until((text) => text.includes('"code":"suspended"'))
    client.socket.destroy()
    expect((await gateway.ended(1)).outcome?.name).toBe('refused')
    expect(upstream.seen).toEqual([])
  })

  it('a head that does not end is given up', async () => {
    const upstream = await raw(() => {})
    const gateway = await gate(allow, { url: upstream.url }, { headersTimeoutMs: 600 })
    const client = connectRaw(gateway.port)
    client.send('GET /billing/a HTTP/1.1\r\nHost: a\r\n')
    expect(statusOf(await client.closed())).toBe(408)
  })
})
