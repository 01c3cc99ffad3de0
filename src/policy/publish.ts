import { setTimeout as sleep } from 'node:timers/promises'
import type { Appended, Entry } from '../domain/entry.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database, Tx } from '../platform/database.ts'
import type { KeyPair, SecretKey } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'
import type { Metrics } from '../platform/metrics.ts'
import { formatProblem, type Problem } from '../platform/yaml.ts'
import { type PoliciesInForce, writeInForce } from './in-force.ts'
import type { PolicyMark } from './mark.ts'
import { isProblems } from './problem.ts'
import { createPublishedSets, type Published } from './published.ts'
import type { PolicySet } from './set.ts'
import { type PolicySource, readSource } from './source.ts'

const CHANNEL = 'countersign_policy'
const POLL_MS = 2000
const MOST_RACES = 10
const MOST_PROBLEMS_RECORDED = 10
const LONGEST_PROBLEM = 300

interface Parts {
  readonly database: Database
  /** The key that the database does not have. */
  readonly keys: KeyPair<SecretKey>
  /** Outlives this process, outside of the store. */
  readonly mark: PolicyMark
  readonly audit: {
    append(entry: Entry): Promise<Appended>
    within(tx: Tx, entries: readonly Entry[]): Promise<Appended>
  }
  /** Reads the policies of this machine. */
  load(): Promise<PolicySource | readonly Problem[]>
  /** Compiles for this machine's configuration. */
  compile(source: PolicySource): PolicySet | readonly Problem[]
  readonly clock: Pick<Clock, 'now'>
  readonly log: Logger
  readonly metrics: Pick<Metrics, 'policyVersion' | 'policyRefused'>
}

export type PublishResult =
  | { readonly result: 'published'; readonly version: number }
  /** It is active already, or (at a start or a reload) was once and is not any more. */
  | { readonly result: 'known'; readonly version: number; readonly isActive: boolean }
  | { readonly result: 'refused'; readonly problems: readonly Problem[] }

type Trigger = 'start' | 'reload' | 'publish'

export interface PolicyStore {
  /** The set that decides; null if there is none, or if this process cannot compile it, so that nothing is released. */
  active(): PolicySet | null
  /** Why there is none. */
  whyNone(): string | null
  /** The active set as it was written and published; null if there is none. Slow: for people, not for calls. */
  inForce(): PoliciesInForce | null
  /** Publishes the policies of this machine unless they were published before: an old replica brings nothing old back. */
  publishAtStart(by: string): Promise<PublishResult>
  /** The same, on SIGHUP. */
  reload(by: string): Promise<PublishResult>
  /** Makes the policies of this machine active, also if they were once: the way to go back. */
  publish(by: string): Promise<PublishResult>
  /** Looks at the store once. Throws `GatewayError('store')` if it cannot be read. */
  refresh(): Promise<void>
  /** Follows the store from now on: hints by NOTIFY, and a look every two seconds. */
  follow(): Promise<void>
  /** Calls back after each change of what is active; returns how to end that. */
  whenChanged(hear: (set: PolicySet | null) => void): () => void
  stop(): Promise<void>
}

