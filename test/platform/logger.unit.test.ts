import fc from 'fast-check'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { createLogger } from '../../src/platform/logger.ts'

const SECRET = 'S3cr3t-Hunter2-zZ9'
const JWT = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZ2VudCJ9.c2lnbmF0dXJlLW9mLWl0'

function capture(level = 'trace') {
  const lines: string[] = []
  const log = createLogger({ level, destination: { write: (line: string) => void lines.push(line) } })
  return { log, text: () => lines.join(''), lines }
}

function failWith(fields: object, message = 'it failed'): Error {
  return Object.assign(new Error(message), fields)
}

/** Every way we can think of to get a secret into a line. */
const ATTEMPTS: Readonly<Record<string, unknown>> = {
  'a header': { authorization: SECRET },
  'a header in capitals': { AUTHORIZATION: SECRET },
  'headers of a request': { headers: { authorization: `Bearer ${SECRET}`, cookie: `session=${SECRET}` } },
  'deep headers': { a: { b: { c: { d: { headers: { 'x-api-key': SECRET, 'Set-Cookie': [`a=${SECRET}`] } } } } } },
  'deeper than is looked': {
    a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { a: { x: SECRET } } } } } } } } } } } },
  },
  rawHeaders: {
    rawHeaders: ['Host', 'a', 'Authorization', SECRET, 'X-Api-Key', SECRET, 'Proxy-Authorization', SECRET],
  },
  'pairs of headers': {
    headers: [
      ['Authorization', SECRET],
      ['host', 'a'],
      ['Cookie', SECRET],
    ],
  },
  'named headers': {
    headers: [
      { name: 'Authorization', value: SECRET },
      { key: 'x-amz-security-token', value: SECRET },
    ],
  },
  'a Headers object': { headers: new Headers({ authorization: SECRET, 'x-api-key': SECRET }) },
  'a Map': { headers: new Map([['authorization', SECRET]]) },
  'a nested Map': { call: { headers: new Map([['cookie', SECRET]]) } },
  'a Set': { seen: new Set([`Bearer ${SECRET}`]) },
  'a URL object': { url: new URL(`https://user:${SECRET}@example.com/`) },
  'a URL with a user only': { url: `https://${SECRET}@example.com/` },
  'a connection string': { url: `postgres://gateway:${SECRET}@db.example.com:5432/countersign` },
  'a password with an at sign': { url: `postgres://gateway:a@${SECRET}@db/countersign` },
  'a password with a slash': { url: `postgres://gateway:a/${SECRET}@db/countersign` },
  'a keyword connection string': { dsn2: `host=db user=gateway password=${SECRET} dbname=x` },
  'a quoted keyword connection string': { text: `host=db password='${SECRET} with spaces'` },
  'a query string': { url: `/x?access_token=${SECRET}&b=1` },
  'a Slack token': { found: 'xoxb-1234567890-abcdefghij' },
  'a JWT': { found: `prefix ${JWT} suffix` },
  'a JWT as a property name': { seen: { [JWT]: 1 } },
  'a GitHub token': { found: 'ghp_abcdefghijklmnopqrstuvwxyz0123' },
  'a private key': { found: `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----` },
  'a cut private key': { found: `-----BEGIN EC PRIVATE KEY-----\n${SECRET}` },
  'a private JWK': { jwk: { kty: 'oct', k: SECRET }, other: { kty: 'EC', d: SECRET } },
  'bytes of a token': { sent: Buffer.from(SECRET) },
  'bytes in an object': { call: { sent: new Uint8Array(Buffer.from(SECRET)) } },
  'raw headers as bytes': { rawHeaders: [Buffer.from('authorization'), Buffer.from(SECRET)] },
  'JSON within a string': { body: JSON.stringify({ password: SECRET, nested: { client_secret: SECRET } }) },
  'JSON within JSON within a string': { body: JSON.stringify(JSON.stringify({ password: SECRET })) },
  'header text': { head: `GET / HTTP/1.1\r\nAuthorization: Custom ${SECRET}\r\nCookie: a=${SECRET}; b=${SECRET}\r\n` },
  'names in any spelling': {
    botToken: SECRET,
    app_token: SECRET,
    clientSecret: SECRET,
    PGPASSWORD: SECRET,
    'api-key': SECRET,
  },
  'a configured credential': { credential: { bearer: SECRET }, basic: { user: 'a', password: SECRET } },
  'keys of the gateway': { keys: { mac: { kid: 'a', current: SECRET } } },
  'an error': new Error(`cannot connect to postgres://u:${SECRET}@db/x`),
  'an error with a header': failWith({ headers: { authorization: SECRET } }),
  'an error with a request': { err: failWith({ request: { body: SECRET }, config: { auth: SECRET } }) },
  'an error within': { failure: { inner: failWith({ detail: `Key (subject)=(${SECRET})` }) } },
  'a cause': { err: new Error('outer', { cause: failWith({ token: SECRET }, `Bearer ${SECRET}`) }) },
  'an aggregate': { err: new AggregateError([failWith({ password: SECRET }, `Bearer ${SECRET}`)]) },
}

