import type { ServerResponse } from 'node:http'

/** Where an upstream's response goes: a waiting client, or memory for one that fetches it later. */
export interface Sink {
  start(status: number, headers: string[], length: number | null): void
  /** False if it wants no more until `whenDrained` is called. */
  write(chunk: Buffer): boolean
  /** The last chunk, if one was kept back. */
  end(last: Buffer | null): void
  /** Ends the response so that the client can tell it is not whole. */
  cut(): void
  /** Called once: the response was taken whole, or the client is gone. */
  whenClosed(told: (isWhole: boolean) => void): void
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
      if (response.closed || response.destroyed) told(response.writableFinished)
      else response.on('close', () => told(response.writableFinished))
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
}

/** Keeps a response of at most `maxBytes`; a longer one ends the call. */
export function storeSink(maxBytes: number): Sink & { kept(): KeptResponse | null; readonly isOverflowing: boolean } {
  const chunks: Buffer[] = []
  let size = 0
  let head: { status: number; headers: string[] } | null = null
  let closed: ((isWhole: boolean) => void) | null = null
  const sink = {
    isOverflowing: false,
    start(status: number, headers: string[]) {
      head = { status, headers }
    },
    write(chunk: Buffer) {
      size += chunk.length
      if (size > maxBytes) {
        sink.isOverflowing = true
        closed?.(false)
      } else chunks.push(chunk)
      return true
    },
    end(last: Buffer | null) {
      if (last) sink.write(last)
      if (!sink.isOverflowing) closed?.(true)
    },
    cut() {},
    whenClosed(told: (isWhole: boolean) => void) {
      closed = told
    },
    whenDrained() {},
    kept: (): KeptResponse | null => head && { ...head, body: Buffer.concat(chunks) },
  }
  return sink
}
