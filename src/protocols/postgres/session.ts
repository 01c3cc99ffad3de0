import type { Arrival, Upstream } from '../../domain/call.ts'
import type { Entry } from '../../domain/entry.ts'
import { formatParty, type Principal } from '../../domain/principal.ts'
import { type Refusal, refuse } from '../../domain/refusal.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { Room } from '../../transports/room.ts'
import { createExchange } from './call/exchange.ts'
import type { CatalogMemory } from './catalog/memory.ts'
import type { Cancels } from './entrance/cancel.ts'
import type { Entered } from './entrance/enter.ts'
import type { Namer } from './naming/statement.ts'
import { type Batch, readBatch, TooLarge } from './planning/batch.ts'
import { follow } from './planning/follow.ts'
import type { Plan } from './planning/plan.ts'
import { bytesHeld } from './planning/state.ts'
import { SessionOver } from './relay/session-over.ts'
import { cancelUpstream, type Target, type UpstreamSession } from './upstream/open.ts'
import { encodeBackend, type TransactionStatus } from './wire/backend.ts'
import { Malformed } from './wire/fields.ts'
import { encodeError, FATE, type Fault, faultOf } from './wire/report.ts'

/** What the sessions with one upstream share. */
export interface Service {
  readonly upstream: Upstream
  readonly target: Target
  readonly namer: Namer
  readonly catalog: CatalogMemory
  readonly cancels: Cancels
  readonly publicUrl: string
  /** Takes a call to its end. */
  pass(arrival: Arrival): Promise<void>
  /** Asked before so many bytes are parsed: a refusal if that is too much for this principal. */
  charge(principal: Principal, bytes: number): Refusal | null
  /** Calls `onCut` once when this principal may not go on. The function returned ends the watch. */
  watch(principal: Principal, onCut: (why: Refusal) => void): () => void
  newCallId(): string
  /** Whose rights rows are previewed with; null: the gateway's own role there. */
  readonly previewRole: string | null
  /** Commits an entry of the audit log. */
  record(entry: Entry): Promise<unknown>
  readonly maxBatchBytes: number
  /** For the bytes that sessions keep. */
  readonly room: Room
  /** Of statements and portals that a session keeps. */
  readonly maxHeldBytes: number
  /** The longest a session may last, in milliseconds. */
  readonly sessionMaxMs: number
  /** Aborts when no call begins any more: a session ends as soon as none is under way. */
  readonly draining: AbortSignal
  readonly clock: Clock
  readonly log: Logger
}

/** Calls of one session whose outcome may be on its way to the log while the next one is judged. */
const MOST_UNRECORDED = 4
/** Why a call's signal aborts: without a reason each would make an exception of its own. */
const OVER = 'the call is over, or its client gone'

/** The call under way. */
interface Current {
  readonly gone: AbortController
  isCancelled: boolean
  isRunning: boolean
  /** Whether anything of it may have been forwarded. */
  wasSent: boolean
}

