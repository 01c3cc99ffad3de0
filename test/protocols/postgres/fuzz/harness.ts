import { once } from 'node:events'
import type { Socket } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { Approval, Spent } from '../../../../src/domain/approval.ts'
import type { Exchange, Intent, Sealed } from '../../../../src/domain/call.ts'
import type { Judged } from '../../../../src/domain/judged.ts'
import { isRefusal, refuse } from '../../../../src/domain/refusal.ts'
import type { Effect, Verdict } from '../../../../src/domain/verdict.ts'
import { createGate } from '../../../../src/gate.ts'
import { systemClock } from '../../../../src/platform/clock.ts'
import { newCallId } from '../../../../src/platform/id.ts'
import type { Logger } from '../../../../src/platform/logger.ts'
import { createCatalogMemory } from '../../../../src/protocols/postgres/catalog/memory.ts'
import { createCancels } from '../../../../src/protocols/postgres/entrance/cancel.ts'
import { enter } from '../../../../src/protocols/postgres/entrance/enter.ts'
import type { Namer } from '../../../../src/protocols/postgres/naming/statement.ts'
import { runSession, type Service } from '../../../../src/protocols/postgres/session.ts'
import { decodeBackend } from '../../../../src/protocols/postgres/wire/backend.ts'
import { upstreamFraming } from '../../../../src/protocols/postgres/wire/framing.ts'
import { createRoom } from '../../../../src/transports/room.ts'
import { createLink } from '../../../../src/transports/tcp/link.ts'
import { ALICE, VERDICT } from '../world.ts'
import { CANCEL_KEY } from './conversations.ts'
import type { Random } from './random.ts'
import { serveStrictly } from './strict-server.ts'

/** What was seen over many streams. */
export interface Tally {
  streams: number
  bytesIn: number
  sessions: number
  /** Calls that were let through. */
  allowed: number
  /** Messages that reached the server, by their letter, and their bytes. */
  readonly forwarded: Map<string, number>
  forwardedBytes: number
  /** What the gateway asked in its own name. */
  readonly own: Map<string, number>
  /** What clients were told, by SQLSTATE. */
  readonly refusals: Map<string, number>
  /** Cancels that reached the session they were meant for. */
  cancels: number
  readonly wrong: string[]
}

export function emptyTally(): Tally {
  const maps = { forwarded: new Map(), own: new Map(), refusals: new Map() }
  return {
    streams: 0,
    bytesIn: 0,
    sessions: 0,
    allowed: 0,
    forwardedBytes: 0,
    cancels: 0,
    wrong: [],
    ...maps,
  }
}

const HANG_MS = 20_000
/** Turns of the event loop in which nothing moves: then nothing will, but for the parser's threads. */
const IDLE_TURNS = 6

/**
 * Runs one stream through the gateway, from its first byte to the end of its session: entrance, session and gate are the
 * real ones; connections are pairs of streams in memory; people decide at once; the server is strict.
 */
