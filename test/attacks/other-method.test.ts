import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { get, post, request } from '../protocols/http/bypass/case.ts'
import { allow, allowRead, startGateway, type TestGateway } from '../protocols/http/gateway.ts'
import { connectRaw, problemIn, type RawUpstream, startRawUpstream, statusOf } from '../transports/raw.ts'

/** A POST that the upstream's framework takes for a DELETE, and other ways to be judged as one thing and read as another. */

const FORM = 'application/x-www-form-urlencoded'
const PARTS = 'multipart/form-data; boundary=xyz'
const part = (disposition: string, body = 'DELETE') =>
  `--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--xyz\r\n${disposition}\r\n\r\n${body}\r\n--xyz--\r\n`

let upstream: RawUpstream
const gateways: TestGateway[] = []

beforeAll(async () => {
  upstream = await startRawUpstream()
  const options = { url: upstream.url, assertion: false, headers: { allow: ['X-Fo*'] } }
  gateways.push(await startGateway(allow, [options]), await startGateway(allowRead, [options]))
})
afterAll(async () => {
  for (const gateway of gateways) await gateway.close()
  await upstream.close()
})

async function send(bytes: string, { isRead = false, pieces = 1 } = {}) {
  const before = upstream.seen.length
  const gateway = gateways[isRead ? 1 : 0]
  if (!gateway) throw new Error('there is no gateway')
  const client = connectRaw(gateway.port)
  const whole = bytes.replaceAll('{token}', 'agents-own.token.value')
  const size = Math.ceil(whole.length / pieces)
  for (let at = 0; at < whole.length; at += size) {
    client.send(whole.slice(at, at + size))
    if (pieces > 1) await new Promise((resolve) => setImmediate(resolve))
  }
  const received = await client.until((text) => /\r\n\r\n[\s\S]*[}k]\s*$/.test(text))
  client.socket.destroy()
  return { status: statusOf(received), code: problemIn(received).code, seen: upstream.seen.slice(before).join('') }
}

describe('a method in a query', () => {
  it.each(['.method', '+_method', '%20%20.method', '%5Bmethod', '_METHOD', 'a=1&x=2&.METHOD'])(
    'is refused as %s',
    async (name) => {
      const { status, code, seen } = await send(get(`/billing/a?${name}=DELETE`))
      expect({ status, code, seen }).toEqual({ status: 400, code: 'malformed', seen: '' })
    },
  )

  it.each(['payment_method', 'method', '_method_x', 'a._method'])('is not found in %s', async (name) => {
    expect((await send(get(`/billing/a?${name}=card`))).status).toBe(200)
  })
})

describe.each([{ isRead: false }, { isRead: true }])('a method in a body (read by a rule: $isRead)', ({ isRead }) => {
  it.each(['_method=DELETE', '.method=DELETE', 'a=1&%20_method=DELETE', '%5Bmethod=DELETE'])(
    'is refused in a form as %s',
    async (body) => {
      expect(await send(post(FORM, body), { isRead })).toMatchObject({ status: 400, code: 'malformed', seen: '' })
    },
  )

  it.each([
    ['as Laravel reads it', '{"a":1,"_method":"DELETE"}'],
    ['escaped', '{"\\u005fm\\u0065thod":"DELETE"}'],
  ])('is refused in JSON, %s', async (_what, body) => {
    const refused = { status: 400, code: 'malformed', seen: '' }
    expect(await send(post('application/json', body), { isRead })).toMatchObject(refused)
    expect(await send(post('application/vnd.api+json', body), { isRead })).toMatchObject(refused)
  })

  it('is nothing in JSON that is not sent by POST, or that only speaks of it', async () => {
    const json = '{"_method":"DELETE"}'
    const put = request('PUT /billing/a HTTP/1.1', ['Content-Type: application/json', `Content-Length: ${json.length}`])
    expect((await send(put + json, { isRead })).status).toBe(200)
    const text = '{"html":"<input name=\\"_method\\">","payment_method":"card"}'
    expect((await send(post('application/json', text), { isRead })).status).toBe(200)
  })
})

