import { hash } from 'node:crypto'

/** A bounded map from tokens to what they proved. It holds digests, so that a memory dump holds no token. */
export interface VerifiedCache<Value> {
  /** Marks it as the most recently used. */
  get(digest: string): Value | undefined
  set(digest: string, value: Value): void
  delete(digest: string): void
  size(): number
}

export function digestToken(token: string): string {
  return hash('sha256', token, 'base64')
}

/** Drops what was not used for the longest time once there are more than `maxEntries`. */
export function createVerifiedCache<Value>(maxEntries: number): VerifiedCache<Value> {
  // A Map iterates in the order of insertion: the first key is the one least recently used.
  const entries = new Map<string, Value>()
  return {
    get(digest) {
      const value = entries.get(digest)
      if (value === undefined) return undefined
      entries.delete(digest)
      entries.set(digest, value)
      return value
    },
    set(digest, value) {
      entries.delete(digest)
      entries.set(digest, value)
      if (entries.size <= maxEntries) return
      const oldest = entries.keys().next()
      if (!oldest.done) entries.delete(oldest.value)
    },
    delete: (digest) => void entries.delete(digest),
    size: () => entries.size,
  }
}