export async function runStream(
  turns: readonly (readonly Buffer[])[],
  { name, namer, random, tally }: { name: string; namer: Namer; random: Random; tally: Tally },
): Promise<void> {
  const wrong = (what: string) => void tally.wrong.push(`${name}: ${what}`)
  const activity = { moved: 0, naming: 0 }
  const allowed = new Set<string>()
  const { near, far } = connect()
  const said: Buffer[] = []
  far.on('data', (chunk: Buffer) => {
    said.push(chunk)
    activity.moved += 1
  })
  tally.streams += 1

  const cancels = createCancels()
  const log = quiet((what) => wrong(`logged: ${what}`))
  const service: Service = {
    upstream: { name: 'shop', protocol: 'postgres', labels: {}, mode: 'enforce', waitMs: 60_000 },
    target: { host: '127.0.0.1', port: 1, tls: null, connectTimeoutMs: 1 },
    namer: counting(namer, activity),
    catalog: createCatalogMemory(systemClock),
    cancels,
    publicUrl: 'https://gateway.example.com',
    pass: gateOf(random, (texts) => {
      tally.allowed += 1
      for (const text of texts) allowed.add(text)
    }),
    charge: () => null,
    room: createRoom({ total: 1e9, perHolder: 1e9 }),
    draining: new AbortController().signal,
    watch: () => () => {},
    newCallId,
    previewRole: null,
    // What is held is counted first: on record, as far as this goes.
    record: () => Promise.resolve(),
    maxBatchBytes: 64 * 1024,
    maxHeldBytes: 16 * 1024,
    sessionMaxMs: 600_000,
    clock: systemClock,
    log,
  }

  async function receive(): Promise<void> {
    const entered = await enter(near, {
      tls: null,
      cancels: {
        request(key) {
          const isRight = key.processId === CANCEL_KEY.processId && key.secret.equals(CANCEL_KEY.secret)
          if (isRight) tally.cancels += 1
        },
      },
      identify: ({ token }) =>
        Promise.resolve(token === 'good' ? ALICE : refuse('unauthenticated', 'The token is expired.')),
      challenge: () =>
        Promise.resolve({
          password: 'pencil',
          salt: Buffer.from('0123456789abcdef'),
          settle(isProven) {
            if (isProven) wrong('a proof by somebody who has no password')
            return refuse('unauthenticated', 'The password is another one.')
          },
        }),
      noteMalformed() {},
    })
    if (!entered) return
    tally.sessions += 1
    const upstream = connect()
    upstream.far.on('data', () => {
      activity.moved += 1
    })
    serveStrictly(upstream.far, {
      allowed,
      own: tally.own,
      wrong,
      came(letter, bytes) {
        tally.forwarded.set(letter, (tally.forwarded.get(letter) ?? 0) + 1)
        tally.forwardedBytes += bytes
      },
    })
    await runSession(
      entered,
      {
        link: createLink(
          upstream.near,
          upstreamFraming(() => false),
        ),
        user: 'app',
        parameters: PARAMETERS,
        key: null,
        notices: [],
      },
      service,
    )
    if (!upstream.near.writableFinished && !upstream.near.destroyed) await once(upstream.near, 'close')
  }

  const running = receive().catch((error: unknown) => wrong(`threw: ${String(error)}`))
  let isOver = false
  void running.then(() => {
    isOver = true
  })
  const idle = async () => {
    let seen = -1
    for (let still = 0; still < IDLE_TURNS && !isOver; still++) {
      await turn()
      if (activity.moved !== seen || activity.naming > 0) still = 0
      seen = activity.moved
    }
  }
  for (const chunks of turns) {
    for (const chunk of chunks) {
      tally.bytesIn += chunk.length
      if (!far.destroyed && far.writable) far.write(chunk)
      if (random.oneIn(8)) await turn()
    }
    // Some do not wait for an answer.
    if (!random.oneIn(10)) await idle()
  }
  if (random.oneIn(20)) far.destroy()
  else far.end()
  const hung = new AbortController()
  await Promise.race([
    running,
    sleep(HANG_MS, undefined, { signal: hung.signal }).then(
      () => wrong('did not come to an end'),
      () => {},
    ),
  ])
  hung.abort()
  near.destroy()
  far.destroy()
  count(Buffer.concat(said), tally)
}

const PARAMETERS: ReadonlyMap<string, string> = new Map([
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
  ['search_path', '"$user", public'],
])

/** Both ends of a connection in memory, with what a socket has and these lack. */
function connect(): { near: Socket; far: Duplex } {
  const [near, far] = duplexPair({ allowHalfOpen: true })
  near.once('close', () => far.destroy())
  far.once('close', () => near.destroy())
  far.on('error', () => {})
  const socket = Object.assign(near, { setNoDelay: () => near, remoteAddress: '127.0.0.1', bytesRead: 0 })
  // What a link asks of a socket is there; the rest of one is not.
  return { near: socket as unknown as Socket, far }
}

