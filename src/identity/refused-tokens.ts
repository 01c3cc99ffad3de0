import type { Entry } from '../domain/entry.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'

const MINUTE_MS = 60_000
/** Distinct sources and reasons that are told apart at a time; past it, sources are counted as one. */
const MAX_COUNTERS = 200
const MAX_TEXT = 200
const OTHER_SOURCES = 'other sources'

type Kind = Extract<Entry['kind'], 'token_refused' | 'malformed'>

interface Counter {
  readonly kind: Kind
  readonly minute: number
  readonly source: string
  readonly reason: string
  count: number
}

/** Counts what was refused before anybody was known, so that a flood is a few entries and not the end of the log. */
export interface RefusalTally {
  /** `reason` must come from a closed list, such as the description of a refusal's challenge. */
  count(kind: Kind, source: string, reason: string): void
  /** Appends what is counted so far; what cannot be appended stays counted. */
  flush(): Promise<void>
  close(): Promise<void>
}

/** One entry per minute, source and reason, appended when the minute is over. */
export function createRefusalTally(options: {
  append: (entry: Entry) => Promise<unknown>
  clock: Clock
  log: Logger
}): RefusalTally {
  const { append, clock, log } = options
  const counters = new Map<string, Counter>()
  let timer: NodeJS.Timeout | null = null
  let isClosed = false

  function count(kind: Kind, source: string, reason: string): void {
    const minute = Math.floor(clock.now() / MINUTE_MS)
    add({ kind, minute, source: source.slice(0, MAX_TEXT), reason: reason.slice(0, MAX_TEXT), count: 1 })
    schedule()
  }

  function add(counter: Counter): void {
    const key = keyOf(counter)
    const present = counters.get(key)
    if (present) present.count += counter.count
    else if (counters.size < MAX_COUNTERS) counters.set(key, counter)
    else addToOthers(counter)
  }

  /** Reasons are few. Minutes are not while nothing can be appended: the first one then stands for those that follow. */
  function addToOthers(counter: Counter): void {
    const { kind, reason } = counter
    const key = keyOf({ kind, minute: 0, source: OTHER_SOURCES, reason })
    const present = counters.get(key)
    if (present) present.count += counter.count
    else counters.set(key, { ...counter, source: OTHER_SOURCES })
  }

  function schedule(): void {
    if (timer || isClosed) return
    timer = setTimeout(() => void flush(), MINUTE_MS - (clock.now() % MINUTE_MS))
    timer.unref()
  }

  async function flush(): Promise<void> {
    if (timer) clearTimeout(timer)
    timer = null
    const due = [...counters.values()]
    counters.clear()
    const appended = await Promise.allSettled(due.map((counter) => append(toEntry(counter))))
    const owed = due.filter((_, index) => appended[index]?.status === 'rejected')
    if (owed.length === 0) return
    log.warn({ entries: owed.length, isClosed }, 'refusals could not be recorded yet')
    for (const counter of owed) add(counter)
    schedule()
  }

  return {
    count,
    flush,
    async close() {
      isClosed = true
      await flush()
    },
  }
}

function keyOf({ kind, minute, source, reason }: Omit<Counter, 'count'>): string {
  return JSON.stringify([kind, minute, source, reason])
}

function toEntry({ kind, minute, source, reason, count }: Counter): Entry {
  return { kind, detail: { minute: new Date(minute * MINUTE_MS).toISOString(), source, reason, count } }
}
