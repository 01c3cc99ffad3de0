import type { Exchange, Outcome, Release } from '../../../domain/call.ts'
import type { Principal } from '../../../domain/principal.ts'
import { isRefusal, type Refusal, refuse } from '../../../domain/refusal.ts'
import { canonicalBytes } from '../call/digest.ts'
import { createExchange } from '../call/exchange.ts'
import { follow } from '../planning/follow.ts'
import type { Plan } from '../planning/plan.ts'
import { SessionOver } from '../relay/session-over.ts'
import { boundTo, type Service } from '../session.ts'
import { cancelUpstream, type UpstreamSession } from '../upstream/open.ts'
import { FATE, type Fault } from '../wire/report.ts'
import { type Answer, createAnswer, describeReport } from './answer.ts'
import { commitLast } from './commit-last.ts'
import { batchOf, type Query } from './request.ts'
import { nameTypes } from './types.ts'

/** A query in a session upstream of its own, which knows what it does. */
export interface Run {
  /** What it is to the gate: the same as on the wire, but for `forward` and what tells the agent something. */
  readonly exchange: Exchange
  /** What it says, as the exchange stores and compares it. */
  readonly canonical: Buffer
  forward(how: Release): Promise<Ran>
  /** Ends the session. What was not committed by then is undone. */
  end(): void
}

export interface Ran {
  readonly outcome: Outcome
  /** What the upstream answered, as JSON; null if it did not, or it is not to be given. */
  readonly response: { readonly status: 200 | 400; readonly text: string } | null
}

export interface RunParts {
  readonly id: string
  readonly principal: Principal
  readonly query: Query
  readonly service: Service
  /** Of the answer as JSON. */
  readonly maxBytes: number
  /** Takes room in memory for so many bytes; false if there is none. */
  take(bytes: number): boolean
  /** Aborts when the client has left; with a refusal as its reason, when the gateway ends. */
  readonly gone: AbortSignal
}

/**
 * Gets a query ready to be judged, in a session that has just begun. Whatever comes of it, the session is to be ended.
 *
 * @throws SessionOver if the upstream breaks off, or the client leaves
 */
export async function prepareRun(parts: RunParts, upstream: UpstreamSession): Promise<Run | Refusal> {
  const { id, principal, query, service, gone } = parts
  let isRunning = false
  let hasRun = false
  // From here on it is the upstream's to say what stays of it.
  let isCommitting = false
  // Why it is not to be carried on, if that is not the upstream's or the gate's word.
  let stopped: Refusal | null = null
  let typeNames: ReadonlyMap<number, string> = new Map()

  const answer = createAnswer({
    maxBytes: parts.maxBytes,
    take: parts.take,
    onExcess(why) {
      stopped = why
      end()
    },
  })
  const followed = follow({
    client: answer.client,
    upstream,
    startup: { user: '', database: query.database, applicationName: '' },
    catalog: service.catalog,
    namer: service.namer,
    maxBatchBytes: service.maxBatchBytes,
    maxHeldBytes: service.maxHeldBytes,
    clock: service.clock,
    takeRoom: parts.take,
  })
  const { relay, state, askHidden } = followed
  relay.over.addEventListener('abort', cancelRunning, { once: true })
  gone.addEventListener('abort', leave, { once: true })
  relay.run().catch((error: unknown) => {
    service.log.error({ err: error, call: id }, 'a session failed')
    end()
  })

  const batch = batchOf(query)
  const plan = await understand()
  const unfit = 'code' in plan ? unnamed(plan) : unfitOf(plan)
  if ('code' in plan || unfit !== null) {
    end()
    return unfit ?? BROKEN_OFF
  }
  const exchange = createExchange({
    id,
    principal,
    upstream: service.upstream,
    batch,
    plan,
    planAnew: understand,
    binding: {
      door: 'query',
      upstream: service.upstream.name,
      target: boundTo(service.target, upstream.user),
      database: query.database,
      role: state.role,
      times: state.times,
      began: new Map(),
      view: state.view,
    },
    hasUnseenSettings: state.hasUnseenSettings,
    askHidden,
    askSettings: followed.askSettings,
    namer: service.namer,
    previewRole: service.previewRole,
    view: () => state.view,
    record: service.record,
    relay: commitLast(relay, {
      committing() {
        isCommitting = true
      },
      async committed() {
        typeNames = await nameTypes(relay, answer.types)
      },
    }),
    client: answer.client,
    publicUrl: service.publicUrl,
    gone,
    isCancelled: () => false,
    // The session ends without having been told to commit, and the agent is told by whoever has this.
    refuse: () => Promise.resolve(),
    isAsJudged: followed.isAsJudged,
    running() {
      isRunning = true
      hasRun = true
      if (gone.aborted) leave()
      return () => {
        isRunning = false
      }
    },
    monotonic: () => service.clock.monotonic(),
  })

  async function understand(): Promise<Plan | Fault> {
    // Of a call that is carried out later nobody is there to lose patience.
    const deadline = setTimeout(end, service.target.connectTimeoutMs)
    try {
      if (gone.aborted) leave()
      return await followed.plan(batch)
    } finally {
      clearTimeout(deadline)
    }
  }

  /** Whoever ends the session ends what runs in it: a server would go on until it has something to say. */
  function cancelRunning(): void {
    gone.removeEventListener('abort', leave)
    if (!isRunning || !upstream.key) return
    cancelUpstream(service.target, upstream.key).catch((error: unknown) => {
      service.log.warn({ err: error, upstream: service.upstream.name }, 'a statement could not be cancelled')
    })
  }

  function end(): void {
    relay.end(new SessionOver('gateway', 'the call is over'), null)
  }

  function leave(): void {
    const { reason }: { reason: unknown } = gone
    if (isRefusal(reason)) {
      stopped = reason
      end()
    } else relay.end(new SessionOver('client', 'the client has left'), null)
  }

  /** The same refusal, which says first what became of the statement. */
  function withFate(why: Refusal): Refusal {
    const hasStayed = isCommitting || (hasRun && mayCommitItself(plan))
    return {
      ...why,
      detail: `${hasStayed ? 'Perhaps executed' : 'Not executed'}. ${why.detail.replace(FATE, '')}`,
    }
  }

  return {
    exchange,
    canonical: canonicalBytes(plan.doings),
    end,
    async forward(how) {
      const outcome = await exchange.forward(how)
      const why = stopped ?? outcome.refusal
      if (why) return { outcome: { ...outcome, ...(stopped && CUT), refusal: withFate(why) }, response: null }
      return { outcome, response: outcome.name === 'forwarded' ? responseOf(answer, typeNames) : null }
    },
  }
}

