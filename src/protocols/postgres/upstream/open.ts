import { randomBytes, X509Certificate } from 'node:crypto'
import net, { type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { GatewayError } from '../../../domain/error.ts'
import type { Framing } from '../../../transports/tcp/frames.ts'
import { createLink, type Link } from '../../../transports/tcp/link.ts'
import { secureClient } from '../../../transports/tcp/secure.ts'
import { beginScram, type ScramClient } from '../scram/client.ts'
import { ScramFault } from '../scram/messages.ts'
import { type Authentication, type Backend, decodeBackend, encodeBackend, type Report } from '../wire/backend.ts'
import { encodeMessage, Malformed } from '../wire/fields.ts'
import { upstreamFraming } from '../wire/framing.ts'
import { type CancelKey, encodeOpening } from '../wire/opening.ts'

/** A server, and how it is connected to. */
export interface Target {
  readonly host: string
  readonly port: number
  /** Null: in plain. Only a configuration can say so. */
  readonly tls: { readonly ca: string | null } | null
  /** For everything until the session is ready, in milliseconds. */
  readonly connectTimeoutMs: number
}

export interface Login {
  readonly user: string
  readonly password: string
  readonly database: string
  readonly settings: ReadonlyMap<string, string>
}

/** A session upstream that is ready for its first statement. */
export interface UpstreamSession {
  readonly link: Link
  /** The role that the gateway is logged in as. */
  readonly user: string
  /** Settings as the server reported them. */
  readonly parameters: ReadonlyMap<string, string>
  readonly key: CancelKey | null
  /** What the server had to say meanwhile, to be passed on. */
  readonly notices: readonly Buffer[]
}

/** The upstream said no: what it said may be told to whom it concerns, but for who the gateway is to it. */
export class UpstreamRefused extends GatewayError {
  readonly report: Report

  constructor(report: Report) {
    super(
      'upstream',
      `the upstream refused the session: ${report['M'] ?? 'it does not say why'} (${report['C'] ?? 'no code'})`,
    )
    this.report = report
  }
}

/**
 * Begins a session: TLS first, then the gateway's own credential.
 *
 * @throws UpstreamRefused if the server says no
 * @throws GatewayError `upstream` if it cannot be reached, is not the one it should be, or does not speak the protocol
 */
export async function openUpstream(target: Target, login: Login, signal: AbortSignal): Promise<UpstreamSession> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(target.connectTimeoutMs)])
  const socket = await reach(target, deadline)
  const stop = () => socket.destroy()
  deadline.addEventListener('abort', stop, { once: true })
  try {
    return await begin(socket, login)
  } catch (error) {
    socket.destroy()
    if (error instanceof UpstreamRefused) throw error
    const why = deadline.aborted && !signal.aborted ? 'did not answer in time' : explain(error)
    throw new GatewayError('upstream', `the upstream ${why}`, { cause: error })
  } finally {
    deadline.removeEventListener('abort', stop)
  }
}

function explain(error: unknown): string {
  return error instanceof Malformed || error instanceof ScramFault || error instanceof Unacceptable
    ? `was not accepted: ${error.message}`
    : 'broke off'
}

/** Something the protocol allows and the gateway does not. */
class Unacceptable extends Error {
  override readonly name = 'Unacceptable'
}

/** Ends what a session does at the moment, over a connection of its own. The server answers nothing. */
export async function cancelUpstream(target: Target, key: CancelKey): Promise<void> {
  const socket = await reach(target, AbortSignal.timeout(target.connectTimeoutMs))
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => socket.destroy(), target.connectTimeoutMs)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    // The server closes once it has acted on it.
    socket.once('end', () => socket.destroy())
    socket.on('error', () => {}).resume()
    socket.write(encodeOpening({ type: 'cancel', ...key }))
  })
}

/** A connection, with TLS on it where the target has it. */
async function reach(target: Target, signal: AbortSignal): Promise<Socket | TLSSocket> {
  const socket = net.connect({
    host: target.host,
    port: target.port,
    keepAlive: true,
    noDelay: true,
    allowHalfOpen: true,
  })
  const stop = () => socket.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    if (signal.aborted) stop()
    await settled(socket, 'connect')
    if (target.tls === null) return socket
    socket.write(encodeOpening({ type: 'ssl_request' }))
    const answer = await firstChunk(socket)
    // One byte and nothing behind it: the rest would have been written by somebody in between.
    if (answer.length !== 1 || answer[0] !== 0x53) throw new Unacceptable('it does not speak TLS')
    return await secureClient(socket, { host: target.host, ca: target.tls.ca, alpn: 'postgresql' })
  } catch (error) {
    socket.destroy()
    const why = error instanceof Unacceptable ? explain(error) : `cannot be reached: ${messageOf(error)}`
    throw new GatewayError('upstream', `the upstream ${why}`, { cause: error })
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function settled(socket: Socket, event: 'connect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => {
      socket.off('close', fail)
      resolve()
    })
    let cause: Error | undefined
    const fail = () => reject(cause ?? new Error('no answer'))
    socket.on('error', (error) => {
      cause ??= error
    })
    socket.once('close', fail)
  })
}

