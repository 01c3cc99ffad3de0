/** Pieces that are put together once there are so many. */
const MOST_SMALL = 256
const SMALL_BYTES = 4096

/**
 * The bytes of a body as they come. A buffer costs some two hundred bytes beside what it holds, and a client may send a
 * body one byte a chunk: small pieces are put together as they come in.
 */
export interface Pile {
  add(chunk: Buffer): void
  readonly bytes: number
  /** All that was added since the last time, as one buffer. */
  take(): Buffer
}

export function createPile(): Pile {
  let whole: Buffer[] = []
  let small: Buffer[] = []

  function gather(): void {
    if (small.length === 0) return
    whole.push(small.length === 1 && small[0] ? small[0] : Buffer.concat(small))
    small = []
  }

  const pile = {
    bytes: 0,
    add(chunk: Buffer) {
      pile.bytes += chunk.length
      if (chunk.length >= SMALL_BYTES) {
        gather()
        whole.push(chunk)
      } else if (small.push(chunk) >= MOST_SMALL) gather()
    },
    take() {
      gather()
      const all = whole.length === 1 && whole[0] ? whole[0] : Buffer.concat(whole)
      whole = []
      pile.bytes = 0
      return all
    },
  }
  return pile
}