const CUT = { name: 'cut' } as const
const BROKEN_OFF = refuse('upstream_failed', 'Not executed. The upstream broke off.')

/** An error of the upstream's is an answer of it, too. */
function responseOf(answer: Answer, typeNames: ReadonlyMap<number, string>): Ran['response'] {
  const { error } = answer
  if (!error) return { status: 200, text: answer.encode(typeNames) }
  return { status: 400, text: `${JSON.stringify({ error: describeReport(error) })}\n` }
}

/** Whether what it does may stay without a Sync: a procedure, or other code that cannot be seen from here, may commit. */
function mayCommitItself(plan: Plan | Fault): boolean {
  if ('code' in plan) return false
  return plan.doings.some(({ named }) => named.some(({ isOpaque, tag }) => isOpaque || COMMITS.test(tag)))
}

/**
 * What a server runs outside of any transaction block, in one form of it or in all (PostgreSQL 18, "cannot be executed
 * inside a transaction block"; of indexes and tables CONCURRENTLY).
 */
const COMMITS =
  /^(vacuum|cluster|reindex|(create|drop|alter) (database|tablespace|subscription)|alter (system|table)|(create|drop) index|(commit|rollback) prepared)$/

/** SQL that gets no names, as it is. */
function unnamed({ code, message, hint, position }: Fault): Refusal {
  const said = message.replace(FATE, '').replace(/\.$/, '')
  const where = position === undefined ? '' : `, at character ${position}`
  return refuse('malformed', `Not executed. ${said} (SQLSTATE ${code}${where}).${hint === undefined ? '' : ` ${hint}`}`)
}

/** Why a statement cannot be a query by HTTP; null if it can. */
function unfitOf({ doings }: Plan): Refusal | null {
  const statements = doings.flatMap(({ named }) => named)
  if (statements.length > 1) {
    return refuse('malformed', 'Not executed. There is more than one statement; send each in a call of its own.')
  }
  const copies = statements.some(({ effects }) => effects.some(({ does }) => does === 'copy_in' || does === 'copy_out'))
  return copies
    ? refuse('malformed', 'Not executed. COPY from or to the client needs a driver; use INSERT or SELECT here.')
    : null
}