/** Runs a session from the answer to its startup until it is over, however that comes. Never rejects for what either side does. */
export async function runSession(
  { link: client, startup, principal, minor }: Entered,
  upstream: UpstreamSession,
  service: Service,
): Promise<void> {
  let current: Current | null = null
  // A batch was refused before its Sync: what comes until then is dropped.
  let isSkipping = false
  // What the batch under way takes in memory, and what the session keeps between two.
  const room = service.room.lease(formatParty(principal))
  const kept = service.room.lease(formatParty(principal))
  // Calls that are over for the client, and whose outcome is not on record yet.
  const unrecorded = new Set<Promise<void>>()
  // A cancel on its way to the upstream: it ends whatever runs there when it arrives.
  let cancelling: Promise<void> | null = null
  const {
    relay,
    state,
    askHidden,
    askSettings,
    plan: planNext,
    isAsJudged,
  } = follow({
    client,
    upstream,
    startup,
    catalog: service.catalog,
    maxBatchBytes: service.maxBatchBytes,
    takeRoom: room.take,
    namer: service.namer,
    maxHeldBytes: service.maxHeldBytes,
    clock: service.clock,
  })

  const cancels = service.cancels.mint({ secretBytes: minor >= 2 ? 32 : 4, cancel })
  const unwatch = service.watch(principal, (why) => cutOff(faultOf(why)))
  const timer = setTimeout(() => cutOff(OVERDUE), service.sessionMaxMs)
  client.gone.addEventListener('abort', leave, { once: true })
  // Whoever ends the session ends what runs in it: a server would go on until it has something to say.
  relay.over.addEventListener('abort', endCurrent, { once: true })
  service.draining.addEventListener('abort', endIdle, { once: true })
  try {
    greet()
    const running = relay.run()
    await serve()
    relay.end(new SessionOver('client', 'the client has left'), null)
    await running
    await Promise.all(unrecorded)
  } finally {
    clearTimeout(timer)
    service.draining.removeEventListener('abort', endIdle)
    unwatch()
    cancels.end()
    room.end()
    kept.end()
  }

  function greet(): void {
    client.write(encodeBackend({ type: 'authentication', asks: { method: 'ok' } }))
    for (const [name, value] of upstream.parameters)
      client.write(encodeBackend({ type: 'parameter_status', name, value }))
    client.write(encodeBackend({ type: 'backend_key', ...cancels.key }))
    for (const notice of upstream.notices) client.write(notice)
    client.write(ready('I'))
  }

  async function serve(): Promise<void> {
    try {
      for (;;) {
        const batch = await readBatch(client, service.maxBatchBytes)
        if (batch === null || relay.over.aborted) return
        await handle(batch)
        room.end()
        kept.end()
        if (!kept.take(bytesHeld(state))) throw new TooLarge('what this session keeps is more than there is room for')
        if (service.draining.aborted) endIdle()
        // What is refused is answered here: the upstream does not wait for a client that takes no answers.
        if (client.isFull && !(await client.room())) return
      }
    } catch (error) {
      if (error instanceof SessionOver) return
      const fault = faultIn(error)
      if (fault === null) service.log.error({ err: error }, 'a session failed')
      relay.end(new SessionOver('gateway', 'the session failed'), fault ?? FAILED)
    }
  }

  /** One call at a time, in their order. */
  async function handle(batch: Batch): Promise<void> {
    // What came behind it was not meant, nor is what the gateway asks about that.
    await cancelling
    if (isSkipping || relay.isSkipping) {
      if (batch.kind === 'sync') await endSkipping(batch)
      return
    }
    const bytes = batch.sent.reduce((sum, sent) => sum + sent.bytes.length, 0)
    const barred = service.charge(principal, bytes)
    if (barred) return refuseBatch(batch, faultOf(barred))

    const plan = await planNext(batch)
    relay.over.throwIfAborted()
    if ('doings' in plan && plan.doings.length === 0) {
      // Nothing that could be judged: a Sync alone, a description, a comment.
      await relay.forward(
        batch.sent.map((sent) => sent.bytes),
        plan.slots,
      )
    } else {
      await judge(batch, 'code' in plan && relay.status === 'E' ? ABORTED : plan)
    }
  }

  async function judge(batch: Batch, plan: Plan | Fault): Promise<void> {
    const id = service.newCallId()
    const call: Current = { gone: new AbortController(), isCancelled: false, isRunning: false, wasSent: false }
    current = call
    if (client.gone.aborted) call.gone.abort(OVER)
    const answered = Promise.withResolvers<void>()
    const refused = (fault: Fault) => refuseBatch(batch, fault).finally(answered.resolve)
    const arrival: Arrival = {
      id,
      upstream: service.upstream,
      credential: { token: null, proven: principal },
      source: client.remoteAddress,
      refuse: (why) => refused(faultOf(why)),
      open: (opened) =>
        createExchange({
          id,
          principal: opened,
          upstream: service.upstream,
          batch,
          plan,
          planAnew: () => planNext(batch),
          binding: {
            door: 'wire',
            upstream: service.upstream.name,
            target: boundTo(service.target, upstream.user),
            database: startup.database,
            role: state.role,
            times: state.times,
            began: startup.settings,
            view: state.view,
          },
          hasUnseenSettings: state.hasUnseenSettings,
          relay,
          askHidden,
          askSettings,
          namer: service.namer,
          previewRole: service.previewRole,
          view: () => state.view,
          record: service.record,
          client,
          publicUrl: service.publicUrl,
          gone: call.gone.signal,
          isCancelled: () => call.isCancelled,
          refuse: refused,
          isAsJudged,
          running() {
            call.isRunning = true
            call.wasSent = true
            return () => {
              call.isRunning = false
              answered.resolve()
            }
          },
          monotonic: () => service.clock.monotonic(),
        }),
    }
    const passing = service.pass(arrival).finally(() => unrecorded.delete(passing))
    unrecorded.add(passing)
    try {
      await Promise.race([answered.promise, passing])
    } finally {
      current = null
      call.gone.abort(OVER)
    }
    while (unrecorded.size > MOST_UNRECORDED) await Promise.race(unrecorded)
  }

  /** An error in place of the batch, and the transaction as an error leaves it, on both sides. */
  async function refuseBatch(batch: Batch, fault: Fault): Promise<void> {
    client.write(encodeError(fault))
    if (batch.kind === 'flush') isSkipping = true
    else await endRefused()
  }

  async function endRefused(): Promise<void> {
    if (relay.status === 'T' || relay.isOpen) await relay.failTransaction()
    isSkipping = false
    client.write(ready(relay.status))
  }

  async function endSkipping({ sent }: Batch): Promise<void> {
    if (isSkipping) return endRefused()
    const sync = sent.at(-1)
    await relay.forward(sync ? [sync.bytes] : [], [{ kind: 'sync', isSilent: false }])
  }

  /** A held call is withdrawn; what runs is ended by the upstream; nothing else is there to cancel. */
  function cancel(): void {
    if (!current) return
    if (current.isRunning) cancelRunning()
    else {
      current.isCancelled = true
      current.gone.abort(OVER)
    }
  }

  function cancelRunning(): void {
    if (!upstream.key || cancelling) return
    cancelling = cancelUpstream(service.target, upstream.key)
      .catch((error: unknown) => {
        service.log.warn({ err: error, upstream: service.upstream.name }, 'a statement could not be cancelled')
      })
      .finally(() => {
        cancelling = null
      })
  }

  function endIdle(): void {
    if (!current) relay.end(new SessionOver('gateway', DRAINING.message), DRAINING)
  }

  /** What still waits comes to nothing with its session, and is told so: of what runs nobody can say that. */
  function cutOff(fault: Fault): void {
    const message = current && !current.wasSent ? `Not executed. ${fault.message.replace(FATE, '')}` : fault.message
    relay.end(new SessionOver('gateway', message), { ...fault, message })
  }

  function endCurrent(): void {
    if (current?.isRunning) cancelRunning()
    else current?.gone.abort(OVER)
  }

  function leave(): void {
    if (current?.isRunning) relay.end(new SessionOver('client', 'the client has left'), null)
    else endCurrent()
  }
}

/** What a call is bound to of the upstream. */
export function boundTo({ host, port }: Target, user: string): string {
  return JSON.stringify([host, port, user])
}

function ready(status: TransactionStatus): Buffer {
  return encodeBackend({ type: 'ready', status })
}

function faultIn(error: unknown): Fault | null {
  if (error instanceof Malformed) return { code: '08P01', message: `The gateway cannot read this: ${error.message}.` }
  if (error instanceof TooLarge) return { code: '54000', message: `Not executed: ${error.message}.` }
  return null
}

const FAILED: Fault = faultOf(refuse('unavailable', 'Perhaps executed. The gateway failed during this call.'))
const OVERDUE: Fault = { code: '57P05', message: 'The session lasted as long as it may. Connect again.' }
const DRAINING: Fault = { code: '57P01', message: 'The gateway restarts. Connect again.' }
const ABORTED: Fault = {
  code: '25P02',
  message: 'current transaction is aborted, commands ignored until end of transaction block',
}
