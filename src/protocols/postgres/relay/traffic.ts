import type { Hash } from 'node:crypto'
import type { Watch } from '../../../domain/call.ts'
import type { Column } from '../wire/backend.ts'

/** What went by while something was forwarded. */
export interface Traffic {
  bytesIn: number
  bytesOut: number
  rows: number
  /** Whether the upstream asked the client for the data of a copy. */
  hasCopied: boolean
  /** Over the data of copies that came from the client; null if there were none. */
  copied: Hash | null
}

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

/** On which answers pass to the client: within limits, and without what is masked. */
export interface Terms extends Pick<Watch, 'spendBytes' | 'spendRows'> {
  /** Before rows come it is told of their columns: each Execute is described right before. */
  readonly concealer: Concealer | null
}

export const ANY_TERMS: Terms = { spendBytes: () => true, spendRows: () => true, concealer: null }

export function noTraffic(): Traffic {
  return { bytesIn: 0, bytesOut: 0, rows: 0, hasCopied: false, copied: null }
}
