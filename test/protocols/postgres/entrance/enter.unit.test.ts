import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import tls from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import type { Principal } from '../../../../src/domain/principal.ts'
import { type Refusal, refuse } from '../../../../src/domain/refusal.ts'
import { createCancels } from '../../../../src/protocols/postgres/entrance/cancel.ts'
import { type Entered, enter } from '../../../../src/protocols/postgres/entrance/enter.ts'
import { beginScram } from '../../../../src/protocols/postgres/scram/client.ts'
import { type Authentication, type Backend, decodeBackend } from '../../../../src/protocols/postgres/wire/backend.ts'
import { encodeMessage } from '../../../../src/protocols/postgres/wire/fields.ts'
import { encodeOpening } from '../../../../src/protocols/postgres/wire/opening.ts'
import { serverContext } from '../../../../src/transports/tcp/secure.ts'
import { connectPair } from '../../../transports/tcp/pair.ts'
import { selfSigned } from '../../../transports/tls.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

const own = selfSigned()
const alice: Principal = {
  issuer: 'https://idp.example.com',
  subject: 'agent',
  onBehalfOf: null,
  actors: [],
  owner: null,
  groups: [],
  client: null,
  expiresAt: 2e9,
}

const USER = 'cs_0123456789abcdefghjk'
const REFUSED = refuse('unauthenticated', 'Not executed. User name and password are not accepted.')

async function arrive({ hasTls = false, remoteAddress = '127.0.0.1', unavailable = null as Refusal | null } = {}) {
  const { near, far, close } = await connectPair()
  closing.push(close)
  Object.defineProperty(near, 'remoteAddress', { value: remoteAddress })
  const cancels = createCancels()
  const asked: string[] = []
  const malformed: string[] = []
  const settled: boolean[] = []
  const entered = enter(near, {
    tls: hasTls && own ? serverContext(own) : null,
    cancels,
    identify(credential) {
      if (credential.token === null) return Promise.resolve(refuse('unauthenticated', 'No token was presented.'))
      asked.push(`${credential.via} ${credential.token}`)
      const bad = refuse('unauthenticated', 'The token is expired.')
      return Promise.resolve(credential.token === 'good' ? alice : bad)
    },
    challenge(user, source) {
      asked.push(`${user} ${source}`)
      const settle = (isProven: boolean) => {
        settled.push(isProven)
        return isProven ? alice : REFUSED
      }
      return Promise.resolve(unavailable ?? { password: 'pencil', salt: Buffer.from('0123456789abcdef'), settle })
    },
    noteMalformed: (source) => malformed.push(source),
  })
  return { far, entered, cancels, asked, malformed, settled }
}

/** Everything that came until the other side closed. */
async function rest(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await once(socket, 'end')
  return Buffer.concat(chunks)
}

async function fault(socket: Socket): Promise<Record<string, string>> {
  const bytes = await rest(socket)
  const at = bytes.indexOf('E\0')
  const message = decodeBackend(bytes.subarray(at))
  return message.type === 'error' ? { ...message.report } : {}
}

async function answer(socket: Socket): Promise<Backend> {
  const [bytes] = await once(socket, 'data')
  return decodeBackend(bytes)
}

const startup = (minor = 0, more: Record<string, string> = {}) =>
  encodeOpening({
    type: 'startup',
    major: 3,
    minor,
    parameters: new Map(Object.entries({ user: 'app', database: 'shop', ...more })),
  })
const password = (token: string) => encodeMessage('p', [{ text: token }])
const cleartext: Backend = { type: 'authentication', asks: { method: 'cleartext' } }

function check(entered: Entered | null) {
  return entered && { user: entered.startup.user, principal: entered.principal.subject, minor: entered.minor }
}