describe('createLogger', () => {
  for (const [name, fields] of Object.entries(ATTEMPTS)) {
    it(`does not write a secret given as ${name}`, () => {
      const { log, text } = capture()
      log.info(fields)
      log.child({ bound: fields }).warn('bound to a child')
      if (!(fields instanceof Error))
        log
          .child(fields as object)
          .child({ more: fields })
          .error('bound itself')
      expect(text()).not.toContain(SECRET)
      expect(text()).not.toContain(JWT)
      expect(text()).not.toMatch(/xoxb-1|ghp_a/)
      expect(text()).not.toContain(Buffer.from(SECRET).join(','))
    })
  }

  it('does not write secrets that are formatted into a message', () => {
    const { log, text } = capture()
    log.info(`called with Bearer ${SECRET}`)
    log.info('called with %s %s', 'Bearer', SECRET)
    log.info('headers %o', { authorization: SECRET, 'x-api-key': SECRET })
    log.info('headers %j', { Cookie: SECRET })
    log.info({ authorization: SECRET }, 'Basic %s', SECRET)
    expect(text()).not.toContain(SECRET)
  })

  it('does not write what serializers of a child make of an object', () => {
    const { log, text } = capture()
    const child = log.child({}, { serializers: { req: () => ({ headers: { authorization: SECRET } }) } })
    child.info({ req: {} })
    expect(text()).toContain('"req"')
    expect(text()).not.toContain(SECRET)
  })

  it('does not write the values that an error of Postgres quotes', () => {
    const { log, text } = capture()
    const error = new pg.DatabaseError(`invalid input syntax for type uuid: "${SECRET}"`, 1, 'error')
    Object.assign(error, {
      severity: 'ERROR',
      code: '22P02',
      detail: SECRET,
      where: `$1 = '${SECRET}'`,
      internalQuery: SECRET,
    })
    log.error(error)
    log.error({ err: error })
    log.error({ err: new Error('outer', { cause: error }) }, 'it failed')
    expect(text()).toContain('22P02')
    expect(text()).not.toContain(SECRET)
  })

  it('never writes a named secret, wherever it stands and whatever it is', () => {
    const names = fc.constantFrom('authorization', 'Cookie', 'x-api-key', 'password', 'client_secret', 'refreshToken')
    const secrets = fc.stringMatching(/^[\w!#$%&()*+,./:;<=>?@[\]^{|}~-]{12,40}$/).map((text) => `Zq${text}`)
    const places = fc.array(fc.constantFrom('object', 'list', 'raw', 'json', 'child'), { maxLength: 4 })
    fc.assert(
      fc.property(names, secrets, places, (name, secret, path) => {
        const { log, text } = capture()
        let fields: unknown = { [name]: secret }
        for (const place of path) {
          if (place === 'object') fields = { inner: fields }
          if (place === 'list') fields = [fields]
          if (place === 'raw') fields = ['host', 'a', name, secret, fields]
        }
        if (path.includes('child')) log.child({ fields }).info('x')
        else log.info({ fields })
        expect(text()).not.toContain(JSON.stringify(secret).slice(1, -1))
      }),
      { numRuns: 200 },
    )
  })

  it('keeps what is no secret', () => {
    const { log, lines } = capture()
    log.info({ upstream: 'billing', tokensRefused: 3, dropped: ['cookie', 'authorization'], status: 200 }, 'call ended')
    log.info('basic authentication was refused, the token expired, at http://127.0.0.1:8080/users/a@b.example')
    const [first, second] = lines.map((line) => JSON.parse(line))
    expect(first).toMatchObject({
      level: 'info',
      upstream: 'billing',
      tokensRefused: 3,
      status: 200,
      msg: 'call ended',
    })
    expect(first.dropped).toEqual(['cookie', 'authorization'])
    expect(second.msg).toBe(
      'basic authentication was refused, the token expired, at http://127.0.0.1:8080/users/a@b.example',
    )
  })

  it('writes an error with its code, its stack and its causes', () => {
    const { log, lines } = capture()
    log.error(
      { err: new Error('outer', { cause: failWith({ code: '42P01', table: 'approval' }, 'inner') }) },
      'it failed',
    )
    const { err } = JSON.parse(lines[0] ?? '')
    expect(err).toMatchObject({
      type: 'Error',
      message: 'outer',
      cause: { code: '42P01', table: 'approval', message: 'inner' },
    })
    expect(err.stack).toContain('logger.unit.test.ts')
  })

  it('writes a fault of the network without stacks', () => {
    const { log, lines } = capture()
    const refused = failWith({ code: 'ECONNREFUSED', port: 5432 }, `connect ECONNREFUSED, Bearer ${SECRET}`)
    log.warn({ err: new Error('outer', { cause: refused }) }, 'it failed')
    const { err, msg } = JSON.parse(lines[0] ?? '')
    expect(msg).toBe('it failed')
    expect(err).toEqual({
      type: 'Error',
      message: 'outer',
      causes: [{ message: 'connect ECONNREFUSED, Bearer [redacted]', code: 'ECONNREFUSED', port: 5432 }],
    })
  })

  it('writes one line for what holds itself, and cuts long text', () => {
    const { log, lines } = capture()
    const loop: Record<string, unknown> = { name: 'loop' }
    loop['self'] = loop
    log.info({ loop, long: 'x'.repeat(100_000) })
    expect(lines).toHaveLength(1)
    expect(lines[0]?.length).toBeLessThan(10_000)
    expect(lines[0]?.endsWith('\n')).toBe(true)
  })
})
