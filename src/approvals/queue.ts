import type { Approval, Ballot, BallotResult, Spent, WithdrawalReason } from '../domain/approval.ts'
import type { Exchange, Outcome, Sealed, Stored } from '../domain/call.ts'
import type { Desk, Notice, RunningChannel } from '../domain/channel.ts'
import type { DelegationDesk } from '../domain/delegation.ts'
import type { Held, Judged } from '../domain/judged.ts'
import type { Precedents } from '../domain/precedent.ts'
import type { Person, Principal } from '../domain/principal.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import type { Verdict } from '../domain/verdict.ts'
import type { Clock } from '../platform/clock.ts'
import type { Tx } from '../platform/database.ts'
import { createSchemaCheck } from '../platform/schema.ts'
import { createAsking } from './ask.ts'
import { createClaims } from './claims.ts'
import { createDelegationDesk } from './delegation-desk.ts'
import { expireOverdue, withdraw, withdrawAll, withdrawLifted, withdrawSuspended } from './end.ts'
import { createEnded } from './ended.ts'
import { finish, readCall } from './finish.ts'
import { createGrantDesk, type GrantDesk } from './grant-desk.ts'
import type { Ground } from './ground.ts'
import { createHolding } from './hold.ts'
import { openLane } from './lane.ts'
import { createNotices, type Notices, oweNotice } from './notices.ts'
import type { HoldOptions } from './options.ts'
import { createOutbox, type Outbox, type OutboxTiming } from './outbox.ts'
import { findOwnCall, type OwnCall } from './own.ts'
import { createPrecedents, type Viewer } from './precedents.ts'
import { QUESTIONS_SCHEMA } from './questions.ts'
import { findFor, type ListFilter, listApprovals, type Shown, show } from './read.ts'
import { refuseFor } from './refusals.ts'
import { createRunner, type Runner, type RunnerTiming } from './runner.ts'
import { createSettling } from './settle.ts'
import { createSpending } from './spend.ts'
import type { Standing } from './standing.ts'
import { approvalOf, NOTIFICATIONS, readHeld } from './store.ts'
import { createSweeper } from './sweeper.ts'
import { createVoting } from './vote.ts'
import { createWaiter, type Glimpse } from './waiter.ts'

/** Everything about calls that wait for people: what the gate, the channels, the console and the agents ask for. */
export interface Queue extends Desk {
  // What the gate asks for.
  hold(call: Exchange, held: Held, sealed: Sealed): Promise<Approval | Refusal>
  settle(approval: Approval, call: Pick<Exchange, 'waitMs' | 'gone' | 'whenGone'>): Promise<Approval | Refusal>
  recall(approval: Approval): Promise<Stored | Refusal>
  spend(approval: Approval, call: Exchange, terms: { verdict: Verdict; digest: Buffer }): Promise<Spent | Refusal>
  withdraw(approval: Approval, judged: Judged): Promise<Refusal>
  /** To be told of every outcome of a call that had an approval, and before the agent may ask for the response. */
  finish(approval: Approval, how: { callId: string; outcome: Outcome }): Promise<void>

  // What people ask for. (`vote` and `find` are what channels ask for, too.)
  vote(ballot: Ballot): Promise<BallotResult>
  readonly grants: GrantDesk
  readonly delegations: DelegationDesk
  list(person: Person, filter: ListFilter): Promise<readonly Approval[]>
  /** Null if there is none, or none that this person may see. */
  findFor(person: Person, id: string): Promise<Shown | null>
  /** What people decided on the same call before; null if there is no such approval for this viewer. */
  precedents(id: string, viewer: Viewer): Promise<Precedents | null>

  /** Tells of every change of an approval, perhaps more than once, until it is stopped. A hint: some may be lost. */
  watch(told: () => void): () => void

  // What agents ask for.
  ownCall(
    principal: Principal,
    id: string,
    patience: { waitMs: number; gone: AbortSignal } | null,
  ): Promise<OwnCall | null>

  /** After a failover or a restore: ends all that was opened before. Returns how many. */
  withdrawAll(how: { reason: WithdrawalReason; openedBefore: Date }): Promise<number>

  /** Ends what those who are suspended by now have open. */
  withdrawSuspended(): Promise<void>

  /** Ends what only circuit breakers asked for that hold nobody any more. */
  withdrawLifted(): Promise<void>