/** The store's active policy set as this process follows it. */
export function createPolicyStore(parts: Parts): PolicyStore {
  const { database, keys, mark, audit, load, compile, clock, log, metrics } = parts
  const forged = new Set<string>()
  const sets = createPublishedSets(keys, noteForgery)
  const hearers = new Set<(set: PolicySet | null) => void>()
  const stopping = new AbortController()
  let current: PolicySet | null = null
  let written: { readonly published: Published; readonly source: PolicySource } | null = null
  let reason: string | null = 'no policy was published yet'
  /** Never goes back, even if the store does. */
  let newestSeen = 0
  /** The same of the processes before this one. */
  let marked: number | null = null
  let looking: Promise<void> | null = null
  let mustLookAgain = false
  let following: Promise<void> | null = null

  function noteForgery(version: string): void {
    if (forged.has(version) || forged.size >= 1000) return
    forged.add(version)
    metrics.policyRefused.inc()
    log.error({ version }, 'a policy set in the store carries no valid MAC and is ignored')
  }

  async function recall(): Promise<number> {
    marked ??= await mark.read()
    return marked
  }

  async function remember(version: number): Promise<void> {
    if (version <= (await recall())) return
    await mark.write(version)
    marked = version
  }

  function refresh(): Promise<void> {
    if (looking) {
      mustLookAgain = true
      return looking
    }
    looking = look()
    return looking
  }

  async function look(): Promise<void> {
    try {
      do {
        mustLookAgain = false
        // Nothing older than what was active is looked at, here or before this process began.
        const floor = Math.max(newestSeen, (await recall()) - 1)
        const published = await sets.newest(database, floor)
        if (published) await adopt(published)
        else if (current === null && floor > newestSeen) {
          reason = `the store lacks policy version ${floor + 1}, which was active: run countersign policy publish`
        }
      } while (mustLookAgain)
    } finally {
      // In the same breath as the test above: whoever asks from now on starts another look.
      looking = null
    }
  }

  async function adopt(published: Published): Promise<void> {
    const { version, hash } = published
    await remember(version)
    const source = readSource(await sets.text(database, published))
    const set = isProblems(source) ? source : compile(source)
    newestSeen = version
    if (isProblems(set)) {
      current = null
      written = null
      const first = set[0] ? formatProblem(set[0]) : 'it cannot be read'
      reason = `policy version ${version} cannot be used here: ${first}`
      metrics.policyVersion.set(0)
      await recordRefusal({ trigger: 'follow', problems: set, hash, version })
    } else {
      current = { ...set, version }
      // What could not be read did not compile either.
      written = isProblems(source) ? null : { published, source }
      reason = null
      metrics.policyVersion.set(version)
      log.info({ version, hash, publishedBy: published.publishedBy }, 'a policy set is active')
    }
    for (const hear of hearers) hear(current)
  }

  async function publishSource(source: PolicySource, by: string, trigger: Trigger): Promise<PublishResult> {
    const { hash, canonical, policies } = source
    const floor = await recall()
    for (let race = 0; race < MOST_RACES; race++) {
      const outcome = await database.transaction(async (tx): Promise<PublishResult | null> => {
        // In this order: what another replica publishes from here on either is found below, or takes the number.
        const newest = await sets.newest(tx, Math.max(0, floor - 1))
        const known = trigger === 'publish' ? newest : await sets.withHash(tx, hash)
        if (known?.hash === hash) {
          return { result: 'known', version: known.version, isActive: newest?.hash === hash }
        }
        const after = newest?.version ?? floor
        const inserted = await sets.insert(tx, { after, hash, canonical, at: clock.now(), by })
        if (!inserted) return null
        const { version } = inserted
        await tx.query('SELECT pg_notify($1, $2)', [CHANNEL, String(version)])
        const rules = policies.reduce((count, policy) => count + policy.rules.length, 0)
        const detail = { hash, trigger, policies: policies.length, rules }
        await audit.within(tx, [{ kind: 'policy_published', policyVersion: version, reason: by, detail }])
        return { result: 'published', version }
      })
      if (outcome) {
        await refresh()
        return outcome
      }
    }
    return refused(trigger, [{ file: 'store', line: 0, message: 'other replicas kept publishing at the same time' }])
  }

  async function bring(by: string, trigger: Trigger): Promise<PublishResult> {
    const source = await load()
    if (isProblems(source)) return refused(trigger, source)
    const set = compile(source)
    if (isProblems(set)) return refused(trigger, set, source.hash)
    const result = await publishSource(source, by, trigger)
    if (result.result === 'known' && !result.isActive) {
      log.warn(
        { version: result.version, active: newestSeen },
        'these policies were active once and are not brought back; `policy publish` does that',
      )
    }
    return result
  }

  async function refused(trigger: Trigger, problems: readonly Problem[], hash?: string): Promise<PublishResult> {
    // What is active stays; a start that is refused still follows the others.
    await recordRefusal({ trigger, problems, hash, version: current?.version })
    await refresh().catch((error: unknown) => log.warn({ err: error }, 'the store could not be read for policies'))
    return { result: 'refused', problems }
  }

  async function recordRefusal(refusal: {
    trigger: Trigger | 'follow'
    problems: readonly Problem[]
    hash: string | undefined
    version: number | undefined
  }): Promise<void> {
    const { trigger, hash, version } = refusal
    const problems = refusal.problems
      .slice(0, MOST_PROBLEMS_RECORDED)
      .map((one) => formatProblem(one).slice(0, LONGEST_PROBLEM))
    metrics.policyRefused.inc()
    log.error({ trigger, hash, problems }, 'a policy set was refused')
    try {
      await audit.append({
        kind: 'policy_refused',
        ...(version === undefined ? {} : { policyVersion: version }),
        detail: { trigger, problems, count: refusal.problems.length, ...(hash === undefined ? {} : { hash }) },
      })
    } catch (error) {
      // The refusal itself stands; calls need the audit log too, and are refused while it is down.
      log.error({ err: error }, 'the refusal of a policy set could not be recorded')
    }
  }

  async function poll(): Promise<void> {
    let isFailing = false
    while (!stopping.signal.aborted) {
      try {
        await sleep(POLL_MS, undefined, { signal: stopping.signal, ref: false })
        await refresh()
        isFailing = false
      } catch (error) {
        if (stopping.signal.aborted) return
        if (!isFailing) log.warn({ err: error }, 'the store could not be read for policies')
        isFailing = true
      }
    }
  }

  return {
    active: () => current,
    whyNone: () => reason,
    inForce: () => written && writeInForce(written.published, written.source.policies),
    publishAtStart: (by) => bring(by, 'start'),
    reload: (by) => bring(by, 'reload'),
    publish: (by) => bring(by, 'publish'),
    refresh,
    async follow() {
      if (following) return
      following = poll()
      await database.listen(CHANNEL, () => {
        if (stopping.signal.aborted) return
        refresh().catch((error: unknown) => log.warn({ err: error }, 'the store could not be read for policies'))
      })
      await refresh()
    },
    whenChanged(hear) {
      hearers.add(hear)
      return () => hearers.delete(hear)
    },
    async stop() {
      stopping.abort()
      await following
      await looking?.catch(() => undefined)
    },
  }
}
