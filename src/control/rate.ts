/** Takes one from a key's bucket; 0 if it had one, else the seconds until it will. */
export type TakeToken = (key: string) => number

/**
 * A token bucket a key, refilled at `perSecond` up to `burst`. At most `maxKeys` are remembered, the longest unused is
 * forgotten first. `monotonicMs` is a clock that never goes back.
 */
export function createBuckets(
  options: { perSecond: number; burst: number; maxKeys: number },
  monotonicMs: () => number,
): TakeToken {
  const { perSecond, burst, maxKeys } = options
  const buckets = new Map<string, { left: number; at: number }>()

  return (key) => {
    const at = monotonicMs()
    const before = buckets.get(key)
    const left = before ? Math.min(burst, before.left + ((at - before.at) / 1000) * perSecond) : burst
    const isTaken = left >= 1
    buckets.delete(key)
    buckets.set(key, { left: isTaken ? left - 1 : left, at })
    const [oldest] = buckets.keys()
    if (buckets.size > maxKeys && oldest !== undefined) buckets.delete(oldest)
    return isTaken ? 0 : (1 - left) / perSecond
  }
}
