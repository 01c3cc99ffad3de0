import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { CancelKey } from '../wire/opening.ts'

/** The sessions that can be told to stop what they do, by keys of the gateway's own. */
export interface Cancels {
  /** Mints a key. It is good until it is ended. */
  mint(how: { readonly secretBytes: number; cancel(): void }): { readonly key: CancelKey; end(): void }
  /** Nobody is told whether there was such a session. */
  request(key: CancelKey): void
}

export function createCancels(): Cancels {
  const sessions = new Map<number, { readonly secret: Buffer; cancel(): void }>()

  return {
    mint({ secretBytes, cancel }) {
      let processId: number
      do processId = randomBytes(4).readUInt32BE() & 0x7fffffff
      while (processId === 0 || sessions.has(processId))
      const secret = randomBytes(secretBytes)
      sessions.set(processId, { secret, cancel })
      return { key: { processId, secret }, end: () => void sessions.delete(processId) }
    },
    request({ processId, secret }) {
      const session = sessions.get(processId)
      if (session?.secret.length === secret.length && timingSafeEqual(session.secret, secret)) session.cancel()
    },
  }
}