describe('a client that shows who it is', () => {
  test('in plain on loopback', async () => {
    const { far, entered, asked } = await arrive()
    far.write(startup())
    expect(await answer(far)).toEqual(cleartext)
    far.write(password('good'))
    expect(check(await entered)).toEqual({ user: 'app', principal: 'agent', minor: 0 })
    expect(asked).toEqual(['password good'])
  })

  test('a byte at a time', async () => {
    const { far, entered } = await arrive()
    far.setNoDelay(true)
    for (const byte of startup()) far.write(Buffer.from([byte]))
    await answer(far)
    for (const byte of password('good')) far.write(Buffer.from([byte]))
    expect(check(await entered)).toEqual({ user: 'app', principal: 'agent', minor: 0 })
  })

  test('after both kinds of encryption were declined', async () => {
    const { far, entered } = await arrive()
    for (const type of ['gss_request', 'ssl_request'] as const) {
      far.write(encodeOpening({ type }))
      const [no] = await once(far, 'data')
      expect(String(no)).toBe('N')
    }
    far.write(startup())
    await answer(far)
    far.write(password('good'))
    expect(check(await entered)).toMatchObject({ user: 'app' })
  })

  test.runIf(own !== null)('over TLS that was asked for', async () => {
    const { far, entered } = await arrive({ hasTls: true, remoteAddress: '192.0.2.1' })
    far.write(encodeOpening({ type: 'ssl_request' }))
    const [yes] = await once(far, 'data')
    expect(String(yes)).toBe('S')
    const secure = tls.connect({ socket: far, ca: own?.cert, servername: 'localhost' })
    secure.write(startup(2))
    expect(await answer(secure)).toEqual(cleartext)
    secure.write(password('good'))
    expect(check(await entered)).toEqual({ user: 'app', principal: 'agent', minor: 2 })
  })

  test.runIf(own !== null)('over TLS from the first byte on', async () => {
    const { far, entered } = await arrive({ hasTls: true, remoteAddress: '192.0.2.1' })
    const secure = tls.connect({ socket: far, ca: own?.cert, servername: 'localhost', ALPNProtocols: ['postgresql'] })
    secure.write(startup())
    expect(await answer(secure)).toEqual(cleartext)
    secure.write(password('good'))
    expect(check(await entered)).toMatchObject({ user: 'app' })
  })

  test('of a newer version, with extensions nobody knows here', async () => {
    const { far, entered } = await arrive()
    far.write(startup(9999, { '_pq_.test': '' }))
    const [bytes] = await once(far, 'data')
    const length = bytes.readInt32BE(1) + 1
    expect(decodeBackend(bytes.subarray(0, length))).toEqual({
      type: 'negotiate_version',
      version: 196_610,
      unknown: ['_pq_.test'],
    })
    far.write(password('good'))
    expect(check(await entered)).toMatchObject({ minor: 2 })
  })
})

/** What the gateway asks for next. */
async function asks(socket: Socket): Promise<Authentication> {
  const message = await answer(socket)
  if (message.type !== 'authentication') throw new Error(`it says ${message.type}`)
  return message.asks
}

const initial = (mechanism: string, said: string) =>
  encodeMessage('p', [{ text: mechanism }, { value: Buffer.from(said) }])
const response = (said: string) => encodeMessage('p', [{ bytes: Buffer.from(said) }])

/** A client up to its proof, which is not sent yet. */
async function converse(socket: Socket, { knows = 'pencil', certificate = null as X509Certificate | null } = {}) {
  socket.write(startup(0, { user: USER }))
  const offer = await asks(socket)
  if (offer.method !== 'sasl') throw new Error(`it asks for ${offer.method}`)
  const client = beginScram({
    mechanisms: offer.mechanisms,
    password: knows,
    certificate,
    nonce: 'rOprNGfwEbeRWgbNEkqO',
  })
  if (!client) throw new Error('nothing in common')
  socket.write(initial(client.mechanism, client.first()))
  const challenge = await asks(socket)
  if (challenge.method !== 'sasl_continue') throw new Error(`it goes on with ${challenge.method}`)
  return { client, offer, proof: response(await client.answer(challenge.data.toString())) }
}

