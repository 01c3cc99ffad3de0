import net, { type AddressInfo, type Socket } from 'node:net'

/** What one connection of a raw client got back, as Latin-1. */
export interface RawClient {
  readonly socket: Socket
  send(text: string | Buffer): void
  /** Everything received so far. */
  received(): string
  /** Resolves once the received text fits; rejects when the connection ends before. */
  until(fits: (received: string) => boolean): Promise<string>
  /** Resolves with everything when the other side has closed. */
  closed(): Promise<string>
}

/** Sends bytes as they are: no client library corrects them. */
export function connectRaw(port: number): RawClient {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let text = ''
  let isClosed = false
  const waiters = new Set<() => void>()
  const wake = () => {
    for (const waiter of waiters) waiter()
  }
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    wake()
  })
  socket.on('end', () => socket.end())
  socket.on('error', () => {})
  socket.on('close', () => {
    isClosed = true
    wake()
  })
  return {
    socket,
    send: (bytes) => socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes),
    received: () => text,
    until: (fits) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (fits(text)) resolve(text)
          else if (isClosed) reject(new Error(`the connection ended after: ${JSON.stringify(text.slice(0, 500))}`))
          else return
          waiters.delete(look)
        }
        waiters.add(look)
        look()
      }),
    closed: () =>
      new Promise((resolve) => {
        const look = () => {
          if (!isClosed) return
          waiters.delete(look)
          resolve(text)
        }
        waiters.add(look)
        look()
      }),
  }
}

/** The status of the first response in what a raw client received; 0 if there is none. */
export function statusOf(received: string): number {
  const final = received.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '')
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(final)?.[1] ?? 0)
}

export const CALL_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** The `Countersign-Call` of the last response in what a raw client received. */
export function callIn(received: string): string | undefined {
  return [...received.matchAll(/\r\ncountersign-call: ([^\r]*)\r\n/gi)].at(-1)?.[1]
}

/** The members of a problem body, if the response has one. */
export function problemIn(received: string): { code?: string; detail?: string; status?: number; call?: string } {
  const body = received.slice(received.indexOf('\r\n\r\n') + 4)
  const json = /\{.*\}/s.exec(body)?.[0]
  return json === undefined ? {} : JSON.parse(json)
}

/** An upstream that speaks raw TCP: what a test scripts is what it answers, what it read is kept byte by byte. */
export interface RawUpstream {
  readonly port: number
  readonly url: string
  /** Everything each connection sent, oldest first. */
  readonly seen: string[]
  /** Resolves when any connection has sent text that fits. */
  until(fits: (seen: string) => boolean): Promise<string>
  readonly sockets: Set<Socket>
  close(): Promise<void>
}

export type Script = (socket: Socket, seen: string) => void

const answerOnce: Script = (socket, seen) => {
  const end = seen.indexOf('\r\n\r\n')
  if (end === -1) return
  const length = /\r\ncontent-length: (\d+)/i.exec(seen.slice(0, end + 2))?.[1]
  const isWhole = /\r\ntransfer-encoding: chunked/i.test(seen.slice(0, end + 2))
    ? seen.endsWith('0\r\n\r\n')
    : seen.length >= end + 4 + Number(length ?? 0)
  if (isWhole) socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok')
}

/** @param script called with the whole of what a connection has sent, at each piece; by default answers 200 and closes */
export async function startRawUpstream(script: Script = answerOnce): Promise<RawUpstream> {
  const seen: string[] = []
  const sockets = new Set<Socket>()
  const waiters = new Set<() => void>()
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const index = seen.push('') - 1
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.on('end', () => socket.end())
    socket.on('data', (chunk: Buffer) => {
      seen[index] += chunk.toString('latin1')
      script(socket, seen[index] ?? '')
      for (const waiter of waiters) waiter()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A TCP server that listens has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    seen,
    sockets,
    until: (fits) =>
      new Promise((resolve) => {
        const look = () => {
          const found = seen.find(fits)
          if (found === undefined) return
          waiters.delete(look)
          resolve(found)
        }
        waiters.add(look)
        look()
      }),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
