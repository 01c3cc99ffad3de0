/** Approvals that this process has seen come to an end. */
export interface Ended {
  /** After the transaction that ended them has committed. */
  note(ids: Iterable<string>): void
  has(id: string): boolean
}

/** Those of one generation; two are kept. More than people decide in the longest time that an approval can be used. */
const MOST = 100_000

/**
 * What is over stays over, whatever the store says later. The votes of an approval stay valid after it was used, denied
 * or withdrawn: whoever can rewrite every table could put the approval back as it was before, and take the entries out of
 * the log. A process remembers by itself; what another one ended, or an earlier one, only the log tells.
 */
export function createEnded(most: number = MOST): Ended {
  let young = new Set<string>()
  let old = new Set<string>()

  return {
    note(ids) {
      for (const id of ids) young.add(id)
      if (young.size < most) return
      old = young
      young = new Set()
    },
    has: (id) => young.has(id) || old.has(id),
  }
}
