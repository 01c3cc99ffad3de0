import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CALL_ID, callIn, connectRaw, problemIn, statusOf } from '../../transports/raw.ts'
import { allow, startGateway, type TestGateway } from './gateway.ts'

/** Answers in place of an upstream, however early: what is sent, and the status. */
const ANSWERS: Readonly<Record<string, { send: string; status: number }>> = {
  'a path of no upstream': { send: 'GET /none/a HTTP/1.1\r\nHost: g\r\n\r\n', status: 404 },
  'the root': { send: 'GET / HTTP/1.1\r\nHost: g\r\n\r\n', status: 404 },
  'an upgrade to no upstream': {
    send: 'GET /none/ws HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    status: 404,
  },
  'an upgrade that is no call': {
    send: 'GET /billing/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    status: 400,
  },
  'an upgrade to HTTP/2': {
    send: 'GET /billing/a HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n',
    status: 400,
  },
  'another expectation': { send: 'POST /billing/a HTTP/1.1\r\nHost: g\r\nExpect: a miracle\r\n\r\n', status: 417 },
  CONNECT: { send: 'CONNECT billing:443 HTTP/1.1\r\nHost: g\r\n\r\n', status: 400 },
  'a malformed head': { send: 'GET /billing/a HTTP/1.1\r\n\r\n', status: 400 },
  'what is not HTTP': { send: 'EHLO gateway\r\n\r\n', status: 400 },
  'a head that is too long': { send: `GET /billing/a HTTP/1.1\r\nX-A: ${'a'.repeat(40_000)}\r\n\r\n`, status: 431 },
  'a head that never ends': { send: 'GET /billing/a HTTP/1.1\r\nHost: g\r\n', status: 408 },
  'a call without a token': { send: 'GET /billing/a HTTP/1.1\r\nHost: g\r\n\r\n', status: 401 },
}

describe('the id of a call', () => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await startGateway(allow, [{ url: 'http://127.0.0.1:1' }], { headersTimeoutMs: 200 })
  })
  afterAll(() => gateway.close())

  async function ask(send: string): Promise<string> {
    const client = connectRaw(gateway.port)
    client.send(send)
    const received = await client.until((text) => /\r\n\r\n.*\}\s*$/s.test(text))
    client.socket.destroy()
    return received
  }

  it.each(Object.entries(ANSWERS))('is on the answer to %s', async (_name, { send, status }) => {
    const received = await ask(send)
    expect(statusOf(received)).toBe(status)
    expect(callIn(received)).toMatch(CALL_ID)
    expect(problemIn(received).call).toBe(callIn(received))
  })

  it('is another one each time', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => ask('GET /none HTTP/1.1\r\nHost: g\r\n\r\n')))
    expect(new Set(answers.map(callIn)).size).toBe(answers.length)
  })

  it.each(['POST /livez', 'DELETE /.well-known/jwks.json', 'GET /.countersign/nothing'])(
    'is not on what is no call: %s',
    async (line) => {
      const received = await ask(`${line} HTTP/1.1\r\nHost: g\r\n\r\n`)
      expect(statusOf(received)).toBe(404)
      expect(callIn(received)).toBeUndefined()
    },
  )
})
