import { createHash } from 'node:crypto'
import type { Link } from '../../../transports/tcp/link.ts'
import { Malformed } from '../wire/fields.ts'
import { decodeFrontend, encodeFrontend } from '../wire/frontend.ts'
import { SessionOver } from './session-over.ts'
import type { Traffic } from './traffic.ts'

interface CopyParts {
  readonly client: Pick<Link, 'take' | 'next' | 'isInside'>
  readonly upstream: Pick<Link, 'write' | 'isFull' | 'room'>
  /** Where what goes by is counted. */
  readonly traffic: Traffic
  /** Whether an Execute has begun the copy. */
  isExtended(): boolean
}

/**
 * Passes the data of a copy on from the client to the upstream, until either says that it is over. A message that was forwarded in part goes on to
 * its end even then: what came behind it would be read as a part of it.
 *
 * @throws SessionOver, Malformed
 */
export async function copyIn({ client, upstream, traffic, isExtended }: CopyParts, stop: AbortSignal): Promise<void> {
  while (client.isInside || !stop.aborted) {
    const frame = client.take() ?? (await client.next(client.isInside ? undefined : stop))
    if (frame === null) {
      if (stop.aborted && !client.isInside) return
      throw new SessionOver('client', 'the client has left')
    }
    if (frame.kind === 'fault') throw new Malformed(frame.fault)
    if (frame.kind === 'run') {
      traffic.bytesIn += frame.bytes.length
      traffic.copied ??= createHash('sha256')
      traffic.copied.update(frame.bytes)
      upstream.write(frame.bytes)
      if (upstream.isFull) await upstream.room()
      continue
    }
    const { type } = decodeFrontend(frame.bytes)
    if (type === 'copy_done' || type === 'copy_fail') {
      upstream.write(frame.bytes)
      // Otherwise a server says nothing until the Sync, which the client sends later.
      if (isExtended()) upstream.write(encodeFrontend({ type: 'flush' }))
      return
    }
    // A server drops these as well while it waits for data.
    if (type === 'sync' || type === 'flush') continue
    if (type === 'terminate') throw new SessionOver('client', 'the client has left')
    throw new Malformed('a copy is under way, and this is no part of it')
  }
}
