import { type Counted, describeTrip } from '../domain/breaker.ts'
import type { Notice } from '../domain/channel.ts'
import type { Appended, Entry } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import type { Principal } from '../domain/principal.ts'
import { formatRule } from '../domain/verdict.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database, Tx } from '../platform/database.ts'
import type { Logger } from '../platform/logger.ts'
import type { Metrics } from '../platform/metrics.ts'
import { countOnce, sweepCounts, trip } from './breaker-table.ts'
import type { CompiledBreaker, PolicySet } from './set.ts'

const SWEEP_MS = 60_000

/** One thing an agent did. */
export interface Deed {
  readonly counts: readonly Counted[]
  readonly principal: Principal
  readonly upstream: string
  /** None if it could not be named: then breakers look at it that leave verbs and resources open. */
  readonly actions: readonly { readonly verb: string; readonly resource: string }[]
  readonly callId: string
}

/** Circuit breakers: counts what agents do, on all replicas together, and stops or holds one that does more than it may. */
export interface Breakers {
  /**
   * Counts it for every breaker that looks at it, and trips those for which it is one too many. Resolves once this process
   * knows what has tripped; true if something has, so that the call has to be judged anew. Throws `GatewayError`.
   */
  count(deed: Deed): Promise<boolean>
  start(): void
  stop(): void
}

interface Parts {
  readonly database: Database
  /** The policies of this moment. */
  active(): PolicySet | null
  readonly suspensions: {
    heldBy(principal: Principal): readonly string[]
    caughtUpTo(epoch: number): Promise<boolean>
  }
  /** Chains entries in a transaction; called last in it. */
  within(tx: Tx, entries: readonly Entry[]): Promise<Appended>
  /** Owes every channel the notice, in the same transaction. */
  oweNotice(tx: Tx, notice: Notice): Promise<void>
  /** Ends what waits for people on behalf of those who are stopped. */
  withdrawHeld(): Promise<unknown>
  readonly clock: Pick<Clock, 'now'>
  readonly metrics: Pick<Metrics, 'breakerTrips'>
  readonly log: Logger
}

export function createBreakers(parts: Parts): Breakers {
  const { database, active, suspensions, within, oweNotice, withdrawHeld, clock, metrics, log } = parts
  let timer: NodeJS.Timeout | null = null

  async function count(deed: Deed): Promise<boolean> {
    const set = active()
    const breakers = set ? findBreakers(set, deed) : []
    if (!set || breakers.length === 0) return false
    const totals = await countOnce(database, breakers, deed.principal)
    const exceeded = breakers.filter(({ moreThan }, index) => (totals[index] ?? 0) > moreThan)
    let hasTripped = false
    for (const breaker of exceeded) if (await tripOne(breaker, deed, set.version)) hasTripped = true
    return hasTripped
  }

  /** Those that look at it, except those that have tripped for this agent: what they count begins anew once it is resumed. */
  function findBreakers(set: PolicySet, { counts, principal, upstream, actions }: Deed): readonly CompiledBreaker[] {
    const lookup = set.breakers.size > 0 && set.breakerLookups.get(upstream)
    if (!lookup) return []
    const targets = actions.length > 0 ? actions : [NAMELESS]
    const found = targets.flatMap(({ verb, resource }) => lookup.find({ verb, resource, principal }))
    const tripped = suspensions.heldBy(principal)
    return [...new Set(found)].filter(
      (breaker) => counts.includes(breaker.counts) && !tripped.includes(formatRule(breaker.ref)),
    )
  }

  async function tripOne(breaker: CompiledBreaker, deed: Deed, policyVersion: number): Promise<boolean> {
    const { issuer, subject } = deed.principal
    const { effect } = breaker
    const name = formatRule(breaker.ref)
    const why = describeTrip(breaker)
    const result = await database.transaction(async (tx) => {
      const tripped = await trip(tx, breaker, { agent: deed.principal, why })
      if (!tripped.isChanged) return tripped
      await oweNotice(tx, { agent: { issuer, subject }, breaker: name, effect, why, at: clock.now() })
      await within(tx, [entryOf(breaker, deed, { policyVersion, counted: tripped.counted })])
      return tripped
    })
    if (result.isChanged) {
      metrics.breakerTrips.inc({ breaker: name, effect })
      log.warn({ breaker: name, effect, agent: { issuer, subject }, why }, 'a circuit breaker has tripped')
      // None of them can be used any more. If this fails, the sweeper of any replica does it.
      if (effect === 'suspend') {
        await withdrawHeld().catch((error: unknown) => {
          log.warn({ err: error }, 'held calls of a suspended agent could not be withdrawn yet')
        })
      }
    }
    if (result.isTripped && !(await suspensions.caughtUpTo(result.epoch))) {
      throw new GatewayError('store', 'whether an agent is suspended cannot be told')
    }
    return result.isTripped
  }

  return {
    count,
    start() {
      timer = setInterval(() => {
        sweepCounts(database).catch((error: unknown) =>
          log.debug({ err: error }, 'old counts of breakers could not be swept'),
        )
      }, SWEEP_MS).unref()
    },
    stop() {
      if (timer) clearInterval(timer)
    },
  }
}

const NAMELESS = { verb: null, resource: null }

function entryOf(
  breaker: CompiledBreaker,
  { principal, upstream, actions, callId }: Deed,
  { policyVersion, counted }: { policyVersion: number; counted: number },
): Entry {
  const { ref, counts, moreThan, windowMs, effect } = breaker
  const [first] = actions
  return {
    kind: 'breaker_tripped',
    callId,
    principal,
    upstream,
    ...(first && { verb: first.verb, resource: first.resource }),
    rule: formatRule(ref),
    policyVersion,
    detail: { count: counted, counts, effect, more_than: moreThan, within_ms: windowMs },
  }
}
