import { setTimeout as sleep } from 'node:timers/promises'
import { GatewayError } from '../domain/error.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'
import { isGenuine } from './acknowledgement.ts'
import { createFollower } from './follower.ts'
import { readHeadFile, type SeenHead, writeHeadFile } from './head.ts'
import { type Head, type Known, type Link, readAcknowledgement, readState, type StoreState } from './store.ts'

/** Watches that the store is the one it was, and holds all that this gateway has seen committed. */
export interface StoreGuard {
  /** False from the moment the store was found to be another or an earlier one until an operator acknowledged it. */
  isAcknowledged(): boolean
  /** What the store must hold for an entry to be chained to it; null before the first check. */
  known(): Known | null
  /** Told of a commit that this process was answered, and of the bodies that it chained, one after the other. */
  observe(link: Link, bodies: readonly string[]): void
  /** Told of what was chained in somebody's transaction, which may yet be rolled back: `persist` says that it was not. */
  offer(link: Link, bodies: readonly string[]): void
  /** Compares with the store now. Never throws: a store that does not answer is neither sound nor another one. */
  check(): Promise<void>
  /**
   * Writes down, durably, all that is committed by now, so that a restore that lost it will be noticed. Awaited before
   * a spent approval's call is forwarded, with the number of the last entry of its transaction. Throws
   * `GatewayError('store')` if the store is in doubt, or does not hold those entries as they were chained.
   */
  persist(seq?: number): Promise<void>
  /**
   * Begins to follow the store. `onFailover` must withdraw older approvals and record it; it is called again if it throws.
   * `onEnded` is told of approvals that anybody's entries say are over.
   */
  follow(onFailover: (found: Failover) => Promise<void>, onEnded?: (approvalIds: readonly string[]) => void): void
  close(): Promise<void>
}

export const DOUBTS = {
  head_missing: 'the store has entries, and this gateway has no record of them',
  head_unreadable: 'the record of the last entry seen is damaged, or signed by no key of this gateway',
  other_system: 'the store is another database, or one that was restored from a dump',
  other_timeline: 'the store was promoted from a replica, or restored',
  behind: 'the store lacks entries that were committed',
  forked: 'the store has other entries in the place of some that were committed',
} as const
export type Doubt = keyof typeof DOUBTS

export interface Failover {
  readonly doubt: Doubt
  /** What this gateway had seen; null if it has no record. */
  readonly known: SeenHead | null
  readonly found: StoreState
  /** Approvals opened before this moment are void; milliseconds since the epoch. */
  readonly olderThanMs: number
}

interface Options {
  readonly database: Database
  /** data_dir/head.json */
  readonly path: string
  readonly keys: Pick<Keys, 'checkpoint' | 'mac'>
  readonly clock: Clock
  readonly log: Logger
  readonly pollMs?: number
}

/** Transactions that are remembered until it is known whether they were committed. */
const MOST_OFFERED = 1_000

/** Said of the head file when what it records was acknowledged to be lost. */
const ANEW = -2

