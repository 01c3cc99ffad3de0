import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { GatewayError } from '../domain/error.ts'
import type { Clock } from '../platform/clock.ts'
import type { EntryBody } from './entry-body.ts'
import { type Batch, isBehind, isRolledBack, type Link } from './store.ts'

export const LIMITS = {
  /** Entries and bytes in one commit. */
  batchEntries: 1_000,
  batchBytes: 1024 * 1024,
  /** Entries that may wait; one more is refused at once. */
  queueEntries: 20_000,
  /** How long what nobody waits for looks out for company. */
  lingerMs: 5,
  /** How long an append may take, before it is refused. */
  appendMs: 3_000,
  /** How long closing waits for what is still to be written. */
  closeMs: 5_000,
} as const
export type Limits = { readonly [name in keyof typeof LIMITS]: number }

const EXPIRY_MS = 250
const BACKOFF_MS = { first: 50, most: 1_000 }

export interface GroupCommit {
  /** Resolves once committed; throws `GatewayError('audit')`. */
  add(item: Item): Promise<Committed>
  close(): Promise<void>
}

export interface Item {
  readonly body: EntryBody
  /**
   * Set for what must not be lost (what became of a call that was forwarded): it is written again, by this body, until
   * it is known to be committed, and nobody waits for it. Without, an entry that may or may not have been committed is
   * refused.
   */
  readonly again: (() => EntryBody) | null
}

export interface Committed {
  /** The entry's own sequence number. */
  readonly seq: number
  /** The commit it was part of. */
  readonly link: Link
}

interface Waiting extends Item {
  body: EntryBody
  readonly since: number
  resolve(committed: Committed): void
  reject(error: GatewayError): void
  isSettled: boolean
}

interface Options {
  readonly clock: Clock
  readonly limits: Limits
  send(batch: Batch): Promise<Link>
  /** Told of each commit, before its entries are answered. */
  committed(link: Link, bodies: readonly EntryBody[], tookMs: number): void
  /** Told that the store answered as another one would, or not at all, before anything else is sent to it. */
  doubted(error: unknown): Promise<void>
}

/**
 * Commits entries in groups: while one commit is under way the next group gathers, so that a commit is shared by all who
 * wait for it. What became of one call goes along with the intent of the next: a commit of its own would be one that the
 * next has to wait for.
 */
export function createGroupCommit({ clock, limits, send, committed, doubted }: Options): GroupCommit {
  let queue: Waiting[] = []
  let inFlight: readonly Waiting[] = []
  let isRunning = false
  let isClosing = false
  let failures = 0
  let idle = () => {}
  let hasten = () => {}
  const expiry = setInterval(expire, EXPIRY_MS)
  expiry.unref()

  function add({ body, again }: Item): Promise<Committed> {
    if (isClosing) return Promise.reject(new GatewayError('audit', 'the audit log is closed'))
    if (queue.length >= limits.queueEntries) return Promise.reject(new GatewayError('audit', 'too many entries wait'))
    return new Promise((resolve, reject) => {
      queue.push({ body, again, since: clock.monotonic(), resolve, reject, isSettled: false })
      if (again === null) hasten()
      if (!isRunning) void run()
    })
  }

  async function run(): Promise<void> {
    isRunning = true
    while (queue.length > 0) {
      if (!isClosing && queue.every(({ again }) => again !== null)) await linger()
      // What else is appended in this turn of the event loop goes along.
      await nextTurn()
      inFlight = take()
      if (inFlight.length > 0) await commit(inFlight)
      inFlight = []
      if (failures > 0) await sleep(Math.min(BACKOFF_MS.first * 2 ** failures, BACKOFF_MS.most))
    }
    isRunning = false
    idle()
  }

  function linger(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limits.lingerMs)
      hasten = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  function take(): readonly Waiting[] {
    let bytes = 0
    let count = 0
    for (const { body } of queue) {
      bytes += body.text.length
      if (count === limits.batchEntries || (count > 0 && bytes > limits.batchBytes)) break
      count++
    }
    const batch = queue.slice(0, count).filter(({ isSettled }) => !isSettled)
    queue = queue.slice(count)
    return batch
  }

  async function commit(batch: readonly Waiting[]): Promise<void> {
    const bodies = batch.map(({ body }) => body)
    const startedAt = clock.monotonic()
    try {
      const link = await send({
        bodies: bodies.map(({ text }) => text).join('\n'),
        fresh: bodies.flatMap((b) => b.fresh),
      })
      failures = 0
      committed(link, bodies, clock.monotonic() - startedAt)
      for (const [index, waiting] of batch.entries()) answer(waiting, { seq: link.firstSeq + index, link })
    } catch (error) {
      await recover(batch, error)
    }
  }

  async function recover(batch: readonly Waiting[], error: unknown): Promise<void> {
    if (isBehind(error)) {
      failures++
      await doubted(error)
      putBack(batch.filter((waiting) => keep(waiting, error)))
    } else if (isRolledBack(error)) {
      // Nobody's entry is at fault and nothing was written: all go on waiting, each up to its deadline.
      failures++
      putBack(batch)
    } else if (error instanceof GatewayError) {
      failures++
      const kept = batch.filter((waiting) => keep(waiting, error))
      for (const waiting of kept) if (waiting.again) waiting.body = waiting.again()
      putBack(kept)
      await doubted(error)
    } else if (batch.length === 1) {
      for (const waiting of batch)
        fail(waiting, new GatewayError('audit', 'the store refused an entry', { cause: error }))
    } else {
      // One entry that the store cannot take may not cost the others theirs: halves, until it is alone.
      const middle = batch.length >> 1
      await commit(batch.slice(0, middle))
      await commit(batch.slice(middle))
    }
  }

  /** Refuses the entry, unless it is one to be written again. */
  function keep(waiting: Waiting, cause: unknown): boolean {
    if (waiting.again) return true
    fail(waiting, new GatewayError('audit', 'it is not known whether an entry was committed', { cause }))
    return false
  }

  function putBack(batch: readonly Waiting[]): void {
    queue = [...batch, ...queue]
  }

  function expire(): void {
    const oldest = clock.monotonic() - limits.appendMs
    for (const waiting of [...inFlight, ...queue]) {
      if (waiting.since > oldest) break
      if (!waiting.again)
        fail(waiting, new GatewayError('audit', `an entry was not committed in ${limits.appendMs} ms`))
    }
  }

  async function close(): Promise<void> {
    isClosing = true
    hasten()
    if (isRunning) {
      const drained = new Promise<void>((resolve) => {
        idle = resolve
      })
      await Promise.race([drained, sleep(limits.closeMs, undefined, { ref: false })])
    }
    clearInterval(expiry)
    for (const waiting of [...inFlight, ...queue]) fail(waiting, new GatewayError('audit', 'the audit log was closed'))
    queue = []
  }

  return { add, close }
}

function answer(waiting: Waiting, committed: Committed): void {
  if (waiting.isSettled) return
  waiting.isSettled = true
  waiting.resolve(committed)
}

function fail(waiting: Waiting, error: GatewayError): void {
  if (waiting.isSettled) return
  waiting.isSettled = true
  waiting.reject(error)
}
