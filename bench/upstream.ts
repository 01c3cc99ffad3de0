// The upstream that every peer forwards to: the least a server does, in a process of its own. It answers 300 bytes, and
// tells its parent of each POST the moment it came in (milliseconds of the system's monotonic clock), if it has one.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { monotonicMs } from './monotonic.ts'

const BODY = Buffer.alloc(300, 'x')
const HEADERS = ['content-type', 'text/plain', 'content-length', String(BODY.length)]

/** What it tells its parent. */
export interface Receipt {
  readonly path: string
  readonly atMs: number
}

const server = createServer((request, response) => {
  if (request.method === 'POST') {
    const receipt: Receipt = { path: request.url ?? '', atMs: monotonicMs() }
    process.send?.(receipt)
    request.resume()
  }
  response.writeHead(200, HEADERS)
  response.end(BODY)
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  // A server that listens on TCP has an address with a port.
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
process.once('SIGTERM', () => process.exit(0))
