import { randomBytes } from 'node:crypto'
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
  /** Withdraws every open approval, with reason `store_failover`, in the transaction it is given. */
  withdrawAll(tx: Tx): Promise<void>
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
    await withdrawAll(tx)
    const found = await readState(tx, known?.seq ?? 0)
    const { systemIdentifier, timeline } = found
    const link = await append(tx, describe(options, { known, found, atMs }), null)
    const head: SeenHead = { systemIdentifier, timeline, seq: link.seq, hash: link.hash, atMs }
    // After the append, though that locks the chain: it names the entry. Nobody is being served at this moment.
    await writeAcknowledgement(tx, sealAcknowledgement(head, keys.mac))
    return { found, head }
  })
  await writeHeadFile(path, head, keys.checkpoint)
  return { known, found, seq: head.seq }
}

function describe({ operator, reason }: Options, what: { known: SeenHead | null; found: StoreState; atMs: number }) {
  const { known, found, atMs } = what
  const stamp = { writer: randomBytes(16).toString('base64url'), n: 1, at: atMs, isRetry: false }
  const detail = {
    found: { seq: found.seq, hash: found.hash.toString('hex'), timeline: found.timeline },
    known: known && { seq: known.seq, hash: known.hash.toString('hex'), timeline: known.timeline },
    system_identifier: found.systemIdentifier,
  }
  const { text, fresh } = writeBody(
    {
      kind: 'store_recovered',
      ...(operator && { reviewer: operator }),
      ...(reason !== undefined && { reason }),
      detail,
    },
    stamp,
    createCommitments(randomBytes),
  )
  return { bodies: text, fresh }
}
