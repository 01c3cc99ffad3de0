import type { Tx } from '../platform/database.ts'
import type { KeyPair, SigningKey } from '../platform/keys.ts'
import { GENESIS } from './chain.ts'
import { readEntries } from './entries.ts'
import { readHeadFile, type SeenHead } from './head.ts'
import { type LogRow, readRows, readStoreHead } from './rows.ts'
import type { Head } from './store.ts'
import { type Finding, type Verdict, verifyLog } from './verify.ts'

/** How the chain stands, as far as a look at its end can tell. */
export interface ChainState {
  readonly head: Head
  /** What this gateway has signed last; null if there is nothing, or nothing that can be read. */
  readonly signed: SeenHead | null
  /** What a look at the last entries finds; `unanchored` if what was signed last is not among them. */
  readonly verdict: Verdict
  readonly findings: readonly Finding[]
  /** The first of the entries that were looked at; 0 if there are none. */
  readonly checkedFrom: number
}

/** Entries at the end of the log that are recomputed. `audit verify` recomputes all. */
const LAST = 200
/** The head is signed every second: where entries come fast, more of them are looked at to reach it. */
const MOST = 2_000

/** Recomputes the last entries, and compares them with what was signed. */
export async function readChainState(
  tx: Tx,
  how: { readonly headPath: string; readonly checkpoint: KeyPair<SigningKey> },
): Promise<ChainState> {
  // Before the store is asked: a sound one holds whatever was signed by then.
  const signed = await readHeadFile(how.headPath, how.checkpoint).catch(() => null)
  const head = await readStoreHead(tx)
  const first = Math.max(head.seq - MOST, Math.min(head.seq - LAST, (signed?.seq ?? head.seq) - 1), 0)
  const [before] = first === 0 ? [] : await readEntries(tx, [first])
  const start: Head = { seq: first, hash: first === 0 ? GENESIS : (before?.hash ?? GENESIS) }
  const name = 'the head that was signed last'
  const { verdict, findings } = await verifyLog(upTo(readRows(tx, first), head.seq), {
    start,
    witnesses: signed ? [{ ...signed, name, isSigned: true, isLater: false }] : [],
  })
  return { head, signed, verdict, findings, checkedFrom: head.seq === 0 ? 0 : first + 1 }
}

/** The log goes on while it is read. */
async function* upTo(rows: AsyncIterable<LogRow>, seq: number): AsyncGenerator<LogRow> {
  for await (const row of rows) {
    if (row.seq > seq) return
    yield row
    if (row.seq === seq) return
  }
}
