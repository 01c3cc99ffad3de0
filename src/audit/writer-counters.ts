/**
 * Which of each writer's entries were seen, as runs of numbers: a writer that left none out is one run, however many
 * entries it wrote.
 */
export function createWriterCounters() {
  const runsOf = new Map<string, [first: number, last: number][]>()

  return {
    /** Notes the n-th entry of a writer; false if it was noted before. */
    note(writer: string, n: number): boolean {
      const runs = runsOf.get(writer)
      if (!runs) {
        runsOf.set(writer, [[n, n]])
        return true
      }
      // The first run that ends at n - 1 or later; entries come nearly in order, so that it is the last one or close.
      let at = runs.length
      while (at > 0 && (runs[at - 1]?.[1] ?? 0) >= n - 1) at--
      const run = runs[at]
      if (!run || n < run[0] - 1) {
        runs.splice(at, 0, [n, n])
        return true
      }
      if (n >= run[0] && n <= run[1]) return false
      if (n === run[0] - 1) {
        run[0] = n
        return true
      }
      run[1] = n
      const next = runs[at + 1]
      if (next && next[0] === n + 1) {
        run[1] = next[1]
        runs.splice(at + 1, 1)
      }
      return true
    },
  }
}
