// A load generator in a process of its own: keep-alive connections that send one prepared request over and over, as
// raw bytes, so that it costs little beside what it measures. Closed loop at full load; at a given rate, each request
// has its due time, and a request whose connection was not free then counts from there, so that a stall is not hidden by
// the requests it delayed.
import { spawn } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'

export interface Load {
  readonly host: string
  readonly port: number
  /** The request, head and body, sent as it is. */
  readonly request: string
  readonly connections: number
  readonly seconds: number
  /** Requests a second over all connections; null sends as fast as answers come. */
  readonly rate: number | null
}

export interface LoadResult {
  readonly answered: number
  /** Answers with another status than 200, and connections that broke. */
  readonly faults: number
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  readonly most: number
}

/** Reads answers off one connection: the status of each. Chunked answers must be small. */
function createReader(): (chunk: Buffer) => number[] {
  let buffered = ''

  function endOfBody(start: number): number {
    const length = /\r\ncontent-length: *(\d+)/i.exec(buffered.slice(0, start))?.[1]
    if (length !== undefined) return start + Number(length)
    const last = buffered.indexOf('0\r\n\r\n', start)
    return last === -1 ? -1 : last + 5
  }

  return (chunk) => {
    buffered += chunk.toString('latin1')
    const statuses: number[] = []
    for (;;) {
      const headEnd = buffered.indexOf('\r\n\r\n')
      const end = headEnd === -1 ? -1 : endOfBody(headEnd + 4)
      if (end === -1 || end > buffered.length) return statuses
      statuses.push(Number(buffered.slice(9, 12)))
      buffered = buffered.slice(end)
    }
  }
}

async function run(load: Load): Promise<LoadResult> {
  const latencies: number[] = []
  let faults = 0
  const request = Buffer.from(load.request, 'utf8')
  const startedAt = performance.now()
  const endsAt = startedAt + load.seconds * 1000
  const gapMs = load.rate === null ? 0 : (1000 * load.connections) / load.rate

  function drive(index: number): Promise<void> {
    return new Promise((resolve) => {
      const read = createReader()
      let dueAt = startedAt + (gapMs * index) / load.connections
      let countsFrom = dueAt
      let timer: NodeJS.Timeout | null = null
      const socket: Socket = connect({ host: load.host, port: load.port, noDelay: true }, next)

      function next(): void {
        const now = performance.now()
        if (load.rate === null) dueAt = now
        if (dueAt >= endsAt || now >= endsAt) {
          socket.end()
          return
        }
        if (dueAt > now) timer = setTimeout(send, dueAt - now, null)
        else send(dueAt)
      }

      function send(due: number | null): void {
        // A timer is up to a millisecond off, which is no fault of what is measured.
        countsFrom = due ?? performance.now()
        socket.write(request)
      }

      socket.on('data', (chunk) => {
        for (const status of read(chunk)) {
          latencies.push(performance.now() - countsFrom)
          if (status !== 200) faults++
          dueAt += gapMs
          next()
        }
      })
      socket.on('error', () => faults++)
      socket.on('close', () => {
        if (timer) clearTimeout(timer)
        resolve()
      })
      setTimeout(() => socket.destroy(), load.seconds * 1000 + 5000).unref()
    })
  }

  await Promise.all(Array.from({ length: load.connections }, (_, index) => drive(index)))
  const tookSeconds = (performance.now() - startedAt) / 1000
  latencies.sort((a, b) => a - b)
  const at = (share: number) =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? Number.NaN
  return {
    answered: latencies.length,
    faults,
    perSecond: latencies.length / Math.min(tookSeconds, load.seconds),
    p50: at(0.5),
    p99: at(0.99),
    most: at(1),
  }
}

/** Runs a load in a process of its own. */
export function generate(load: Load): Promise<LoadResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [import.meta.filename], { stdio: ['pipe', 'pipe', 'inherit'] })
    const timer = setTimeout(() => child.kill('SIGKILL'), load.seconds * 1000 + 20_000)
    const output = text(child.stdout)
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      if (code === 0) output.then((line) => resolve(JSON.parse(line))).catch(reject)
      else reject(new Error(`the load generator ended with ${code}`))
    })
    child.stdin.end(JSON.stringify(load))
  })
}

if (import.meta.main) {
  const input = await text(process.stdin)
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(input)))}\n`)
}
