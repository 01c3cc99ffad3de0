import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { isRefusal, type Refusal, refuse } from '../../domain/refusal.ts'
import type { Tunnelled } from './forward.ts'

export interface TunnelEnds {
  readonly client: Socket
  readonly upstream: Duplex
  /** Bytes the client sent before the tunnel was there. */
  readonly early: Buffer
  readonly signal: AbortSignal
  /** The longest it may last, in milliseconds. */
  readonly maxMs: number
  /** Told of bytes from the upstream as they pass; false ends the tunnel. */
  spendBytes(count: number): boolean
}

/**
 * Joins two sockets until both sides are closed. Each side may close on its own and the other go on; a slow reader
 * stops its writer; the signal, the limit or the time ends both at once.
 */
export function tunnel({ client, upstream, early, signal, maxMs, spendBytes }: TunnelEnds): Promise<Tunnelled> {
  return new Promise((resolve) => {
    let bytesIn = 0
    let bytesOut = 0
    let isOver = false
    const timer = setTimeout(() => {
      end('cut', refuse('expired', 'Cut off. The connection reached the longest time it may last.'))
    }, maxMs)

    function end(name: Tunnelled['name'], refusal?: Refusal) {
      if (isOver) return
      isOver = true
      clearTimeout(timer)
      signal.removeEventListener('abort', cut)
      client.destroy()
      upstream.destroy()
      resolve({ name, ...(refusal ? { refusal } : {}), bytesIn, bytesOut })
    }
    function cut() {
      const reason: unknown = signal.reason
      end('cut', isRefusal(reason) ? reason : refuse('unavailable', 'Cut off. The gateway ended the connection.'))
    }
    function endIfBothEnded() {
      if (client.readableEnded && upstream.readableEnded) {
        // What is still to be flushed leaves before the sockets close.
        client.end(() => upstream.end(() => end('forwarded')))
      }
    }

    client.on('data', (chunk: Buffer) => {
      bytesIn += chunk.length
      if (!upstream.write(chunk)) client.pause()
    })
    upstream.on('data', (chunk: Buffer) => {
      bytesOut += chunk.length
      if (!spendBytes(chunk.length)) {
        end('cut', refuse('rate_limited', 'Cut off. A limit of the rule that allowed this call ran out.'))
      } else if (!client.write(chunk)) upstream.pause()
    })
    client.on('drain', () => upstream.resume())
    upstream.on('drain', () => client.resume())
    client.on('end', () => {
      upstream.end()
      endIfBothEnded()
    })
    upstream.on('end', () => {
      client.end()
      endIfBothEnded()
    })
    client.on('error', () => end('client_gone'))
    upstream.on('error', () => end('upstream_failed', refuse('upstream_failed', 'The upstream broke off.')))
    client.on('close', () => end(client.readableEnded ? 'forwarded' : 'client_gone'))
    upstream.on('close', () => end('forwarded'))

    if (signal.aborted) return cut()
    signal.addEventListener('abort', cut, { once: true })
    if (early.length > 0) {
      bytesIn += early.length
      upstream.write(early)
    }
    client.resume()
    upstream.resume()
  })
}
