import type { Hidden } from '../catalog/hidden.ts'
import type { Concealer } from '../relay/traffic.ts'
import { Malformed } from '../wire/fields.ts'

const ANOTHER = new Malformed('a row is not what was described')
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
      if (isMasked === null || row.length < HEAD_BYTES || row.readUInt16BE(HEAD_BYTES - 2) !== isMasked.length) {
        throw ANOTHER
      }
      const concealed = Buffer.allocUnsafe(row.length)
      // Where the value is, and how far everything before it was copied, to where.
      let [at, copied, to] = [HEAD_BYTES, 0, 0]
      for (const masked of isMasked) {
        if (at + 4 > row.length) throw ANOTHER
        const length = row.readInt32BE(at)
        const end = at + 4 + Math.max(0, length)
        if (length < -1 || end > row.length) throw ANOTHER
        if (masked) {
          to += row.copy(concealed, to, copied, at)
          to = concealed.writeInt32BE(-1, to)
          copied = end
        }
        at = end
      }
      if (at !== row.length) throw ANOTHER
      to += row.copy(concealed, to, copied, at)
      concealed.writeInt32BE(to - 1, 1)
      return concealed.subarray(0, to)
    },
  }
}
