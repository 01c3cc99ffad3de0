import type { Socket } from 'node:net'
import { createFrames, type Frame, type Framing } from './frames.ts'

/** Bytes and milliseconds. */
export interface LinkLimits {
  /** What is read ahead of whoever takes frames; beyond it the peer waits. */
  readonly readAheadBytes: number
  /** What is written ahead of the peer; beyond it `room` waits. */
  readonly writeAheadBytes: number
  /** The peer is gone when it takes none of what waits for it for so long. */
  readonly stallMs: number
}

export const LINK_LIMITS: LinkLimits = { readAheadBytes: 128 * 1024, writeAheadBytes: 256 * 1024, stallMs: 300_000 }

/**
 * One connection, read as frames and written through a bounded queue. It is read also while nobody takes frames, as far
 * as the limit goes, so that a hang-up is noticed while a call is held.
 */
export interface Link {
  /** What is here already; null until more comes. */
  take(): Frame | null
  /**
   * The next frame; null once the peer has closed its side, or the connection is lost, and everything was taken; or when
   * the signal aborts.
   */
  next(signal?: AbortSignal): Promise<Frame | null>
  reframe(framing: Framing): void
  /** Whether a message was passed on in part: the rest has to follow it, wherever that went. */
  readonly isInside: boolean
  /** Bytes behind the last frame that was taken: of a peer that had to wait for an answer there are none. */
  readonly hasMore: boolean
  /** Queues bytes. Writes of one turn leave together. */
  write(bytes: Uint8Array): void
  /** Whether more is written than the peer takes: time to wait for `room`. */
  readonly isFull: boolean
  /** Resolves when there is room to write, at once if there is; false if the connection is lost. */
  room(): Promise<boolean>
  /** Sends what is queued, then closes. Nothing is taken any more. */
  end(bytes?: Uint8Array): void
  destroy(): void
  /** Hands the socket over: nothing is read or written here any more. What was read and not taken is put back. */
  release(): Socket
  /** Aborts when the peer has closed its side or the connection is lost. */
  readonly gone: AbortSignal
  /** The same only for a connection that is closed altogether. */
  readonly closed: AbortSignal
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly remoteAddress: string
}

/** How long a peer may take to close its side once everything was sent. */
const LINGER_MS = 2_000

export function createLink(socket: Socket, framing: Framing, limits: LinkLimits = LINK_LIMITS): Link {
  const frames = createFrames(framing)
  const gone = new AbortController()
  const closed = new AbortController()
  const remoteAddress = socket.remoteAddress ?? ''
  let isPaused = false
  let isCorked = false
  let isEnded = false
  let wake: (() => void) | null = null
  let roomWaits: (() => void)[] = []
  let stall: NodeJS.Timeout | null = null

  function onData(chunk: Buffer): void {
    if (isEnded) return
    frames.push(chunk)
    if (frames.queuedBytes >= limits.readAheadBytes && !isPaused) {
      isPaused = true
      socket.pause()
    }
    wakeUp()
  }
  function onEnd(): void {
    gone.abort()
    wakeUp()
  }
  function onClose(): void {
    if (stall) clearTimeout(stall)
    closed.abort()
    gone.abort()
    wakeUp()
    giveRoom()
  }
  function wakeUp(): void {
    const woken = wake
    wake = null
    woken?.()
  }
  function giveRoom(): void {
    if (stall) clearTimeout(stall)
    stall = null
    const waits = roomWaits
    roomWaits = []
    for (const wait of waits) wait()
  }
  // An error is followed by `close`, which says all there is to do.
  const onError = () => {}

  socket.setNoDelay(true)
  socket.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onError).on('drain', giveRoom)
  if (socket.destroyed) queueMicrotask(onClose)

  function take(): Frame | null {
    const frame = frames.next()
    if (isPaused && frames.queuedBytes < limits.readAheadBytes / 2) {
      isPaused = false
      socket.resume()
    }
    return frame
  }

  return {
    take,
    async next(signal) {
      for (;;) {
        if (isEnded || signal?.aborted) return null
        const frame = take()
        if (frame !== null || gone.signal.aborted) return frame
        if (wake !== null) throw new TypeError('two readers wait for one connection')
        await new Promise<void>((resolve) => {
          wake = resolve
          signal?.addEventListener('abort', wakeUp, { once: true })
        })
        signal?.removeEventListener('abort', wakeUp)
      }
    },
    reframe: frames.reframe,
    get isInside() {
      return frames.isInside
    },
    get hasMore() {
      return frames.isBetween
    },
    write(bytes) {
      if (isEnded || closed.signal.aborted) return
      if (!isCorked) {
        isCorked = true
        socket.cork()
        process.nextTick(() => {
          isCorked = false
          socket.uncork()
        })
      }
      socket.write(bytes)
    },
    get isFull() {
      return socket.writableLength > limits.writeAheadBytes
    },
    async room() {
      while (socket.writableLength > limits.writeAheadBytes && !closed.signal.aborted) {
        stall ??= setTimeout(() => socket.destroy(), limits.stallMs)
        await new Promise<void>((resolve) => roomWaits.push(resolve))
      }
      return !closed.signal.aborted && !isEnded
    },
    end(bytes) {
      if (isEnded) return
      isEnded = true
      if (bytes) socket.write(bytes)
      socket.end()
      // To close with bytes unread sends a reset, which takes from the peer what it has not read yet.
      if (isPaused) socket.resume()
      const timer = setTimeout(() => socket.destroy(), LINGER_MS)
      timer.unref()
      socket.once('close', () => clearTimeout(timer))
      wakeUp()
    },
    destroy() {
      isEnded = true
      socket.destroy()
      wakeUp()
    },
    release() {
      isEnded = true
      socket.pause()
      socket.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onError).off('drain', giveRoom)
      if (stall) clearTimeout(stall)
      const rest = frames.drain()
      if (rest.length > 0) socket.unshift(rest)
      return socket
    },
    gone: gone.signal,
    closed: closed.signal,
    get bytesRead() {
      return socket.bytesRead
    },
    get bytesWritten() {
      return socket.bytesWritten
    },
    remoteAddress,
  }
}
