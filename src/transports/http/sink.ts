import type { ServerResponse } from 'node:http'
import type { Stored } from '../../domain/call.ts'

/** Where an upstream's response goes: a waiting client, or memory for one that fetches it later. */
export interface Sink {
  start(status: number, headers: string[], length: number | null): void
  /** False if it wants no more until `whenDrained` is called. */
  write(chunk: Buffer): boolean
  /** The last chunk, if one was kept back. */
  end(last: Buffer | null): void
  /** Ends the response so that the client can tell it is not whole. */
  cut(): void
  /** Called once: the response was taken whole, nobody is there to take it, or there is no room for it. */
  whenClosed(told: (how: 'whole' | 'gone' | 'full') => void): void
  whenDrained(told: () => void): void
}

const MAX_JOINED_BYTES = 16 * 1024

/** A response to a client that waits on its connection. `added` are headers of the gateway's own. */
export function clientSink(response: ServerResponse, added: () => readonly string[]): Sink {
  let hasWritten = false
  let drained: (() => void) | null = null
  return {
    start(status, headers, length) {
      response.writeHead(status, headers.concat(added()))
      // A stream without a known length may be long in coming: its head is not held back for the first chunk.
      if (length === null) {
        setImmediate(() => {
          if (!hasWritten && !response.destroyed) response.flushHeaders()
        })
      }
    },
    write(chunk) {
      hasWritten = true
      return response.write(chunk)
    },
    end(last) {
      hasWritten = true
      // As text of the head's own encoding a short body leaves in one write with it; as bytes it costs a writev.
      if (last && last.length <= MAX_JOINED_BYTES) response.end(last.toString('latin1'), 'latin1')
      else if (last) response.end(last)
      else response.end()
    },
    cut: () => response.destroy(),
    whenClosed(told) {
      // `request.signal` and the request's own `close` come as soon as the body is read.
      const tell = () => told(response.writableFinished ? 'whole' : 'gone')
      if (response.closed || response.destroyed) tell()
      else response.on('close', tell)
    },
    whenDrained(told) {
      if (drained === null) response.on('drain', () => drained?.())
      drained = told
    },
  }
}

/** A response as it is kept for later. */
export interface KeptResponse {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: Buffer
  /** Whether there was more than could be kept. */
  readonly isCut: boolean
}

/** Keeps a response of at most `maxBytes`; a longer one ends the call. */
export function storeSink(maxBytes: number): Sink & { kept(): KeptResponse | null } {
  const chunks: Buffer[] = []
  let size = 0
  let isCut = false
  let head: { status: number; headers: string[] } | null = null
  let closed: ((how: 'whole' | 'full') => void) | null = null

  function keep(chunk: Buffer): boolean {
    size += chunk.length
    if (size <= maxBytes) chunks.push(chunk)
    else {
      isCut = true
      closed?.('full')
    }
    return true
  }

  return {
    start(status, headers) {
      head = { status, headers }
    },
    write: keep,
    end(last) {
      if (last) keep(last)
      if (!isCut) closed?.('whole')
    },
    cut() {
      isCut = true
    },
    whenClosed(told) {
      closed = told
    },
    whenDrained() {},
    kept: () => head && { ...head, body: Buffer.concat(chunks), isCut },
  }
}

/** The form in which it waits to be fetched. */
export function storeResponse({ status, headers, body, isCut }: KeptResponse): Stored {
  return { head: { status, headers, ...(isCut ? { isCut } : {}) }, body }
}
