import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { describeRequest } from '../../../src/protocols/http/describe.ts'
import { digestOf, matchKeyOf } from '../../../src/protocols/http/digest.ts'
import { headerRules, isHeaderPattern, sortHeaders } from '../../../src/protocols/http/headers.ts'
import { type RequestModel, restoreModel, storeModel } from '../../../src/protocols/http/model.ts'
import { httpOptions } from '../../../src/protocols/http/options.ts'
import { presentRequest } from '../../../src/protocols/http/present.ts'
import { AGENT } from './gateway.ts'

const MODEL: RequestModel = {
  method: 'POST',
  path: '/refunds/',
  decodedPath: '/refunds/',
  query: 'a=1',
  headers: ['content-type', 'application/json', 'idempotency-key', 'k1'],
  contentType: 'application/json; charset=utf-8',
  contentEncoding: null,
  contentLength: 12,
  upgrade: null,
}
const BODY = Buffer.from('{"amount":1}')
const BINDING = { principal: AGENT, upstream: 'billing', target: 'https://up.test/v1', credential: Buffer.from('ref') }

describe('describeRequest', () => {
  it('names method and path, with the facts of the head', () => {
    expect(describeRequest(MODEL, { name: 'billing', host: 'up.test' })).toEqual({
      upstream: 'billing',
      protocol: 'http',
      verb: 'POST',
      resource: '/refunds',
      facts: {
        method: 'POST',
        path: '/refunds/',
        query: { a: ['1'] },
        host: 'up.test',
        content_type: 'application/json',
        content_length: 12,
        upgrade: '',
      },
    })
  })

  it('does not tell the length of a body that comes in chunks', () => {
    const action = describeRequest({ ...MODEL, contentLength: null }, { name: 'b', host: 'h' })
    expect(action?.facts).not.toHaveProperty('content_length')
  })

  it('tells an upgrade from a GET', () => {
    const action = describeRequest({ ...MODEL, method: 'GET', upgrade: 'WebSocket' }, { name: 'b', host: 'h' })
    expect(action).toMatchObject({ verb: 'UPGRADE', facts: { method: 'GET', upgrade: 'websocket' } })
  })

  it('shows every value of a parameter, whatever its name', () => {
    const action = describeRequest({ ...MODEL, query: 'id=1&id=2&__proto__=x' }, { name: 'b', host: 'h' })
    const query = action?.facts['query']
    expect(Object.entries(query ?? {})).toEqual([
      ['id', ['1', '2']],
      ['__proto__', ['x']],
    ])
  })

  it('is nothing for a query that is not UTF-8', () => {
    expect(describeRequest({ ...MODEL, query: 'a=%FF' }, { name: 'b', host: 'h' })).toBeNull()
  })
})

describe('the digest', () => {
  const digest = (model: Partial<RequestModel> = {}, body = BODY, binding = {}) =>
    digestOf({ ...MODEL, ...model }, body, { ...BINDING, ...binding }).toString('hex')

  it('is the same for the same call', () => {
    expect(digest()).toBe(digest())
  })

  it.each([
    ['method', { method: 'PUT' }],
    ['path', { path: '/refunds' }],
    ['query', { query: 'a=2' }],
    ['header', { headers: ['content-type', 'application/json', 'idempotency-key', 'k2'] }],
    ['header order', { headers: ['idempotency-key', 'k1', 'content-type', 'application/json'] }],
    ['upgrade', { upgrade: 'websocket' }],
  ])('changes with the %s', (_what, model) => {
    expect(digest(model)).not.toBe(digest())
  })

  it('changes with the body, the upstream, its target, its credential and the principal', () => {
    const others = [
      digest({}, Buffer.from('{"amount":2}')),
      digest({}, BODY, { upstream: 'other' }),
      digest({}, BODY, { target: 'https://up.test/v2' }),
      digest({}, BODY, { credential: Buffer.from('other') }),
      digest({}, BODY, { principal: { ...AGENT, onBehalfOf: { issuer: 'https://idp.test', subject: 'bob' } } }),
    ]
    expect(new Set([digest(), ...others]).size).toBe(6)
  })

  it('does not let one part run into the next', () => {
    expect(digest({ path: '/a', query: 'b' })).not.toBe(digest({ path: '/ab', query: '' }))
    expect(digest({ headers: ['a', 'b', 'c', 'd'] }, Buffer.alloc(0))).not.toBe(
      digest({ headers: ['a', 'b'] }, Buffer.from('cd')),
    )
  })
})