function firstChunk(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const close = () => reject(new Error('the connection was closed'))
    socket.once('close', close).once('end', close)
    socket.once('data', (chunk: Buffer) => {
      socket.off('close', close).off('end', close)
      socket.pause()
      resolve(chunk)
    })
  })
}

/** Until the session is ready nothing is passed on: there is nothing but whole messages. */
const BEGINNING: Framing = upstreamFraming(() => false)

async function begin(socket: Socket | TLSSocket, login: Login): Promise<UpstreamSession> {
  const link = createLink(socket, BEGINNING)
  const parameters = new Map([['user', login.user], ['database', login.database], ...login.settings])
  link.write(encodeOpening({ type: 'startup', major: 3, minor: 0, parameters }))
  await authenticate(link, socket, login)

  const told = new Map<string, string>()
  const notices: Buffer[] = []
  let key: CancelKey | null = null
  for (;;) {
    const message = await read(link)
    if (message.type === 'ready') return { link, user: login.user, parameters: told, key, notices }
    if (message.type === 'parameter_status') told.set(message.name, message.value)
    else if (message.type === 'backend_key') key = { processId: message.processId, secret: Buffer.from(message.secret) }
    else if (message.type === 'notice') notices.push(encodeBackend(message))
    else throw new Malformed('a session does not begin with such a message')
  }
}

async function read(link: Link): Promise<Backend> {
  const frame = await link.next()
  if (frame === null) throw new Error('the connection was closed')
  if (frame.kind !== 'message') throw new Malformed('a session does not begin with such a message')
  const message = decodeBackend(frame.bytes)
  if (message.type === 'error') throw new UpstreamRefused(message.report)
  return message
}

async function readAuthentication(link: Link): Promise<Authentication> {
  const message = await read(link)
  if (message.type !== 'authentication') throw new Malformed('it did not say how to authenticate')
  return message.asks
}

async function authenticate(link: Link, socket: Socket | TLSSocket, { password }: Login): Promise<void> {
  const certificate = 'getPeerX509Certificate' in socket ? (socket.getPeerX509Certificate() ?? null) : null
  const asks = await readAuthentication(link)
  switch (asks.method) {
    case 'ok':
      return
    case 'cleartext':
      // To a server that proved who it is, as a token of a cloud's identity service is sent; never to anyone else.
      if (certificate === null) throw new Unacceptable('it asks for the password in plain without TLS')
      sendPassword(link, Buffer.from(`${password}\0`))
      break
    case 'sasl': {
      const scram = beginScram({
        mechanisms: asks.mechanisms,
        password,
        certificate: certificate && new X509Certificate(certificate.raw),
        nonce: randomBytes(18).toString('base64'),
      })
      if (scram === null) throw new Unacceptable('it offers no kind of SCRAM that is spoken here')
      await converse(link, scram)
      break
    }
    case 'kerberos':
    case 'gss':
    case 'sspi':
    case 'md5':
    case 'gss_continue':
    case 'sasl_continue':
    case 'sasl_final':
      throw new Unacceptable(`it asks for ${asks.method} authentication; SCRAM-SHA-256 is what is spoken here`)
  }
  const last = await readAuthentication(link)
  if (last.method !== 'ok') throw new Malformed('it goes on to authenticate when that is over')
}

async function converse(link: Link, scram: ScramClient): Promise<void> {
  const first = Buffer.from(scram.first())
  const head = [{ text: scram.mechanism }, { value: first }]
  link.write(encodeMessage('p', head))
  const challenge = await readAuthentication(link)
  if (challenge.method !== 'sasl_continue') throw new Malformed('it leaves its challenge out')
  sendPassword(link, Buffer.from(await scram.answer(challenge.data.toString('latin1'))))
  const proof = await readAuthentication(link)
  // Before it has proved that it knows the password, it may not say that all is well.
  if (proof.method !== 'sasl_final') throw new Malformed('it leaves its proof out')
  scram.verify(proof.data.toString('latin1'))
}

function sendPassword(link: Link, data: Buffer): void {
  link.write(encodeMessage('p', [{ bytes: data }]))
}
