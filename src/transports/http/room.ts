/** Room in memory for the bodies of calls under way. Nobody can take all of it. */
export interface Room {
  /** One call's share, to be given back with `end`. */
  lease(holder: string): Lease
}

export interface Lease {
  /** Takes so many bytes more; false if there is no room for them, and nothing is taken. */
  take(bytes: number): boolean
  /** Gives everything back. */
  end(): void
}

/** Bytes: for everybody together, and for one holder. */
export function createRoom({ totalBytes, holderBytes }: { totalBytes: number; holderBytes: number }): Room {
  const held = new Map<string, number>()
  let total = 0

  return {
    lease(holder) {
      let taken = 0
      return {
        take(bytes) {
          const before = held.get(holder) ?? 0
          if (before + bytes > holderBytes || total + bytes > totalBytes) return false
          held.set(holder, before + bytes)
          total += bytes
          taken += bytes
          return true
        },
        end() {
          if (taken === 0) return
          const rest = (held.get(holder) ?? 0) - taken
          if (rest > 0) held.set(holder, rest)
          else held.delete(holder)
          total -= taken
          taken = 0
        },
      }
    },
  }
}
