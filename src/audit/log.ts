import { randomBytes } from 'node:crypto'
import type { Intent } from '../domain/call.ts'
import type { Appended, Entry, Kind } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database, Tx } from '../platform/database.ts'
import type { Metrics } from '../platform/metrics.ts'
import { createCommitments } from './commitments.ts'
import { type EntryBody, writeBody } from './entry-body.ts'
import { createGroupCommit, LIMITS, type Limits } from './group-commit.ts'
import { append, isBehind, type Link, readParties, readState } from './store.ts'
import type { StoreGuard } from './store-guard.ts'

export interface AuditLog {
  /**
   * Commits one entry, together with those of others that are appended at the same time.
   * The answer's `seq` is this entry's, its `hash` and `epoch` those of the chain right after the commit.
   * Throws `GatewayError('audit')` within a few seconds; an `outcome` is written again until it is committed instead.
   */
  append(entry: Entry): Promise<Appended>
  /** The only maker of an `Intent`: proof that the entry is committed and chained. Throws `GatewayError`. */
  intent(entry: Entry & { readonly kind: 'intent'; readonly callId: string }): Promise<Intent>
  /** Chains entries in a caller's transaction, which must do nothing after it but commit: it locks the chain's head. */
  within(tx: Tx, entries: readonly Entry[]): Promise<Appended>
  close(): Promise<void>
}

/** What lets a call go further. None of it is written while the store may be an earlier one than it was. */
const RELEASING: ReadonlySet<Kind> = new Set<Kind>(['intent', 'held', 'vote', 'spent'])
/** What would be lost for good if it were refused: it is written again until it is committed. */
const KEPT: ReadonlySet<Kind> = new Set<Kind>(['outcome', 'token_refused', 'malformed'])
const PARTIES_RECALLED = 5_000

interface Options {
  readonly database: Database
  readonly guard: Pick<StoreGuard, 'isAcknowledged' | 'known' | 'observe' | 'offer' | 'check'>
  readonly clock: Clock
  readonly metrics: Pick<Metrics, 'auditBatchEntries' | 'auditAppendSeconds' | 'auditBytes'>
  readonly limits?: Limits
  readonly random?: (bytes: number) => Uint8Array
}

/** Opens the log for writing, on a connection of its own. Throws `GatewayError('store')` if it cannot be read. */
export async function openAuditLog({ database, guard, clock, metrics, ...options }: Options): Promise<AuditLog> {
  const random = options.random ?? randomBytes
  const writer = Buffer.from(random(16)).toString('base64url')
  const commitments = createCommitments(random)
  let { erasures } = await readState(database, 0)
  commitments.recall(await readParties(database, PARTIES_RECALLED))
  const connection = await database.dedicated()
  let written = 0

  function encode(entry: Entry, n: number, isRetry: boolean): EntryBody {
    return writeBody(entry, { writer, n, at: clock.now(), isRetry }, commitments)
  }

  function assertReleasable(entry: Entry): void {
    if (RELEASING.has(entry.kind) && !guard.isAcknowledged()) {
      throw new GatewayError('store', 'the store is not the one it was: run countersign store recover')
    }
  }

  /** Until an operator has acknowledged the store, what is still written goes to it as it is. */
  function known() {
    return guard.isAcknowledged() ? guard.known() : null
  }

  function noteErasures(link: Link): void {
    if (link.erasures === erasures) return
    erasures = link.erasures
    commitments.forget()
  }

  const group = createGroupCommit({
    clock,
    limits: options.limits ?? LIMITS,
    send: (batch) => append(connection, batch, known()),
    committed(link, bodies, tookMs) {
      guard.observe(
        link,
        bodies.map(({ text }) => text),
      )
      for (const { fresh } of bodies) for (const commitment of fresh) commitment.isStored = true
      noteErasures(link)
      metrics.auditBatchEntries.observe(bodies.length)
      metrics.auditAppendSeconds.observe(tookMs / 1000)
      for (const { text } of bodies) metrics.auditBytes.observe(text.length)
    },
    doubted: () => guard.check(),
  })

  async function add(entry: Entry) {
    assertReleasable(entry)
    const n = ++written
    const again = KEPT.has(entry.kind) ? () => encode(entry, n, true) : null
    return await group.add({ body: encode(entry, n, false), again })
  }

  return {
    async append(entry) {
      const { seq, link } = await add(entry)
      return { seq, hash: link.hash.toString('hex'), epoch: link.epoch }
    },

    async intent(entry) {
      const { seq, link } = await add(entry)
      // The brand has no value: nothing but this line can make an Intent, and it comes after the commit.
      return { callId: entry.callId, seq, epoch: link.epoch } as Intent
    },

    async within(tx, entries) {
      for (const entry of entries) assertReleasable(entry)
      const bodies = entries.map((entry) => encode(entry, ++written, false))
      const batch = { bodies: bodies.map(({ text }) => text).join('\n'), fresh: bodies.flatMap(({ fresh }) => fresh) }
      try {
        const link = await append(tx, batch, known())
        // Whether the caller's transaction commits is not known here.
        guard.offer(
          link,
          bodies.map(({ text }) => text),
        )
        return { seq: link.seq, hash: link.hash.toString('hex'), epoch: link.epoch }
      } catch (error) {
        if (isBehind(error)) void guard.check()
        throw error instanceof GatewayError
          ? error
          : new GatewayError('audit', 'entries were refused', { cause: error })
      }
    },

    async close() {
      await group.close()
      await connection.close()
    },
  }
}
