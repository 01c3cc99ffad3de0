/** Numbers that a seed repeats. */
export interface Random {
  /** From 0 on, less than `end`. */
  below(end: number): number
  /** Whether it happens, of so many times. */
  oneIn(times: number): boolean
  of<T>(items: readonly [T, ...T[]]): T
  bytes(count: number): Buffer
}

/** Mulberry32: small, fast, and good enough to choose what to break. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0

  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  const below = (end: number) => Math.floor(next() * end)
  return {
    below,
    oneIn: (times) => below(times) === 0,
    of: ([first, ...others]) => [first, ...others][below(others.length + 1)] ?? first,
    bytes: (count) => Buffer.from(Array.from({ length: count }, () => below(256))),
  }
}