  /** Owes every channel a notice, once the transaction commits. */
  oweNotice(tx: Tx, notice: Notice): Promise<void>

  /** Told that these approvals are over, whatever the store may say of them later. */
  noteEnded(approvalIds: readonly string[]): void

  /** Begins to deliver, to run detached calls, to sweep, and to hear of other replicas. Throws `GatewayError`. */
  start(parts: Starting): Promise<void>
  /** Ends all of it; what is under way gets `waitMs` milliseconds. */
  stop(waitMs: number): Promise<void>
}

interface Starting {
  readonly channels: readonly RunningChannel[]
  revive(approval: Approval, stored: Stored): Promise<Exchange | null>
  resume(call: Exchange, approval: Approval): Promise<Outcome>
  oldestCallId(): string | null
}

interface Parts {
  readonly options: HoldOptions
  /** The names of the channels that are told of each approval. */
  readonly channels: readonly string[]
  readonly clock: Clock
  /** From 0 up to 1. */
  readonly random: () => number
  /** Of this process; another one after each start. */
  readonly replicaId: string
  /** Aborts when the process is about to end. */
  readonly draining: AbortSignal
  /** How a voter stands now; as they stood when they voted, if left out. */
  readonly standing?: Standing
  /** Awaited after people denied an approval. */
  onDenied?(approval: Approval): Promise<unknown>
  /** Awaited after each spend: writes down outside the store how far the log has come. */
  persistHead(spentSeq: number): Promise<void>
  readonly timing?: Partial<QueueTiming>
}

/** Milliseconds. */
export interface QueueTiming {
  readonly pollMs: number
  readonly sweepMs: number
  readonly outbox: Partial<OutboxTiming>
  readonly runner: Partial<RunnerTiming>
}

const TIMING: QueueTiming = { pollMs: 1000, sweepMs: 5000, outbox: {}, runner: {} }

/** Approvals that one transaction expires because somebody waits for them; the rest is seen again at the next look. */
const MOST_EXPIRED = 200
/** Approvals that one transaction ends because their agent was suspended. */
const MOST_WITHDRAWN = 100

/**
 * Connections of the pool that approvals use at once. Opening them has a lane of its own: when thousands of calls are held
 * in one moment, votes and spends do not queue behind them.
 */
const LANES = { holding: 3, rest: 5 }

