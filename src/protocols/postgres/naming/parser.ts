import { Worker } from 'node:worker_threads'
import type { RowQuery } from './statement.ts'
import type { Parsed } from './summary.ts'
import type { Answer, Question, Reading, Wants } from './worker.ts'

/** Reads SQL in threads of its own, so that no input stops or breaks the gateway. */
export interface Parser {
  /** Never rejects: what cannot be read in time, or breaks a thread, is refused. */
  parse(sql: string, signal?: AbortSignal): Promise<Parsed>
  /** See `rowQueryOf`; null also for what cannot be read. */
  rowQuery(statement: string, signal?: AbortSignal): Promise<RowQuery | null>
  stop(): Promise<void>
}

export interface ParserOptions {
  readonly threads?: number
  /** Milliseconds one message may take. */
  readonly timeoutMs?: number
  /** Messages that may wait for a thread. */
  readonly maxQueued?: number
  /** The thread's file; for tests. */
  readonly file?: URL
}

interface Job {
  readonly sql: string
  readonly wants: Wants
  settle(reading: Reading): void
}

interface Thread {
  readonly worker: Worker
  isReady: boolean
  job: Job | null
  timer: NodeJS.Timeout | null
}

const WORKER = new URL('./worker.ts', import.meta.url)
/** The parser's module is 1.8 MB of WebAssembly: a busy machine takes its time. */
const START_MS = 15_000
/** The worst message of the longest length took 340 ms on a slow core. */
const TIMEOUT_MS = 2_000

export function createParser(options: ParserOptions = {}): Parser {
  const { threads: count = 2, timeoutMs = TIMEOUT_MS, maxQueued = 1_000, file = WORKER } = options
  const threads = new Set<Thread>()
  const queue: Job[] = []
  let isStopped = false

  function start(): void {
    const worker = new Worker(file, {
      execArgv: [],
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: 256, stackSizeMb: 4 },
    })
    const thread: Thread = { worker, isReady: false, job: null, timer: null }
    threads.add(thread)
    thread.timer = setTimeout(() => replace(thread, UNAVAILABLE), START_MS)
    thread.timer.unref()
    worker.unref()
    worker.on('message', (answer: Answer) => hear(thread, answer))
    worker.on('error', () => replace(thread, BROKEN))
    worker.on('exit', () => replace(thread, BROKEN))
  }

  function hear(thread: Thread, answer: Answer): void {
    if (!threads.has(thread)) return
    if (thread.timer) clearTimeout(thread.timer)
    thread.timer = null
    if ('ready' in answer) thread.isReady = true
    else if (answer.parsed === 'broken') {
      replace(thread, BROKEN)
      return
    } else {
      thread.job?.settle(answer.parsed)
      thread.job = null
      thread.worker.unref()
    }
    dispatch()
  }

  /** Ends a thread, with what its message is told, and starts another. */
  function replace(thread: Thread, why: Parsed): void {
    if (!threads.delete(thread)) return
    if (thread.timer) clearTimeout(thread.timer)
    void thread.worker.terminate()
    thread.job?.settle(why)
    thread.job = null
    // A thread that never came up says so to one message, so that a broken installation does not spin.
    if (!thread.isReady) queue.shift()?.settle(UNAVAILABLE)
    // At once, so that whoever breaks threads makes others wait as little as can be.
    else if (!isStopped) start()
    dispatch()
  }

  let lastId = 0
  function dispatch(): void {
    if (isStopped) return
    for (const thread of threads) {
      if (!thread.isReady || thread.job) continue
      const job = queue.shift()
      if (!job) return
      thread.job = job
      thread.timer = setTimeout(() => replace(thread, TOO_SLOW), timeoutMs)
      thread.worker.ref()
      lastId += 1
      thread.worker.postMessage({ id: lastId, sql: job.sql, wants: job.wants } satisfies Question)
    }
    const starting = [...threads].filter(({ isReady }) => !isReady).length
    if (queue.length > starting && threads.size < count) start()
  }

  function read(sql: string, wants: Wants, signal: AbortSignal | undefined): Promise<Reading> {
    if (isStopped || signal?.aborted) return Promise.resolve(STOPPED)
    if (queue.length >= maxQueued) return Promise.resolve(BUSY)
    return new Promise((resolve) => {
      const leave = () => {
        const index = queue.indexOf(job)
        // What a thread has already is left to it: its answer settles nothing any more.
        if (index !== -1) queue.splice(index, 1)
        resolve(STOPPED)
      }
      const job: Job = {
        sql,
        wants,
        settle(reading) {
          signal?.removeEventListener('abort', leave)
          resolve(reading)
        },
      }
      signal?.addEventListener('abort', leave, { once: true })
      queue.push(job)
      dispatch()
    })
  }

  return {
    async parse(sql, signal) {
      const reading = await read(sql, 'names', signal)
      return 'rowQuery' in reading ? BROKEN : reading
    },
    async rowQuery(statement, signal) {
      const reading = await read(statement, 'rows', signal)
      return 'rowQuery' in reading ? reading.rowQuery : null
    },
    async stop() {
      isStopped = true
      for (const job of queue.splice(0)) job.settle(STOPPED)
      const ending = [...threads].map((thread) => {
        threads.delete(thread)
        if (thread.timer) clearTimeout(thread.timer)
        thread.job?.settle(STOPPED)
        return thread.worker.terminate()
      })
      await Promise.all(ending)
    },
  }
}

const BROKEN: Extract<Parsed, { readonly refused: true }> = {
  refused: true,
  code: '54001',
  message: 'Not executed. The statement is too complex to be read.',
  hint: 'Split it, or nest it less deeply.',
}
const TOO_SLOW: Parsed = { ...BROKEN, message: 'Not executed. The statement takes too long to be read.' }
const BUSY: Parsed = {
  refused: true,
  code: '53400',
  message: 'Not executed. The gateway reads too many statements at once.',
}
const UNAVAILABLE: Parsed = {
  refused: true,
  code: '57P03',
  message: 'Not executed. The gateway cannot read statements now.',
}
const STOPPED: Parsed = { refused: true, code: '57P01', message: 'Not executed. The gateway ended the session.' }
