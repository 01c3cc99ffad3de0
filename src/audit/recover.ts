import { randomBytes } from 'node:crypto'
import type { Entry } from '../domain/entry.ts'
import type { Party } from '../domain/principal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database, Tx } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import { sealAcknowledgement } from './acknowledgement.ts'
import { createCommitments } from './commitments.ts'
import { writeBody } from './entry-body.ts'
import { readHeadFile, type SeenHead, writeHeadFile } from './head.ts'
import { append, readState, type StoreState, writeAcknowledgement } from './store.ts'

interface Options {
  readonly database: Database
  readonly keys: Pick<Keys, 'checkpoint' | 'mac'>
  /** data_dir/head.json */
  readonly path: string
  readonly clock: Clock
  /** Who says so, if that is known, and why. */
  readonly operator?: Party
  readonly reason?: string
  /** Withdraws every open approval in the transaction it is given, and gives the entries that say so. */
  withdrawAll(tx: Tx): Promise<readonly Entry[]>
}

export interface Recovered {
  /** What this data directory had on record; null if nothing, or nothing readable. */
  readonly known: SeenHead | null
  readonly found: StoreState
  /** Of the entry `store_recovered`. */
  readonly seq: number
}

/**
 * An operator's acknowledgement that the store, as it is now, may be used: withdraws what was open, chains the entry
 * `store_recovered`, leaves a word that every replica checks, and this directory's own record of the store.
 */
export async function recover(options: Options): Promise<Recovered> {
  const { database, keys, path, clock, withdrawAll } = options
  // A record that cannot be read is the same as none to an operator who vouches for the store.
  const known = await readHeadFile(path, keys.checkpoint).catch(() => null)
  const atMs = clock.now()
  const { found, head } = await database.transaction(async (tx) => {
    const withdrawn = await withdrawAll(tx)
    const found = await readState(tx, known?.seq ?? 0)
    const { systemIdentifier, timeline } = found
    const link = await append(tx, encode([...withdrawn, describe(options, { known, found })], atMs), null)
    const head: SeenHead = { systemIdentifier, timeline, seq: link.seq, hash: link.hash, atMs }
    // After the append, though that locks the chain: it names the entry. Nobody is being served at this moment.
    await writeAcknowledgement(tx, sealAcknowledgement(head, keys.mac))
    return { found, head }
  })
  await writeHeadFile(path, head, keys.checkpoint)
  return { known, found, seq: head.seq }
}

function describe({ operator, reason }: Options, what: { known: SeenHead | null; found: StoreState }): Entry {
  const { known, found } = what
  return {
    kind: 'store_recovered',
    ...(operator && { reviewer: operator }),
    ...(reason !== undefined && { reason }),
    detail: {
      found: { seq: found.seq, hash: found.hash.toString('hex'), timeline: found.timeline },
      known: known && { seq: known.seq, hash: known.hash.toString('hex'), timeline: known.timeline },
      system_identifier: found.systemIdentifier,
    },
  }
}

/** A batch by a writer of its own, which writes nothing else. */
function encode(entries: readonly Entry[], atMs: number) {
  const writer = randomBytes(16).toString('base64url')
  const commitments = createCommitments(randomBytes)
  const bodies = entries.map((entry, index) =>
    writeBody(entry, { writer, n: index + 1, at: atMs, isRetry: false }, commitments),
  )
  return { bodies: bodies.map(({ text }) => text).join('\n'), fresh: bodies.flatMap(({ fresh }) => fresh) }
}