export function createQueue(given: Omit<Ground, 'ended' | 'hasSchema'>, parts: Parts): Queue {
  const { database, keys, log } = given
  const ended = createEnded()
  const hasSchema = createSchemaCheck()
  const ground: Ground = { ...given, ended, hasSchema, database: openLane(database, { atOnce: LANES.rest }) }
  const holding: Ground = { ...given, ended, hasSchema, database: openLane(database, { atOnce: LANES.holding }) }
  const { options, clock, draining, replicaId } = parts
  const timing: QueueTiming = { ...TIMING, ...parts.timing }
  const standing: Standing = parts.standing ?? (async (voter) => voter)
  const waiter = createWaiter({
    look: (ids) => glimpse(ground, ids),
    expire: (ids) => expireOverdue(ground, { ids, most: MOST_EXPIRED }),
    clock,
    log,
    pollMs: timing.pollMs,
  })
  const claims = createClaims(ground)
  const precedents = createPrecedents(ground, { keepMs: options.keep })
  const watchers = new Set<() => void>()
  let running: { outbox: Outbox; notices: Notices; runner: Runner; stopSweeper(): Promise<void> } | null = null

  return {
    hold: createHolding(holding, { ...parts, standing }),
    settle: createSettling(ground, { waiter, draining }),
    spend: createSpending(ground, { clock, replicaId, standing, persistHead: parts.persistHead }),
    vote: createVoting(ground, parts.onDenied),
    ask: createAsking(ground),
    grants: createGrantDesk(ground),
    delegations: createDelegationDesk(ground),
    finish: (approval, how) => finish(ground, approval, how),
    claim: claims.claim,
    release: claims.release,
    precedents,
    list: async (person, filter) => claims.addTo(await listApprovals(ground, { person, filter })),
    findFor: async (person, id) => withClaim(await findFor(ground, id, person)),
    watch(told) {
      watchers.add(told)
      return () => watchers.delete(told)
    },
    find: async (id) => withClaim(await show(ground, id)),
    oweNotice: (tx, notice) => oweNotice(given, tx, { notice, channels: parts.channels }),
    noteEnded: (ids) => ended.note(ids),
    withdrawAll: (how) => withdrawAll(ground, how),
    async withdrawSuspended() {
      while ((await withdrawSuspended(ground, MOST_WITHDRAWN)) === MOST_WITHDRAWN);
    },
    async withdrawLifted() {
      while ((await withdrawLifted(ground, MOST_WITHDRAWN)) === MOST_WITHDRAWN);
    },
    ownCall: (principal, id, patience) =>
      findOwnCall({ ground, waiter }, { principal, id }, patience && { ...patience, draining }),

    async recall(approval) {
      return (await readCall(ground, approval.id)) ?? explain(approval.id)
    },

    async withdraw(approval, judged) {
      // Whoever could not judge has not judged otherwise: the approval stays for another attempt.
      if (judged.refusal && judged.refusal.code !== 'denied' && judged.refusal.code !== 'suspended') {
        return { ...judged.refusal, approval: approval.id }
      }
      const isSuspended = judged.verdict?.basis === 'suspended'
      const withdrawn = await withdraw(ground, approval.id, isSuspended ? 'suspended' : 'policy_changed')
      if (!withdrawn) return explain(approval.id)
      return isSuspended && judged.refusal ? { ...judged.refusal, approval: approval.id } : refuseFor(withdrawn)
    },

    async start({ channels, revive, resume, oldestCallId }) {
      const sweeper = createSweeper(ground, {
        replicaId,
        clock,
        oldestCallId,
        keepMs: options.keep,
        everyMs: timing.sweepMs,
      })
      await sweeper.start()
      const outbox = createOutbox(ground, {
        channels,
        clock,
        random: parts.random,
        replicaId,
        withClaim,
        precedents,
        timing: timing.outbox,
      })
      const notices = createNotices(ground, { channels })
      const runner = createRunner(ground, { revive, resume, replicaId, clock, timing: timing.runner })
      await database.listen(NOTIFICATIONS, (id) => {
        waiter.hear(id)
        outbox.hear()
        notices.hear()
        runner.hear()
        for (const told of watchers) told()
      })
      outbox.start()
      notices.start()
      runner.start()
      running = { outbox, notices, runner, stopSweeper: sweeper.stop }
    },

    async stop(waitMs) {
      waiter.stop()
      if (!running) return
      const { outbox, notices, runner, stopSweeper } = running
      running = null
      await Promise.all([outbox.stop(), notices.stop(), runner.stop(waitMs)])
      await stopSweeper()
    },
  }

  async function withClaim<Found extends { readonly approval: Approval }>(found: Found | null): Promise<Found | null> {
    const [approval] = found ? await claims.addTo([found.approval]) : []
    return found && approval ? { ...found, approval } : found
  }

  /** Why an approval that was open a moment ago cannot be used. */
  async function explain(id: string): Promise<Refusal> {
    const held = await readHeld(ground.database, keys, { id })
    return held ? refuseFor(approvalOf(held)) : refuse('withdrawn', `Not executed. There is no approval ${id}.`)
  }
}

async function glimpse({ database, hasSchema }: Ground, ids: readonly string[]): Promise<readonly Glimpse[]> {
  const { rows } = await database.query<{
    id: string
    state: Glimpse['state']
    overdue: boolean
    ended: boolean
    asked: number
    told: number
  }>(
    `SELECT id, state, outcome IS NOT NULL AS ended,
       coalesce((CASE state WHEN 'pending' THEN expires_at WHEN 'approved' THEN use_by END) <= clock_timestamp(), false)
         AS overdue, ${(await hasSchema(database, QUESTIONS_SCHEMA)) ? ASKED : '0 AS asked, 0 AS told'}
     FROM approval WHERE id = ANY($1)`,
    [ids],
  )
  return rows.map(({ overdue, ended, ...seen }) => ({ ...seen, isOverdue: overdue, hasOutcome: ended }))
}

/** The places of the question that is open, and of the last that its agent was told of; 0 if there is none. */
const ASKED = `
  coalesce((SELECT q.nth FROM question q WHERE q.approval = approval.id AND q.replied_at IS NULL), 0) AS asked,
  coalesce((SELECT max(q.nth) FROM question q
    WHERE q.approval = approval.id AND (q.told_at IS NOT NULL OR q.replied_at IS NOT NULL)), 0) AS told`