/** Calls under way, so that nobody takes a thread's work for silence. */
function counting(namer: Namer, activity: { naming: number }): Namer {
  const counted = async <T>(work: Promise<T>): Promise<T> => {
    activity.naming += 1
    try {
      return await work
    } finally {
      activity.naming -= 1
    }
  }
  return {
    name: (...given) => counted(namer.name(...given)),
    prepare: (...given) => counted(namer.prepare(...given)),
    rowQuery: (...given) => counted(namer.rowQuery(...given)),
    stop: () => namer.stop(),
  }
}

/** A log that holds nothing but what should not be there. */
function quiet(failed: (what: string) => void): Logger {
  const failing = (given: unknown, message?: string) => {
    const error = (given as { err?: unknown }).err
    failed(`${message ?? ''} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }
  // Sessions call nothing else.
  return { error: failing, warn: failing, info() {}, debug() {} } as unknown as Logger
}

/** Told of the statements of each call that is let through, before they are forwarded. */
type Seen = (texts: readonly string[]) => void

/** Nothing is deleted or dropped; what is inserted waits for a person, who agrees two times in three. */
function gateOf(random: Random, seen: Seen): Service['pass'] {
  async function judge(call: Exchange): Promise<Judged> {
    const actions = await call.describe(new Set(), [])
    if (isRefusal(actions)) return { effect: 'deny', verdict: null, actions: null, refusal: actions }
    const verbs = new Set(actions.map(({ verb }) => verb))
    const isForbidden = ['delete', 'drop table', 'prepare'].some(
      (verb) => verbs.has(verb) && actions.some((action) => /delete|drop/i.test(JSON.stringify(action))),
    )
    const effect: Effect = isForbidden ? 'deny' : verbs.has('insert') ? 'hold' : 'allow'
    const verdict: Verdict = { ...VERDICT, effect }
    if (effect === 'deny') return { effect, verdict, actions, refusal: refuse('denied', 'Not executed.') }
    return { effect, verdict, actions, refusal: null }
  }
  const sealed = new WeakMap<Approval, Sealed>()
  const { pass } = createGate({
    identify: () => Promise.resolve(ALICE),
    admit: () => null,
    judge,
    count: (_call, judged) => Promise.resolve(judged),
    // Only the log makes a real one.
    recorder: { intent: () => Promise.resolve({} as Intent), outcome: () => Promise.resolve() },
    approvals: {
      hold(call, _judged, given) {
        // What nobody here reads is left out.
        const approval = { id: 'A1', callId: call.id, state: 'pending' } as Approval
        sealed.set(approval, given)
        return Promise.resolve(approval)
      },
      settle: (approval) =>
        Promise.resolve(random.oneIn(3) ? refuse('not_approved', 'Not executed. Denied: no.') : approval),
      recall: (approval) => Promise.resolve(sealed.get(approval)?.stored ?? refuse('unavailable', 'Not executed.')),
      spend: (approval) => Promise.resolve({ ...approval, startBy: Number.POSITIVE_INFINITY } satisfies Spent),
      withdraw: () => Promise.resolve(refuse('withdrawn', 'Not executed. Withdrawn.')),
    },
    async underWatch(call, _terms, work) {
      const actions = await call.describe(new Set(), [])
      if (!isRefusal(actions)) seen(actions.map(({ facts }) => String(facts['statement'])))
      return work({ signal: new AbortController().signal, spendBytes: () => true, spendRows: () => true })
    },
  })
  return pass
}

/** What a client was told, once it is clear that it was told it in whole messages. */
function count(bytes: Buffer, tally: Tally): void {
  let at = 0
  // The answers to requests for encryption have no more than a letter.
  while ((bytes[at] === 0x4e || bytes[at] === 0x53) && (bytes[at + 1] ?? 0x45) !== 0) at += 1
  while (at + 5 <= bytes.length) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    if (end > bytes.length) break
    const message = decodeBackend(bytes.subarray(at, end))
    if (message.type === 'error') {
      const code = message.report['C'] ?? ''
      tally.refusals.set(code, (tally.refusals.get(code) ?? 0) + 1)
    }
    at = end
  }
}
