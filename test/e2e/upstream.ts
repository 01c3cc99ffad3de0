import { once } from 'node:events'
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { z } from 'zod'

const receivedSchema = z.object({
  atMs: z.number(),
  method: z.string(),
  path: z.string(),
  body: z.string(),
  /** The claims of Countersign-Assertion; null if the request had none. */
  assertion: z.looseObject({ call: z.string(), approval: z.string().optional(), sub: z.string() }).nullable(),
})
export type Received = z.infer<typeof receivedSchema>

/** What it does with a request, once that is on record: answer, say nothing, or begin to answer and stop. */
export type Manner = 'answer' | 'block' | 'stall'

export interface RecordingUpstream {
  readonly url: string
  /** Applies to requests from now on. */
  manner: Manner
  /** Of what arrives from now on, waits for so many more requests. */
  arrivals(count: number): Promise<void>
  /** Answers all that was kept waiting. */
  release(): void
  /** Everything that ever arrived, read back from its file. */
  received(): readonly Received[]
  close(): Promise<void>
}

/** An upstream that writes down, durably and before anything else, every request that reaches it. */
export async function startRecordingUpstream(file: string): Promise<RecordingUpstream> {
  const log = openSync(file, 'a')
  let kept: ServerResponse[] = []
  let count = 0
  const server = createServer((request, response) => void take(request, response))

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk)
    } catch {
      // The gateway was killed in the middle of sending: nothing whole arrived, nothing is done.
      return
    }
    const { method = '', url = '', headers } = request
    const assertion = readAssertion(headers['countersign-assertion'])
    const received: Received = {
      atMs: Date.now(),
      method,
      path: url,
      body: Buffer.concat(chunks).toString('utf8'),
      assertion,
    }
    writeSync(log, `${JSON.stringify(received)}\n`)
    fsyncSync(log)
    count += 1
    server.emit('recorded')
    response.on('error', () => undefined)
    if (upstream.manner === 'answer') {
      answer(response)
      return
    }
    if (upstream.manner === 'stall') response.writeHead(200, { 'content-type': 'application/json' }).write('{"done":')
    kept.push(response)
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // it listens on TCP
  const upstream: RecordingUpstream = {
    url: `http://127.0.0.1:${port}`,
    manner: 'answer',
    async arrivals(more) {
      const wanted = count + more
      while (count < wanted) await once(server, 'recorded')
    },
    release() {
      upstream.manner = 'answer'
      for (const response of kept) answer(response)
      kept = []
    },
    received: () =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => receivedSchema.parse(JSON.parse(line))),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      closeSync(log)
    },
  }
  return upstream
}

function answer(response: ServerResponse): void {
  if (response.headersSent) response.end('true}')
  else response.writeHead(200, { 'content-type': 'application/json' }).end('{"done":true}')
}

function readAssertion(token: string | string[] | undefined): Received['assertion'] {
  if (typeof token !== 'string') return null
  const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
  return receivedSchema.shape.assertion.parse(claims)
}
