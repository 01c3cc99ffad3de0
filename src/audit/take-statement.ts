import { setTimeout as sleep } from 'node:timers/promises'
import type { Tx } from '../platform/database.ts'
import type { Statement } from './export.ts'
import type { HeadFile } from './head.ts'
import { readState } from './store.ts'

/** A gateway signs what is committed within a second. */
const WAIT_MS = 3_000
const LOOK_MS = 100

/**
 * What an export that begins now can say of itself. It ends where the gateway's head is, once that covers all that the
 * store holds at this moment, so that the head vouches for the whole of it. If no gateway signs that in time (none runs,
 * and the last one was killed), it holds all that there is, and the head that there is.
 *
 * @param readHead what the gateway has signed by now; null if there is nothing
 */
export async function takeStatement(
  store: Tx,
  readHead: () => Promise<HeadFile | null>,
  { waitMs = WAIT_MS }: { waitMs?: number } = {},
): Promise<Statement> {
  const { seq: wanted } = await readState(store, 0)
  let head = await readHead()
  // Where there is none at all, none will come.
  for (const deadline = performance.now() + waitMs; head && head.seq < wanted && performance.now() < deadline; ) {
    await sleep(LOOK_MS)
    head = await readHead()
  }
  // After the head was read: a sound store holds whatever was signed by then, and perhaps more.
  const { seq, hash, knownHash } = await readState(store, head?.seq ?? 0)
  if (head === null || head.seq < wanted || head.seq > seq || knownHash === null) return { head, end: { seq, hash } }
  return { head, end: { seq: head.seq, hash: knownHash } }
}