/** Reads the head file and compares it with the store. Throws `GatewayError('store')` if the store does not answer. */
export async function openStoreGuard(options: Options): Promise<StoreGuard> {
  const { database, path, keys, clock, log, pollMs = 1_000 } = options
  const follower = createFollower((ids) => hearEnded(ids))
  const offered = new Map<number, { readonly firstSeq: number; readonly bodies: readonly string[] }>()
  let isClosed = false
  let wake = () => {}
  let isFollowing = false
  let hearEnded: (approvalIds: readonly string[]) => void = () => undefined
  let head: SeenHead | null = null
  let savedSeq = -1
  let doubt: Doubt | null = null
  let isHandled = false
  let handle: ((found: Failover) => Promise<void>) | null = null
  let checking: Promise<void> = Promise.resolve()
  let saving: Promise<void> | null = null
  let following: Promise<void> = Promise.resolve()

  async function look(): Promise<void> {
    if (doubt !== null) return
    // Entries may be committed while the store answers: it is compared with what was known when it was asked.
    const asked = head
    const found = await readState(database, asked?.seq ?? 0)
    const why = findDoubt(asked, found) ?? ((await isContinued(found)) ? null : 'forked')
    if (why === null) {
      advance(found)
      if (head === null) head = { ...seen(found), atMs: clock.now() }
      return
    }
    doubt = why
    isHandled = false
    log.error({ doubt, known_seq: asked?.seq, found_seq: found.seq }, `calls are refused: ${DOUBTS[why]}`)
    wake()
  }

  /** What came before this process began to look is taken as it is. */
  async function isContinued(found: StoreState): Promise<boolean> {
    if (isFollowing) return follower.reaches(database, found)
    isFollowing = true
    follower.begin(found)
    return true
  }

  /** In doubt: has it been dealt with, and has an operator acknowledged what the store is now? */
  async function reconsider(why: Doubt): Promise<void> {
    if (!handle) return
    const found = await readState(database, head?.seq ?? 0)
    const acknowledgedAtMs = await findAcknowledgement(found)
    if (!isHandled) {
      await handle({ doubt: why, known: head, found, olderThanMs: acknowledgedAtMs ?? clock.now() })
      isHandled = true
    }
    if (acknowledgedAtMs === null) return
    head = { ...seen(found), atMs: clock.now() }
    follower.begin(found)
    isFollowing = true
    savedSeq = ANEW
    await save()
    doubt = null
    log.warn({ seq: head.seq }, 'an operator acknowledged the store; calls are taken again')
  }

  /** When an operator acknowledged this store, after all that this gateway has seen; null if none did. */
  async function findAcknowledgement(found: StoreState): Promise<number | null> {
    if (head === null) {
      // Only `store recover` in this data directory makes up for a missing record, and it leaves one.
      const recovered = await readHeadFile(path, keys.checkpoint).catch(() => null)
      return recovered && isSameStore(recovered, found) ? recovered.atMs : null
    }
    const acknowledgement = await readAcknowledgement(database)
    if (!acknowledgement || !isGenuine(acknowledgement, keys.mac)) return null
    if (!isSameStore(acknowledgement, found)) return null
    // One from before what was lost may itself have come back with the restore.
    return acknowledgement.atMs > head.atMs ? acknowledgement.atMs : null
  }

  function advance({ seq, hash }: Head): void {
    if (doubt === null && head !== null && seq >= head.seq) head = { ...head, seq, hash, atMs: clock.now() }
  }

  /** The file may be shared with a command beside this gateway, which has seen more: it never goes back. */
  async function isRecorded({ seq, systemIdentifier, timeline }: SeenHead): Promise<boolean> {
    const recorded = await readHeadFile(path, keys.checkpoint).catch(() => null)
    if (recorded?.systemIdentifier !== systemIdentifier || recorded.timeline !== timeline) return false
    return recorded.seq >= seq
  }

  async function save(): Promise<void> {
    const wanted = head?.seq ?? -1
    while (savedSeq < wanted) {
      saving ??= write().finally(() => {
        saving = null
      })
      await saving
    }
  }

  async function write(): Promise<void> {
    if (head === null) return
    const writing = head
    const isAnew = savedSeq === ANEW
    if (isAnew || !(await isRecorded(writing))) await writeHeadFile(path, writing, keys.checkpoint)
    savedSeq = writing.seq
  }

  /** One at a time; each begins after it was asked for. */
  function checkAfresh(): Promise<void> {
    checking = checking.catch(() => undefined).then(look)
    return checking
  }

  /** Dealing with a doubt appends an entry, and an append may be what waits for a check: they are kept apart. */
  async function run(): Promise<void> {
    while (!isClosed) {
      const rest = new AbortController()
      wake = () => rest.abort()
      try {
        await checkAfresh()
        await (doubt === null ? save() : reconsider(doubt))
      } catch (error) {
        log.warn({ err: error }, 'the store could not be compared with what was seen of it')
      }
      // Woken early by an abort, which is no fault.
      if (!isClosed) await sleep(pollMs, undefined, { signal: rest.signal, ref: false }).catch(() => undefined)
    }
  }

  try {
    head = await readHeadFile(path, keys.checkpoint)
    savedSeq = head?.seq ?? -1
  } catch (error) {
    doubt = 'head_unreadable'
    log.error({ err: error }, `calls are refused: ${DOUBTS.head_unreadable}`)
  }
  await checkAfresh()

  return {
    isAcknowledged: () => doubt === null,
    known: () => head,
    observe(link, bodies) {
      advance(link)
      follower.expect(link.firstSeq, bodies)
    },
    offer({ seq, firstSeq }, bodies) {
      offered.set(seq, { firstSeq, bodies })
      const [oldest] = offered.keys()
      if (offered.size > MOST_OFFERED && oldest !== undefined) offered.delete(oldest)
    },
    check: () =>
      checkAfresh().catch((error: unknown) => {
        log.warn({ err: error }, 'the store could not be compared with what was seen of it')
      }),
    async persist(seq) {
      const mine = seq === undefined ? undefined : offered.get(seq)
      if (mine) follower.expectAlso(mine.firstSeq, mine.bodies)
      await checkAfresh()
      if (doubt !== null) throw new GatewayError('store', DOUBTS[doubt])
      await save()
    },
    follow(onFailover, onEnded) {
      handle = onFailover
      if (onEnded) hearEnded = onEnded
      following = run()
    },
    async close() {
      isClosed = true
      wake()
      await following
      if (doubt !== null) return
      try {
        // What was chained inside callers' transactions was not observed yet.
        await checkAfresh()
        if (doubt === null) await save()
      } catch (error) {
        log.warn({ err: error }, 'the last entry seen was not recorded')
      }
    },
  }
}

function findDoubt(known: SeenHead | null, found: StoreState): Doubt | null {
  if (known === null) return found.seq === 0 ? null : 'head_missing'
  if (found.systemIdentifier !== known.systemIdentifier) return 'other_system'
  if (found.timeline !== known.timeline) return 'other_timeline'
  if (found.seq < known.seq) return 'behind'
  // Before the first entry there is nothing to compare.
  if (known.seq > 0 && !found.knownHash?.equals(known.hash)) return 'forked'
  return null
}

function isSameStore(
  a: { readonly systemIdentifier: string; readonly timeline: string },
  b: { readonly systemIdentifier: string; readonly timeline: string },
): boolean {
  return a.systemIdentifier === b.systemIdentifier && a.timeline === b.timeline
}

function seen({ systemIdentifier, timeline, seq, hash }: StoreState): Omit<SeenHead, 'atMs'> {
  return { systemIdentifier, timeline, seq, hash }
}