describe('a user that was minted', () => {
  test('proves that it knows the password, and is told that the gateway does', async () => {
    const { far, entered, asked, settled } = await arrive()
    const { client, offer, proof } = await converse(far)
    expect(offer).toEqual({ method: 'sasl', mechanisms: ['SCRAM-SHA-256'] })
    far.write(proof)
    const final = await asks(far)
    expect(() => client.verify(final.method === 'sasl_final' ? final.data.toString() : '')).not.toThrow()
    expect(check(await entered)).toEqual({ user: '', principal: 'agent', minor: 0 })
    expect([asked, settled]).toEqual([[`${USER} 127.0.0.1`], [true]])
  })

  test.runIf(own !== null)('does so bound to the certificate of the TLS connection', async () => {
    const { far, entered } = await arrive({ hasTls: true, remoteAddress: '192.0.2.1' })
    far.write(encodeOpening({ type: 'ssl_request' }))
    await once(far, 'data')
    const secure = tls.connect({ socket: far, ca: own?.cert, servername: 'localhost' })
    const { client, proof } = await converse(secure, { certificate: new X509Certificate(own?.cert ?? '') })
    expect(client.mechanism).toBe('SCRAM-SHA-256-PLUS')
    secure.write(proof)
    expect(check(await entered)).toMatchObject({ principal: 'agent' })
  })

  test('is refused with another password', async () => {
    const { far, entered, settled, malformed } = await arrive()
    const { proof } = await converse(far, { knows: 'pencils' })
    far.write(proof)
    expect(await fault(far)).toMatchObject({
      S: 'FATAL',
      C: '28P01',
      H: expect.stringContaining('/.countersign/credentials'),
    })
    expect(await entered).toBeNull()
    expect([settled, malformed]).toEqual([[false], []])
  })

  test('is not sent for another password where its agent is suspended', async () => {
    const { far, entered } = await arrive({
      unavailable: refuse('suspended', 'Not executed. This agent is suspended.'),
    })
    far.write(startup(0, { user: USER }))
    expect(await fault(far)).toEqual({
      ...{ S: 'FATAL', V: 'FATAL', C: '42501' },
      M: 'Not executed. This agent is suspended.',
    })
    expect(await entered).toBeNull()
  })

  test('is refused where its password cannot be looked up', async () => {
    const { far, entered } = await arrive({ unavailable: refuse('unavailable', 'Not executed. The store is away.') })
    far.write(startup(0, { user: USER }))
    expect(await fault(far)).toMatchObject({ S: 'FATAL', C: '58000' })
    expect(await entered).toBeNull()
  })

  test.each<[string, Buffer]>([
    ['a token in place of the conversation', password('good')],
    ['no first message', encodeMessage('p', [{ text: 'SCRAM-SHA-256' }, { value: null }])],
    ['a mechanism that was not offered', initial('SCRAM-SHA-1', 'n,,n=,r=abc')],
    [
      'bytes behind the first message',
      encodeMessage('p', [{ text: 'SCRAM-SHA-256' }, { value: Buffer.from('n,,n=,r=a') }, { int8: 0 }]),
    ],
    ['a first message that is too long', initial('SCRAM-SHA-256', `n,,n=,r=${'a'.repeat(2000)}`)],
    ['a query', encodeMessage('Q', [{ text: 'SELECT 1' }])],
  ])('is refused with %s', async (_name, bytes) => {
    const { far, entered, settled, malformed } = await arrive()
    far.write(startup(0, { user: USER }))
    await answer(far)
    far.write(bytes)
    expect(await fault(far)).toMatchObject({ S: 'FATAL', C: '08P01' })
    expect(await entered).toBeNull()
    expect([settled, malformed]).toEqual([[], ['127.0.0.1']])
  })

  test('is refused with the proof of an earlier conversation', async () => {
    const before = await arrive()
    const { proof } = await converse(before.far)
    const { far, entered, settled } = await arrive()
    await converse(far)
    far.write(proof)
    expect(await fault(far)).toMatchObject({ S: 'FATAL', C: '08P01' })
    expect(await entered).toBeNull()
    expect(settled).toEqual([])
  })

  test.each([1, 2])('that leaves before message %i is nobody', async (messages) => {
    const { far, entered, settled } = await arrive()
    if (messages === 1) {
      far.write(startup(0, { user: USER }))
      await answer(far)
    } else await converse(far)
    far.end()
    expect(await entered).toBeNull()
    expect(settled).toEqual([])
  })

  test.each(['cs_app', 'cs_0123456789abcdefghj', `${USER}0`, USER.toUpperCase(), 'cs_0123456789abcdefghil'])(
    'is not %s, which shows a token',
    async (user) => {
      const { far } = await arrive()
      far.write(startup(0, { user }))
      expect(await answer(far)).toEqual(cleartext)
    },
  )
})

