import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import { type Backend, decodeBackend } from '../../../src/protocols/postgres/wire/backend.ts'
import { encodeMessage } from '../../../src/protocols/postgres/wire/fields.ts'
import { encodeFrontend, type Frontend } from '../../../src/protocols/postgres/wire/frontend.ts'
import { encodeOpening } from '../../../src/protocols/postgres/wire/opening.ts'

/** A client that sends what a test says, message by message. */
export interface RawSession {
  readonly socket: Socket
  send(...messages: (Frontend | Buffer)[]): void
  /** What comes next; null once the other side has closed. */
  next(): Promise<Backend | null>
  /** What comes until one of this type, that one included; or until the other side has closed. */
  until(type: Backend['type']): Promise<Backend[]>
  /** The same in short: types, with what tells one of a type from another. */
  story(type?: Backend['type']): Promise<string[]>
  readonly beginning: readonly Backend[]
  close(): void
}

/** Reads an answer for a person. */
function tell(message: Backend): string {
  if (message.type === 'error') return `error ${message.report['C']}`
  if (message.type === 'ready') return `ready ${message.status}`
  if (message.type === 'command_complete') return message.tag
  if (message.type === 'copy_data') return `copied ${String(message.data).trim()}`
  if (message.type !== 'data_row') return message.type
  return `row ${message.values.map((value) => (value === null ? 'null' : String(value))).join(' ')}`
}

/** Begins a session with the token in the place of the password. */
export async function connectSession(
  port: number,
  {
    database,
    minor = 0,
    token = 'good',
    settings = [],
  }: { database: string; minor?: number; token?: string; settings?: readonly [name: string, value: string][] },
): Promise<RawSession> {
  const socket = net.connect({ port, host: '127.0.0.1' })
  socket.on('error', () => {})
  let bytes: Buffer = Buffer.alloc(0)
  let isClosed = false
  let wake = () => {}
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    wake()
  })
  socket.on('close', () => {
    isClosed = true
    wake()
  })
  await once(socket, 'connect')

  async function next(): Promise<Backend | null> {
    for (;;) {
      const length = bytes.length >= 5 ? bytes.readInt32BE(1) + 1 : Number.POSITIVE_INFINITY
      if (bytes.length >= length) {
        const message = decodeBackend(bytes.subarray(0, length))
        bytes = bytes.subarray(length)
        return message
      }
      if (isClosed) return null
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }

  async function until(type: Backend['type']): Promise<Backend[]> {
    const all: Backend[] = []
    for (let message = await next(); message !== null; message = await next()) {
      all.push(message)
      if (message.type === type) break
    }
    return all
  }

  const parameters = new Map([['user', 'app'], ['database', database], ...settings])
  socket.write(encodeOpening({ type: 'startup', major: 3, minor, parameters }))
  await next()
  socket.write(encodeMessage('p', [{ text: token }]))
  const beginning = await until('ready')
  return {
    socket,
    send(...messages) {
      socket.write(
        Buffer.concat(messages.map((message) => (Buffer.isBuffer(message) ? message : encodeFrontend(message)))),
      )
    },
    next,
    until,
    story: async (type = 'ready') => (await until(type)).map(tell),
    beginning,
    close: () => socket.destroy(),
  }
}

export const query = (sql: string): Frontend => ({ type: 'query', sql })
export const parse = (sql: string, statement = ''): Frontend => ({ type: 'parse', statement, sql, parameterTypes: [] })
export const bind = (values: readonly (string | null)[] = [], { portal = '', statement = '' } = {}): Frontend => ({
  type: 'bind',
  portal,
  statement,
  formats: [],
  values: values.map((value) => (value === null ? null : Buffer.from(value))),
  resultFormats: [],
})
export const execute = (portal = '', maxRows = 0): Frontend => ({ type: 'execute', portal, maxRows })
export const close = (what: 'statement' | 'portal', name = ''): Frontend => ({ type: 'close', what, name })
export const describeIt = (what: 'statement' | 'portal', name = ''): Frontend => ({ type: 'describe', what, name })
export const sync: Frontend = { type: 'sync' }
export const flush: Frontend = { type: 'flush' }
export const copyData = (text: string): Frontend => ({ type: 'copy_data', data: Buffer.from(text) })
export const copyDone: Frontend = { type: 'copy_done' }
