import { connect, type Socket } from 'node:net'

/** A call that an agent sent and waits for, on a connection of its own. */
export interface SentCall {
  /** The answer's status. */
  readonly answered: Promise<number>
  close(): void
}

/** Sends a POST with a small body, as raw bytes: ten thousand of them must not cost this process much. */
export function sendPost({ port, path, token }: { port: number; path: string; token: string }): Promise<SentCall> {
  const body = JSON.stringify({ customer: 'c-17', amount: 250, note: 'duplicate charge' })
  const head = [
    `POST ${path} HTTP/1.1`,
    'host: 127.0.0.1',
    'accept: application/json',
    'content-type: application/json',
    `content-length: ${body.length}`,
    'user-agent: bench/1',
    'countersign-reason: charged twice',
    `authorization: Bearer ${token}`,
  ]
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ host: '127.0.0.1', port }, () => {
      socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
      resolve({ answered: statusOn(socket), close: () => socket.destroy() })
    })
    socket.once('error', reject)
  })
}

function statusOn(socket: Socket): Promise<number> {
  return new Promise((resolve) => {
    socket.once('data', (chunk) => resolve(Number(chunk.toString('latin1', 9, 12))))
    socket.once('close', () => resolve(0))
  })
}