describe('a client that is refused', () => {
  test.each<[string, string, string]>([
    ['a token that is not accepted', 'bad', '28P01'],
    ['no token', '', '28P01'],
  ])('%s', async (_name, token, code) => {
    const { far, entered } = await arrive()
    far.write(startup())
    await answer(far)
    far.write(password(token))
    expect(await fault(far)).toMatchObject({ S: 'FATAL', C: code })
    expect(await entered).toBeNull()
  })

  test('off loopback without TLS, before it could send its token', async () => {
    const { far, entered, asked } = await arrive({ remoteAddress: '192.0.2.1' })
    far.write(startup())
    expect(await fault(far)).toMatchObject({ C: '28000', H: expect.stringContaining('sslmode=verify-full') })
    expect(await entered).toBeNull()
    expect(asked).toEqual([])
  })

  test.runIf(own !== null)('bytes in plain behind the request for TLS', async () => {
    const { far, entered, malformed } = await arrive({ hasTls: true })
    far.write(Buffer.concat([encodeOpening({ type: 'ssl_request' }), startup()]))
    expect(await fault(far)).toMatchObject({ C: '08P01' })
    expect(await entered).toBeNull()
    expect(malformed).toEqual(['127.0.0.1'])
  })

  test.runIf(own !== null)('TLS from the first byte on without its protocol', async () => {
    const { far, entered } = await arrive({ hasTls: true })
    const secure = tls.connect({ socket: far, ca: own?.cert, servername: 'localhost' })
    secure.on('error', () => {})
    expect(await entered).toBeNull()
  })

  const twice = Buffer.concat([encodeOpening({ type: 'gss_request' })])
  test('encryption asked for twice', async () => {
    const { far, entered } = await arrive()
    far.write(twice)
    await once(far, 'data')
    far.write(twice)
    expect(await fault(far)).toMatchObject({ C: '08P01' })
    expect(await entered).toBeNull()
  })

  test.each<[string, Buffer, string]>([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), '08P01'],
    ['TLS where there is no certificate', Buffer.from([0x16, 3, 1, 2, 0, 1]), '08P01'],
    ['a version of long ago', encodeOpening({ type: 'startup', major: 2, minor: 0, parameters: new Map() }), '0A000'],
    ['a setting that is not passed', startup(0, { search_path: 'x' }), '0A000'],
    ['replication', startup(0, { replication: 'true' }), '0A000'],
  ])('%s', async (_name, bytes, code) => {
    const { far, entered } = await arrive()
    far.write(bytes)
    expect(await fault(far)).toMatchObject({ S: 'FATAL', C: code })
    expect(await entered).toBeNull()
  })

  test('a query in place of the password', async () => {
    const { far, entered } = await arrive()
    far.write(Buffer.concat([startup(), encodeMessage('Q', [{ text: 'SELECT 1' }])]))
    expect(await fault(far)).toMatchObject({ C: '08P01' })
    expect(await entered).toBeNull()
  })

  test('one that leaves', async () => {
    const { far, entered } = await arrive()
    far.write(startup().subarray(0, 6))
    far.end()
    expect(await entered).toBeNull()
  })
})

describe('a request to cancel', () => {
  const request = async (change: (key: { processId: number; secret: Buffer }) => void) => {
    const { far, entered, cancels } = await arrive()
    let wasCancelled = false
    const { key } = cancels.mint({ secretBytes: 32, cancel: () => (wasCancelled = true) })
    const sent = { processId: key.processId, secret: Buffer.from(key.secret) }
    change(sent)
    far.write(encodeOpening({ type: 'cancel', ...sent }))
    expect(await rest(far)).toHaveLength(0)
    expect(await entered).toBeNull()
    return wasCancelled
  }
  test('reaches the session whose key it has', async () => {
    expect(await request(() => {})).toBe(true)
  })
  test.each<[string, (key: { processId: number; secret: Buffer }) => void]>([
    ['another secret', (key) => key.secret.writeUInt8((key.secret[31] ?? 0) ^ 1, 31)],
    ['a part of the secret', (key) => (key.secret = key.secret.subarray(0, 4))],
    ['another session', (key) => (key.processId ^= 1)],
  ])('does nothing with %s, and says nothing', async (_name, change) => {
    expect(await request(change)).toBe(false)
  })
})
