import type { Tx } from '../platform/database.ts'
import { entryHash, leafHash } from './chain.ts'
import { type Head, readStretch } from './store.ts'

/** Entries whose leaves are asked for at once: to follow them takes some milliseconds, in which nothing else is done. */
const PAGE = 1_000
/** Leaves that are remembered once they were followed, for answers that come later than the look that saw their entries. */
const REMEMBERED = 65_536
const LEAF_BYTES = 32
/** Own entries that wait to be met. Far more than are written between two looks. */
const MOST_OWN = 200_000

/**
 * Follows the chain as it grows, leaf by leaf, and knows what this process was told of its own entries. A store that
 * answers that it chained an entry and did not, or chained another one, is found out at the next look, though its chain
 * agrees with itself.
 */
export interface Follower {
  /** Goes on from here, whatever came before. */
  begin(at: Head): void
  /** Told of a commit that this process was answered: its entries, and the number of the first. */
  expect(firstSeq: number, bodies: readonly string[]): void
  /** The same for entries of somebody's transaction, which may be answered out of order. */
  expectAlso(firstSeq: number, bodies: readonly string[]): void
  /** Whether the chain goes on to this head, and holds what was answered. Throws what reading it throws. */
  reaches(tx: Tx, head: Head): Promise<boolean>
}

/** @param noteEnded told of approvals that anybody's entries say are over */
export function createFollower(noteEnded: (approvalIds: readonly string[]) => void): Follower {
  const ring = Buffer.alloc(REMEMBERED * LEAF_BYTES)
  // Leaves as texts of their bytes: to keep the bodies for a second would cost more than to hash them now.
  const own = new Map<number, string>()
  let at: Head | null = null
  /** The first entry whose leaf is remembered. */
  let ringFrom = 1
  let begunSeq = 0
  let isBegunAgain = false
  let lastAnswered = 0
  let isContradicted = false

  function slot(seq: number): Buffer {
    const offset = (seq % REMEMBERED) * LEAF_BYTES
    return ring.subarray(offset, offset + LEAF_BYTES)
  }

  function take(firstSeq: number, bodies: readonly string[]): void {
    for (const [index, body] of bodies.entries()) {
      const seq = firstSeq + index
      const leaf = leafHash(body)
      if (at === null || seq > at.seq) own.set(seq, leaf.toString('latin1'))
      else if (seq >= ringFrom) isContradicted ||= !slot(seq).equals(leaf)
      // After an acknowledgement an answer may still be on its way; otherwise none comes for what was long ago.
      else if (!(isBegunAgain && seq <= begunSeq)) isContradicted = true
    }
    for (const seq of own.keys()) {
      if (own.size <= MOST_OWN) break
      own.delete(seq)
    }
  }

  function pass(leaves: readonly Buffer[]): void {
    for (const leaf of leaves) {
      if (at === null) return
      const seq = at.seq + 1
      const mine = own.get(seq)
      if (mine !== undefined) {
        own.delete(seq)
        isContradicted ||= leaf.toString('latin1') !== mine
      }
      leaf.copy(slot(seq))
      at = { seq, hash: entryHash(at.hash, leaf) }
      ringFrom = Math.max(ringFrom, seq - REMEMBERED + 1)
    }
  }

  return {
    begin(head) {
      isBegunAgain = at !== null
      at = head
      begunSeq = head.seq
      ringFrom = head.seq + 1
      lastAnswered = 0
      isContradicted = false
      own.clear()
    },
    expect(firstSeq, bodies) {
      // One commit after the other: each is answered with what comes after the one before.
      if (firstSeq <= lastAnswered) isContradicted = true
      lastAnswered = firstSeq + bodies.length - 1
      take(firstSeq, bodies)
    },
    expectAlso: take,
    async reaches(tx, head) {
      while (at !== null && at.seq < head.seq && !isContradicted) {
        const count = Math.min(PAGE, head.seq - at.seq)
        const { leaves, ended } = await readStretch(tx, { after: at.seq, count })
        if (leaves.length !== count) return false
        pass(leaves)
        if (ended.length > 0) noteEnded(ended)
      }
      return !isContradicted && (at === null || at.seq > head.seq || at.hash.equals(head.hash))
    },
  }
}
