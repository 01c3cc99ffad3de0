import type { State } from '../domain/approval.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'

/** As little of an approval as those who wait for it need. */
export interface Glimpse {
  readonly id: string
  readonly state: State
  readonly isOverdue: boolean
  readonly hasOutcome: boolean
  /** The place of the question that its agent has not replied to, among those asked; 0 if there is none. */
  readonly asked: number
  /** The place of the last question that one of its attempts was answered with. */
  readonly told: number
}

/** Listens for questions on behalf of one wait. */
export interface Listener {
  /**
   * Whether there is one that this wait has to be answered with. One that was told before the wait began is none: a client
   * that only repeats its call would be answered at once, over and over.
   */
  hears(glimpse: Pick<Glimpse, 'asked' | 'told'>): boolean
  /** False if none was open when it last looked; a wait that is over at once has not looked. */
  mayBeOpen(): boolean
}

export function createListener(): Listener {
  let before: number | null = null
  let open: number | null = null
  return {
    hears({ asked, told }) {
      before ??= told
      open = asked
      return asked > before
    },
    mayBeOpen: () => open !== 0,
  }
}

export interface Wait {
  readonly waitMs: number
  /** Aborts when the one who waits has left. */
  readonly gone: AbortSignal
  /** Aborts when the process is about to end. Shared by all who wait. */
  readonly draining: AbortSignal
  /** What is waited for. */
  isReached(glimpse: Glimpse): boolean
}

export type Waited = 'reached' | 'timed_out' | 'gone' | 'draining'

export interface Waiter {
  /** Also looks at once: what happened before the wait began is not missed. */
  wait(id: string, how: Wait): Promise<Waited>
  /** A hint that an approval changed; an empty id that anything may have. Hints may be lost or forged. */
  hear(id: string): void
  readonly waiting: number
  stop(): void
}

interface Parts {
  /** Reads several approvals at once. */
  readonly look: (ids: readonly string[]) => Promise<readonly Glimpse[]>
  /** Given those that were seen to be overdue; their new state is read afterwards. */
  readonly expire: (ids: readonly string[]) => Promise<unknown>
  readonly clock: Clock
  readonly log: Logger
  /** Milliseconds between looks at everything that is waited for. */
  readonly pollMs: number
}

interface Waiting extends Wait {
  readonly until: number
  readonly resolve: (waited: Waited) => void
}

/** Ids in one query. */
const BATCH = 1000
// Deadlines this near to each other are met together.
const GRAIN_MS = 20

/**
 * All waits of one process share one timer for their deadlines, one slow poll, and one query at a time: a process may
 * hold ten thousand calls at once. Nothing here decides anything: who waited reads the approval again.
 */
export function createWaiter({ look, expire, clock, log, pollMs }: Parts): Waiter {
  const byId = new Map<string, Set<Waiting>>()
  const drains = new WeakSet<AbortSignal>()
  const doubtful = new Set<string>()
  let isLooking = false
  let waiting = 0
  let alarm: { at: number; timer: NodeJS.Timeout } | null = null
  let poll: NodeJS.Timeout | null = null

  function wait(id: string, how: Wait): Promise<Waited> {
    if (how.gone.aborted) return Promise.resolve('gone')
    if (how.draining.aborted) return Promise.resolve('draining')
    watchDrain(how.draining)
    return new Promise((resolve) => {
      const onGone = () => finish(id, one, 'gone')
      const one: Waiting = {
        ...how,
        until: clock.monotonic() + how.waitMs,
        resolve(waited) {
          how.gone.removeEventListener('abort', onGone)
          resolve(waited)
        },
      }
      how.gone.addEventListener('abort', onGone)
      const others = byId.get(id)
      if (others) others.add(one)
      else byId.set(id, new Set([one]))
      waiting += 1
      setAlarm(one.until)
      poll ??= setInterval(() => hear(''), pollMs).unref()
      hear(id)
    })
  }

  function finish(id: string, one: Waiting, waited: Waited): void {
    const others = byId.get(id)
    if (!others?.delete(one)) return
    if (others.size === 0) byId.delete(id)
    waiting -= 1
    one.resolve(waited)
    if (waiting === 0) rest()
  }

  function rest(): void {
    if (poll) clearInterval(poll)
    if (alarm) clearTimeout(alarm.timer)
    poll = null
    alarm = null
    doubtful.clear()
  }

  function watchDrain(signal: AbortSignal): void {
    if (drains.has(signal)) return
    drains.add(signal)
    signal.addEventListener('abort', () => finishWhere((one) => one.draining === signal, 'draining'), { once: true })
  }

  function finishWhere(isMeant: (one: Waiting) => boolean, waited: Waited): void {
    for (const [id, all] of [...byId]) {
      for (const one of [...all]) if (isMeant(one)) finish(id, one, waited)
    }
  }

  function setAlarm(at: number): void {
    if (alarm && alarm.at <= at) return
    if (alarm) clearTimeout(alarm.timer)
    const inMs = Math.min(Math.max(at - clock.monotonic(), 0), 2 ** 31 - 1)
    alarm = { at, timer: setTimeout(ring, Math.ceil(inMs)) }
  }

  function ring(): void {
    alarm = null
    const now = clock.monotonic()
    finishWhere((one) => one.until <= now, 'timed_out')
    let next = Number.POSITIVE_INFINITY
    for (const all of byId.values()) for (const one of all) next = Math.min(next, one.until)
    if (next < Number.POSITIVE_INFINITY) setAlarm(Math.max(next, now + GRAIN_MS))
  }

  function hear(id: string): void {
    if (id === '') for (const known of byId.keys()) doubtful.add(known)
    else if (byId.has(id)) doubtful.add(id)
    if (doubtful.size === 0 || isLooking) return
    isLooking = true
    // Hints that arrive together are answered by one query.
    setImmediate(() => {
      lookAround().catch((error: unknown) =>
        log.warn({ err: error }, 'approvals could not be read; looking again later'),
      )
    })
  }

  async function lookAround(): Promise<void> {
    try {
      while (doubtful.size > 0) {
        const ids = [...doubtful].slice(0, BATCH)
        for (const id of ids) doubtful.delete(id)
        await lookAt(ids)
      }
    } finally {
      isLooking = false
    }
  }

  async function lookAt(ids: readonly string[]): Promise<void> {
    let glimpses = await look(ids)
    const overdue = glimpses.filter((glimpse) => glimpse.isOverdue).map((glimpse) => glimpse.id)
    if (overdue.length > 0) {
      await expire(overdue)
      glimpses = [...glimpses.filter((glimpse) => !glimpse.isOverdue), ...(await look(overdue))]
    }
    for (const glimpse of glimpses) {
      for (const one of [...(byId.get(glimpse.id) ?? [])]) {
        if (one.isReached(glimpse)) finish(glimpse.id, one, 'reached')
      }
    }
  }

  return {
    wait,
    hear,
    get waiting() {
      return waiting
    },
    stop() {
      finishWhere(() => true, 'draining')
      rest()
    },
  }
}