describe('a method in a form with parts', () => {
  it.each([
    'Content-Disposition: form-data; name="_method"',
    'content-disposition: form-data;name=_method',
    'Content-Disposition: form-data; filename="a"; name="_method"',
    "Content-Disposition: form-data; name*=utf-8''_method",
    'Content-Disposition: form-data; name="\\_method"',
    'Content-Disposition: form-data;\r\n name="_method"',
    'Content-Disposition: form-data; name=" .method"',
    'X-A: b\r\nContent-Disposition: form-data; name="_method"',
  ])('is refused: %s', async (disposition) => {
    expect(await send(post(PARTS, part(disposition)))).toMatchObject({ status: 400, code: 'malformed', seen: '' })
  })

  it('is refused behind a boundary that only some find', async () => {
    const type = 'multipart/form-data; xboundary=evil; boundary=xyz'
    const body = part('Content-Disposition: form-data; name="b"').replaceAll('xyz', 'evil')
    expect(await send(post(type, body))).toMatchObject({ status: 415, code: 'unreadable', seen: '' })
  })

  it.each([1, 7, 150])(
    'never reaches the upstream whole, in %i pieces of a body too large to be kept',
    async (pieces) => {
      const body = part('Content-Disposition: form-data; name="_method"').replace('1\r\n', `${'1'.repeat(100_000)}\r\n`)
      const { status, seen } = await send(post(PARTS, body), { pieces })
      expect(status).toBe(400)
      expect(seen).not.toContain('--xyz--')
    },
  )

  it.each([1, 7, 150])('is not found where there is none, in %i pieces', async (pieces) => {
    const file = `Content-Disposition: form-data; name="f"; filename="payment_method.html"\r\nContent-Type: text/html`
    const body = part(file, `<input name="_method">${'\r\n\r\n'.repeat(30_000)}`)
    const { status, seen } = await send(post(PARTS, body), { pieces })
    expect(status).toBe(200)
    expect(seen).toContain('--xyz--')
  })
})

describe('a header that is for this connection alone', () => {
  it('does not say to policy what a body is, when the upstream will not be told', async () => {
    const body = '{"amount":1}'
    const refused = await send(post('application/json', body, ['Connection: close, content-type']), { isRead: true })
    expect(refused).toMatchObject({ status: 415, code: 'unreadable', seen: '' })
  })
})

describe('a header that may not pass', () => {
  it('does not pass with underscores either, whatever the configuration allows', async () => {
    const { status, seen } = await send(
      get('/billing/a', ['X-Forwarded_For: evil', 'x_forwarded_user: evil', 'X-Foo: a']),
    )
    expect(status).toBe(200)
    expect(seen).toContain('x-foo: a')
    expect(seen).not.toContain('evil')
  })

  it('does not choose the schema of a database', async () => {
    const { seen } = await send(get('/billing/a', ['Accept-Profile: private', 'Content-Profile: private']))
    expect(seen).not.toContain('private')
  })
})

describe('a header that the gateway puts its credential in', () => {
  it('is never the agent’s, though its name is on the list', async () => {
    const credential = { header: { name: 'X-Billing-Key', value: 'upstream-secret' } }
    const options = { url: upstream.url, credential, headers: { allow: ['X-Billing-*'] } }
    const gateway = await startGateway(allow, [options])
    const before = upstream.seen.length
    const client = connectRaw(gateway.port)
    const lines = ['X-Billing-Key: evil', 'x-billing_key: evil', 'X-Billing-Mode: a']
    client.send(get('/billing/a', lines).replaceAll('{token}', 'agents-own.token.value'))
    const answer = await client.until((text) => text.includes('ok'))
    const sent = upstream.seen.slice(before).join('')
    expect(sent).toContain('x-billing-key: upstream-secret')
    expect(sent).toContain('x-billing-mode: a')
    expect(sent).not.toContain('evil')
    expect(answer).toMatch(/countersign-dropped: x-billing-key, x-billing_key\r\n/i)
    await gateway.close()
  })
})

describe('a charset that only some find', () => {
  it.each(["charset*=utf-8''utf-7", 'charset*0=utf-7', 'charset*0*=utf-7'])(
    'is not understood: %s',
    async (parameter) => {
      const type = `application/json; ${parameter}`
      expect(await send(post(type, '{}'), { isRead: true })).toMatchObject({ status: 415, code: 'unreadable' })
    },
  )
})