describe('the match key', () => {
  const key = (model: Partial<RequestModel> = {}, body = BODY) =>
    matchKeyOf({ ...MODEL, ...model }, body, BINDING).toString('hex')

  it('forgets what a client makes anew for every attempt', () => {
    const headers = [
      'content-type',
      'application/json',
      'idempotency-key',
      'k2',
      'user-agent',
      'x',
      'x-sdk-retry-count',
    ]
    expect(key({ headers: [...headers, '1', 'x-acme-request-id', '7', 'x-amz-date', 'now'] })).toBe(key())
  })

  it('forgets the boundary of a form with parts', () => {
    const form = (boundary: string, value: string) => {
      const type = `multipart/form-data; boundary=${boundary}`
      const body = Buffer.from(`--${boundary}\r\n\r\n${value}\r\n--${boundary}--`)
      return key({ contentType: type, headers: ['content-type', type] }, body)
    }
    expect(form('aaa', '1')).toBe(form('bbb', '1'))
    expect(form('aaa', '1')).not.toBe(form('aaa', '2'))
  })

  it('tells a form with two parts from one whose text looks like two', () => {
    const keyOf = (type: string, text: string) =>
      key({ contentType: type, headers: ['content-type', type] }, Buffer.from(text))
    const field = (name: string, value: string) => `Content-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
    const note = `--aaa\r\n${field('note', 'as agreed')}--\r\n${field('amount', '9999')}--aaa--`
    const amount = `--bbb\r\n${field('note', 'as agreed')}--bbb\r\n${field('amount', '9999')}--bbb--`
    const [aaa, bbb] = ['multipart/form-data; boundary=aaa', 'multipart/form-data; boundary=bbb']
    expect(keyOf(aaa, note)).not.toBe(keyOf(bbb, amount))
    // What else the type says, and what servers may read in two ways, is not passed over.
    expect(keyOf(`${aaa}; charset=utf-16`, note)).not.toBe(keyOf(aaa, note))
    expect(keyOf(`${aaa}; boundary=bbb`, note)).not.toBe(keyOf(`${bbb}; boundary=aaa`, note))
  })

  it('keeps everything else', () => {
    expect(key({ query: 'a=2' })).not.toBe(key())
    expect(key({}, Buffer.from('{"amount":2}'))).not.toBe(key())
    expect(key({ headers: ['content-type', 'text/plain'] })).not.toBe(key())
  })
})

describe('a stored call', () => {
  it('is the same when it comes back', () => {
    const restored = restoreModel({ head: JSON.parse(JSON.stringify(storeModel(MODEL))), body: BODY })
    expect(restored).toEqual(MODEL)
  })

  it('of another version is not guessed at', () => {
    expect(restoreModel({ head: { ...storeModel(MODEL), version: 2 }, body: BODY })).toBeNull()
    expect(restoreModel({ head: { ...storeModel(MODEL), headers: [1] }, body: BODY })).toBeNull()
    expect(restoreModel({ head: {}, body: BODY })).toBeNull()
  })
})

describe('sortHeaders', () => {
  it('keeps what never passes from passing, whatever is allowed', () => {
    const rules = headerRules([
      'X-Forwarded-*',
      'Cookie',
      'X-Remote-*',
      'Impersonate-User',
      'Authorization',
      'X-Original-URL',
    ])
    const names = ['X-Forwarded-For', 'Cookie', 'X-Remote-User', 'Impersonate-User', 'Authorization', 'X-Original-URL']
    const fields = sortHeaders(
      names.flatMap((name) => [name, 'x']),
      rules,
      false,
    )
    expect(fields).toMatchObject({ passed: [] })
  })

  it('lets the handshake of a WebSocket pass in upgrades only, without tokens', () => {
    const raw = ['Sec-WebSocket-Key', 'k', 'Sec-WebSocket-Protocol', 'chat, base64url.bearer.authorization.k8s.io.abc']
    expect(sortHeaders(raw, headerRules([]), true)).toMatchObject({
      passed: ['sec-websocket-key', 'k', 'sec-websocket-protocol', 'chat'],
      dropped: ['sec-websocket-protocol'],
    })
    expect(sortHeaders(raw, headerRules([]), false)).toMatchObject({ passed: [] })
  })

  it('tells no more than 32 dropped names', () => {
    const raw = Array.from({ length: 100 }, (_, index) => [`X-${index}`, '1']).flat()
    const fields = sortHeaders(raw, headerRules([]), false)
    expect('dropped' in fields && fields.dropped).toHaveLength(32)
  })

  it.each([
    ['X-Billing-*', true],
    ['X-Billing-Mode', true],
    ['*', false],
    ['X*', false],
    ['X-*-Y', false],
    ['X Billing', false],
    ['', false],
  ])('%s as a pattern: %s', (pattern, isOne) => expect(isHeaderPattern(pattern)).toBe(isOne))

  it('passes no reply to a reviewer on, so that it is part of no match key and no digest', () => {
    const sorted = sortHeaders(
      ['Countersign-Reply', '4TQ8W2ZK7N x', 'Accept', '*/*'],
      headerRules(['Countersign-*']),
      false,
    )
    expect(sorted).toMatchObject({ passed: ['accept', '*/*'], dropped: [] })
  })
})

describe('presentRequest', () => {
  const PLAIN = { path: '/refunds', decodedPath: '/refunds', query: '' }
  const present = (body: string, model: Partial<RequestModel> = {}, shown: string[] = []) =>
    presentRequest({ ...MODEL, ...PLAIN, ...model }, Buffer.from(body), new Set(shown))

  it('shows JSON to be read', () => {
    expect(present('{"amount":1}')).toEqual({
      mediaType: 'application/json',
      bytes: 12,
      text: '{\n  "amount": 1\n}',
      isCut: false,
      redacted: [],
    })
  })

  it('shows numbers as they are written, and keys in their order', () => {
    const body = '{"n":-0,"e":1e2 ,"f":1.50, "b":{"2":true,"1":null},"list":[ 1.0,[],{} ],"s":"\\u0041\\n"}'
    const shown =
      '{ "n": -0, "e": 1e2, "f": 1.50, "b": { "2": true, "1": null }, "list": [ 1.0, [], {} ], "s": "A\\n" }'
    expect(present(body).text?.replace(/\s+/g, ' ')).toBe(shown)
    expect(present(' -0 ').text).toBe('-0')
  })

  it('shows JSON like any pretty-printer where it is written plainly', () => {
    const value = fc.jsonValue({ maxDepth: 4 }).filter((each) => !/-0|[eE][+-]|"[0-9]+"/.test(JSON.stringify(each)))
    fc.assert(
      fc.property(value, fc.constantFrom(0, 1, '\t'), (each, space) => {
        const plain = JSON.stringify(each)
        fc.pre(plain.length < 2000 && !/"[^"]*(?:token|pass|secret|pin|otp|key)[^"]*":/i.test(plain))
        const { text, redacted } = present(JSON.stringify(each, null, space))
        if (redacted.length === 0 && text !== null && !text.includes('⟨'))
          expect(text).toBe(JSON.stringify(each, null, 2))
      }),
    )
  })

  it('shows nothing of what a secret name holds, and all that comes after it', () => {
    const body =
      '{"password":{"a":["}",{"b":"]"}],"c":1},"pin":12.5,"secret":null,"api_key":"x\\"y","z":[1,{"token":"t"},3]}'
    const payload = present(body)
    expect(JSON.parse(payload.text ?? '')).toEqual({
      ...{ password: '[redacted]', pin: '[redacted]', secret: null, api_key: '[redacted]' },
      z: [1, { token: '[redacted]' }, 3],
    })
    expect(payload.redacted).toEqual(['/password', '/pin', '/api_key', '/z/1/token'])
  })

  it('replaces secrets, by name and by look, and says where', () => {
    const body = JSON.stringify({
      user: { password: 'hunter2', 'a/b~token': 1 },
      list: ['eyJhbGciOiJub25lIn0.eyJhIjoxfQ.abc', 'plain'],
      note: 'use Bearer abcdefgh12345678 and AKIAABCDEFGHIJKLMNOP',
      pem: '-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----',
      api_key: 'x',
      passwordless: true,
    })
    const payload = present(body)
    for (const secret of ['hunter2', 'eyJ', 'abcdefgh1234', 'AKIA', 'BEGIN']) expect(payload.text).not.toContain(secret)
    expect(payload.redacted).toEqual(['/user/password', '/list/0', '/note', '/pem', '/api_key'])
    expect(payload.isCut).toBe(true)
    expect(payload.text).toContain('plain')
  })

  it('shows the query and the headers that change what a call does', () => {
    const model = { query: 'to=b%20c&api_key=x', headers: ['x-mode', 'fast', 'accept', '*/*', 'user-agent', 'a'] }
    const payload = present('', model, ['x-mode'])
    expect(payload.text).toBe('query "to": "b c"\nquery "api_key": "[redacted]"\nheader x-mode: fast')
    expect(payload.redacted).toEqual(['/query/api_key'])
  })

  it('shows what an upgrade is to, and what it asks of it', () => {
    const headers = [
      'sec-websocket-protocol',
      'admin.v1',
      'sec-websocket-extensions',
      'x-exec',
      'sec-websocket-key',
      'k',
    ]
    const { text } = present('', { upgrade: 'SPDY/3.1', headers, contentType: null, method: 'GET' })
    expect(text).toBe(
      'upgrade SPDY/3.1\nheader sec-websocket-protocol: admin.v1\nheader sec-websocket-extensions: x-exec',
    )
  })

  it('shows the path that is sent where it is not the resource', () => {
    const shown = (path: string) => present('', { path, decodedPath: decodeURIComponent(path), headers: [] }).text
    expect(shown('/held/a/')).toBe('path /held/a/')
    expect(shown('/a%3Fb')).toBe('path /a%3Fb')
    expect(shown('/a')).toBe('')
    expect(shown('/')).toBe('')
  })

  it('makes visible what turns or hides its surroundings', () => {
    expect(present('a\u202eb\u200bc\u0007\r\n\td', { contentType: 'text/plain' }).text).toBe(
      'body:\na⟨U+202E⟩b⟨U+200B⟩c⟨U+0007⟩⟨U+000D⟩\n\td',
    )
  })

  it('marks what is cut, and what is not text', () => {
    const long = present('x'.repeat(30_000), { contentType: 'text/plain' })
    expect(long.isCut).toBe(true)
    expect(long.text).toMatch(/\[cut: there is more than is shown here\]$/)
    expect(present('\x89PNG', { contentType: 'image/png' })).toMatchObject({ text: null, isCut: true, bytes: 5 })
  })
})

describe('httpOptions', () => {
  const parse = (more: object) =>
    httpOptions.safeParse({ name: 'billing', protocol: 'http', url: 'https://up.test', ...more })

  it('fills in what is left out', () => {
    const { data } = parse({ wait: '20s' })
    expect(data).toMatchObject({
      mode: 'enforce',
      wait: 20_000,
      timeouts: { connect: 5000, response: 300_000, idle: 300_000, upgraded: 28_800_000 },
      max_body: 1_048_576,
      assertion: true,
      headers: { allow: [] },
      labels: {},
    })
  })

  it.each([
    ['a user in the URL', { url: 'https://a:b@up.test' }],
    ['a query in the URL', { url: 'https://up.test/?a=b' }],
    ['an empty query in the URL', { url: 'https://up.test/?' }],
    ['a fragment in the URL', { url: 'https://up.test/#a' }],
    ['a path that climbs', { url: 'https://up.test/a/../b' }],
    ['another scheme', { url: 'ftp://up.test' }],
    ['a name with a slash', { name: 'a/b' }],
    ['a name in capitals', { name: 'Billing' }],
    ['a name that begins with a dot', { name: '.countersign' }],
    ['an unknown key', { colour: 'red' }],
    ['a bad duration', { wait: '20' }],
    ['a body of a gigabyte', { max_body: '1GiB' }],
    ['a host with a port', { host: 'a.test:80' }],
    ['a header pattern that allows all', { headers: { allow: ['*'] } }],
    ['two credentials', { credential: { bearer: 'a', basic: { user: 'u', password: 'p' } } }],
    ['a credential with a line break', { credential: { bearer: 'a\r\nx: y' } }],
    ['a credential as Host', { credential: { header: { name: 'Host', value: 'x' } } }],
  ])('refuses %s', (_what, more) => {
    expect(parse(more).success).toBe(false)
  })
})
