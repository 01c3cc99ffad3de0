import type { Column } from '../wire/backend.ts'
import { Malformed } from '../wire/fields.ts'
import type { Hidden } from './catalog.ts'

/** Takes what is masked out of rows, by what the upstream says of their columns. */
export interface Concealer {
  /**
   * Takes note of the columns of the rows that come next; null when there is no telling any more.
   *
   * @throws Malformed if they come from where nobody looked: the catalog has changed since, or an older one was read
   */
  describe(columns: readonly Column[] | null): void
  /** Whether the rows that come now may pass as they are. */
  readonly isClear: boolean
  /**
   * A message of a row, with NULL for what is masked: the one value that every type has, in text and in binary.
   *
   * @throws Malformed if it is not what was described
   */
  conceal(row: Buffer): Buffer
}

/** The type, the length, and the number of values. */
const HEAD_BYTES = 7

export function createConcealer({ columns: hidden, known }: Pick<Hidden, 'columns' | 'known'>): Concealer {
  let isMasked: readonly boolean[] | null = null
  let isClear = false

  return {
    describe(columns) {
      if (columns?.some(({ table }) => table !== 0 && !known.has(table))) {
        throw new Malformed('a column is of no relation that the statement names')
      }
      isMasked = columns?.map(({ table, attribute }) => hidden.get(table)?.has(attribute) ?? false) ?? null
      isClear = isMasked?.every((masked) => !masked) ?? false
    },
    get isClear() {
      return isClear
    },
    conceal(row) {
      if (isMasked === null || row.readUInt16BE(HEAD_BYTES - 2) !== isMasked.length) {
        throw new Malformed('a row is not what was described')
      }
      const concealed = Buffer.allocUnsafe(row.length)
      let [from, to] = [HEAD_BYTES, row.copy(concealed, 0, 0, HEAD_BYTES)]
      for (const masked of isMasked) {
        const bytes = 4 + Math.max(0, row.readInt32BE(from))
        if (masked) to = concealed.writeInt32BE(-1, to)
        else to += row.copy(concealed, to, from, from + bytes)
        from += bytes
      }
      concealed.writeInt32BE(to - 1, 1)
      return concealed.subarray(0, to)
    },
  }
}
