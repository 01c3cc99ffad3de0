import { GatewayError } from '../domain/error.ts'
import { type Party, type Principal, suspendable } from '../domain/principal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database } from '../platform/database.ts'
import type { Logger } from '../platform/logger.ts'
import { createSchemaCheck } from '../platform/schema.ts'

/** The first schema that knows of circuit breakers; the release before runs without. */
export const BREAKER_SCHEMA = 11

/** Milliseconds. */
export interface SuspensionTiming {
  /** Between two looks while nothing is watched, and while something is. */
  readonly idleMs: number
  readonly watchedMs: number
  /** How old the last look may be before what is watched is cut. */
  readonly blindMs: number
}

const SUSPENSION_TIMING: SuspensionTiming = { idleMs: 1_000, watchedMs: 300, blindMs: 1_000 }

/** Anybody may send a NOTIFY: hints that follow each other faster than this are left to the next look. */
const HINT_GAP_MS = 50

const NOBODY: readonly string[] = []

export type CutReason = 'suspended' | 'store_unreadable'

/** Who is stopped, and whom circuit breakers hold, as the store says, followed by every process. */
export interface Suspensions {
  /** Whether anyone on the calling side is stopped; everybody is before the first look. */
  isSuspended(principal: Principal): boolean
  /** The circuit breakers that hold anyone on the calling side, as `policy/name`, in order. */
  heldBy(principal: Principal): readonly string[]
  /** Looks again if this epoch, as an append returned it, is newer than what was seen. False if it cannot. */
  caughtUpTo(epoch: number): Promise<boolean>
  /**
   * Calls `onCut` once, when somebody on the calling side is stopped, or when the store could not be read for a second.
   * The function returned ends the watch.
   */
  watch(principal: Principal, onCut: (reason: CutReason) => void): () => void
  /** Looks for the first time, and follows from then on. Throws `GatewayError('store')` if it cannot. */
  start(): Promise<void>
  stop(): void
}

interface Watcher {
  readonly principal: Principal
  readonly since: number
  readonly onCut: (reason: CutReason) => void
}

// One statement is one snapshot: the lists are never older or newer than their epoch.
const LOOK = `
  SELECT e.epoch, CASE WHEN e.epoch = $1 THEN NULL ELSE
    (SELECT coalesce(json_agg(json_build_array(s.issuer, s.subject)), '[]') FROM countersign.suspension s) END AS parties,
    CASE WHEN e.epoch = $1 THEN NULL ELSE
    (SELECT coalesce(json_agg(json_build_array(h.issuer, h.subject, h.breaker) ORDER BY h.breaker), '[]')
     FROM countersign.breaker_hold h) END AS holds
  FROM countersign.suspension_epoch e`
const LOOK_BEFORE = `
  SELECT e.epoch, CASE WHEN e.epoch = $1 THEN NULL ELSE
    (SELECT coalesce(json_agg(json_build_array(s.issuer, s.subject)), '[]') FROM countersign.suspension s) END AS parties,
    NULL AS holds
  FROM countersign.suspension_epoch e`

interface Row {
  readonly epoch: number
  /** Null where the epoch is the one that was seen. */
  readonly parties: readonly (readonly [string, string])[] | null
  readonly holds: readonly (readonly [string, string, string])[] | null
}

