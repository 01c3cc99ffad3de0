/** Room for something there is only so much of: bytes of calls under way, sessions. Nobody can take all of it. */
export interface Room {
  /** A share, to be given back with `end`. */
  lease(holder: string): Lease
}

export interface Lease {
  /** Takes so much more; false if there is no room for it, and nothing is taken. */
  take(amount: number): boolean
  /** Gives everything back. */
  end(): void
}

/** How much there is for everybody together, and for one holder. */
export function createRoom({ total: most, perHolder }: { total: number; perHolder: number }): Room {
  const held = new Map<string, number>()
  let total = 0

  return {
    lease(holder) {
      let taken = 0
      return {
        take(amount) {
          const before = held.get(holder) ?? 0
          if (before + amount > perHolder || total + amount > most) return false
          held.set(holder, before + amount)
          total += amount
          taken += amount
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
