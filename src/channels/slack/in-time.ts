import { setTimeout as delay } from 'node:timers/promises'

/**
 * Lets work take as long as it takes, but whoever waits for it only `maxMs`. Work that goes on is kept account of, so
 * that it can be waited for at the end.
 */
export function createInTime(maxMs: number) {
  const open = new Set<Promise<unknown>>()

  return {
    /** What the work gives; null if it is late. `isLate` tells the work that nobody waits any more. It must not reject. */
    async run<T>(work: (isLate: () => boolean) => Promise<T>): Promise<T | null> {
      let isLate = false
      const done = new AbortController()
      const working = work(() => isLate)
      const tracked = working.finally(() => {
        open.delete(tracked)
        done.abort()
      })
      open.add(tracked)
      const waited = delay(maxMs, null, { signal: done.signal }).then(
        () => {
          isLate = true
          return null
        },
        () => null,
      )
      return Promise.race([tracked, waited])
    },

    async settled(waitMs: number): Promise<void> {
      const done = new AbortController()
      const timeout = delay(waitMs, null, { signal: done.signal }).catch(() => null)
      await Promise.race([Promise.allSettled(open), timeout])
      done.abort()
    },
  }
}