export function createSuspensions(options: {
  database: Pick<Database, 'query' | 'listen'>
  clock: Clock
  log: Logger
  timing?: Partial<SuspensionTiming>
}): Suspensions {
  const { database, clock, log } = options
  const timing = { ...SUSPENSION_TIMING, ...options.timing }
  const hasSchema = createSchemaCheck()
  const watchers = new Set<Watcher>()
  let suspended: ReadonlySet<string> = new Set()
  let held: ReadonlyMap<string, readonly string[]> = new Map()
  let statement = LOOK_BEFORE
  let seenEpoch = -1
  let seenAt = Number.NEGATIVE_INFINITY
  let looking: Promise<void> | null = null
  let lookedAt = Number.NEGATIVE_INFINITY
  let isBlind = false
  let timer: NodeJS.Timeout | null = null
  let isStopped = false

  function isSuspended(principal: Principal): boolean {
    if (seenEpoch < 0) return true
    if (suspended.size === 0) return false
    return suspendable(principal).some((party) => suspended.has(keyOf(party)))
  }

  function heldBy(principal: Principal): readonly string[] {
    if (held.size === 0) return NOBODY
    return [...new Set(suspendable(principal).flatMap((party) => held.get(keyOf(party)) ?? NOBODY))].sort()
  }

  /** One look at a time, unless the one under way hangs. */
  function look(): Promise<void> {
    if (looking && clock.monotonic() - lookedAt < timing.blindMs) return looking
    lookedAt = clock.monotonic()
    const mine = readStore(lookedAt).finally(() => {
      if (looking === mine) looking = null
    })
    looking = mine
    return mine
  }

  async function readStore(startedAt: number): Promise<void> {
    const row = await readRow()
    // An answer that was overtaken by a later look says nothing.
    if (startedAt < seenAt) return
    seenAt = startedAt
    if (row.parties === null) return
    suspended = new Set(row.parties.map(([issuer, subject]) => keyOf({ issuer, subject })))
    const holds = (row.holds ?? []).map(([issuer, subject, breaker]) => ({ key: keyOf({ issuer, subject }), breaker }))
    held = new Map([...Map.groupBy(holds, ({ key }) => key)].map(([key, of]) => [key, of.map((one) => one.breaker)]))
    seenEpoch = row.epoch
    for (const watcher of watchers) if (isSuspended(watcher.principal)) cut(watcher, 'suspended')
  }

  async function readRow(): Promise<Row> {
    const { rows } = await database.query<Row>(statement, [seenEpoch])
    const [row] = rows
    if (!row) throw new GatewayError('store', 'the store has no suspension epoch')
    // Asked for after the look: what did not know of holds by then had none at the epoch that was seen.
    if (statement === LOOK || !(await hasSchema(database, BREAKER_SCHEMA))) return row
    statement = LOOK
    const all = await database.query<Row>(statement, [-1])
    return all.rows[0] ?? row
  }

  /** Whether the store could be read within the time that a blind process may go on. */
  async function tryLook(): Promise<boolean> {
    const failed = look().then(
      () => null,
      (error: unknown) => ({ error }),
    )
    const result = await Promise.race([failed, sleep(timing.blindMs, { error: 'no answer in time' })])
    if (result && !isBlind) log.warn({ err: result.error }, 'suspensions cannot be read')
    if (!result && isBlind) log.info('suspensions can be read again')
    isBlind = result !== null
    return result === null
  }

  async function caughtUpTo(epoch: number): Promise<boolean> {
    // A look that was under way may have begun before the epoch was raised; the second one did not.
    for (let attempt = 0; attempt < 2 && seenEpoch < epoch; attempt++) if (!(await tryLook())) break
    return seenEpoch >= epoch
  }

  function cut(watcher: Watcher, reason: CutReason): void {
    if (watchers.delete(watcher)) watcher.onCut(reason)
  }

  function tick(): void {
    const now = clock.monotonic()
    for (const watcher of watchers) {
      if (now - Math.max(seenAt, watcher.since) > timing.blindMs) cut(watcher, 'store_unreadable')
    }
    void tryLook()
    schedule()
  }

  function schedule(): void {
    if (timer) clearTimeout(timer)
    if (isStopped) return
    timer = setTimeout(tick, watchers.size > 0 ? timing.watchedMs : timing.idleMs)
    timer.unref()
  }

  function hear(): void {
    if (!isStopped && clock.monotonic() - lookedAt >= HINT_GAP_MS) void tryLook()
  }

  return {
    isSuspended,
    heldBy,
    caughtUpTo,
    watch(principal, onCut) {
      const watcher: Watcher = { principal, since: clock.monotonic(), onCut }
      watchers.add(watcher)
      if (watchers.size === 1) schedule()
      if (isSuspended(principal)) queueMicrotask(() => cut(watcher, 'suspended'))
      return () => void watchers.delete(watcher)
    },
    async start() {
      await look()
      schedule()
      try {
        await database.listen('countersign_suspension', hear)
      } catch (error) {
        log.warn({ err: error }, 'suspensions are followed without hints')
      }
    },
    stop() {
      isStopped = true
      if (timer) clearTimeout(timer)
      watchers.clear()
    },
  }
}

/** Neither part can hold a NUL, so that no two parties have the same key. */
function keyOf({ issuer, subject }: Party): string {
  return `${issuer}\0${subject}`
}

function sleep<Value>(ms: number, value: Value): Promise<Value> {
  return new Promise((resolve) => setTimeout(resolve, ms, value).unref())
}
