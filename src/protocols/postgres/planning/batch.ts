import type { Link } from '../../../transports/tcp/link.ts'
import { Malformed } from '../wire/fields.ts'
import { NO_ROOM, OVERHEAD } from '../wire/framing.ts'
import { decodeFrontend, type Frontend } from '../wire/frontend.ts'

/** One message of a client: as it was read, and as it came. The one says all that the other does. */
export interface Sent<Type extends Frontend['type'] = Frontend['type']> {
  readonly message: Extract<Frontend, { readonly type: Type }>
  readonly bytes: Buffer
}

/**
 * What a client sends at a time: one simple query; or messages of the extended protocol up to a Sync, or to a Flush, at
 * which the client waits for what came before.
 */
export interface Batch {
  readonly kind: 'query' | 'function_call' | 'sync' | 'flush'
  readonly sent: readonly Sent[]
}

/** A batch that is larger than what is read of one, or than what there is room for. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge'
}

/**
 * Collects the next batch; null when the client has said goodbye, or left.
 *
 * @throws Malformed, TooLarge
 */
export async function readBatch(link: Link, maxBytes: number): Promise<Batch | null> {
  const sent: Sent[] = []
  let bytes = 0
  for (;;) {
    const frame = link.take() ?? (await link.next())
    if (frame === null) return null
    if (frame.kind === 'fault') throw frame.fault === NO_ROOM ? new TooLarge(NO_ROOM) : new Malformed(frame.fault)
    // Data of a copy that failed meanwhile: as a server does, it is taken and forgotten.
    if (frame.kind === 'run') continue
    const message = decodeFrontend(frame.bytes)
    bytes += frame.bytes.length + OVERHEAD
    if (bytes > maxBytes) throw new TooLarge(`a batch is larger than ${maxBytes} bytes`)
    switch (message.type) {
      case 'terminate':
        return null
      case 'copy_data':
      case 'copy_done':
      case 'copy_fail':
        continue
      case 'password':
        throw new Malformed('nobody asked for a password')
      case 'query':
      case 'function_call':
        // A server takes it, and forgets what stood before it without an answer: no client does that.
        if (sent.length > 0) throw new Malformed('messages of both query protocols are mixed in one batch')
        return { kind: message.type, sent: [{ message, bytes: frame.bytes }] }
      case 'sync':
      case 'flush':
        sent.push({ message, bytes: frame.bytes })
        return { kind: message.type, sent }
      case 'parse':
      case 'bind':
      case 'describe':
      case 'close':
      case 'execute':
        sent.push({ message, bytes: frame.bytes })
    }
  }
}
