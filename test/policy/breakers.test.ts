import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Counted } from '../../src/domain/breaker.ts'
import type { Notice } from '../../src/domain/channel.ts'
import { GatewayError } from '../../src/domain/error.ts'
import { createSuspensions } from '../../src/identity/suspensions.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { newCallId } from '../../src/platform/id.ts'
import { createMetrics } from '../../src/platform/metrics.ts'
import { countOnce, sweepCounts } from '../../src/policy/breaker-table.ts'
import { createBreakers } from '../../src/policy/breakers.ts'
import { AGENT, ISSUER, log, openGateway, temporaryDirectory } from '../audit/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { setOf } from './world.ts'

const POLICY = `
name: guard
rules:
  - { name: all, upstreams: [billing, scratch], effect: allow }
breakers:
  - { name: deletions, upstreams: [billing], verbs: [DELETE], counts: calls, more_than: 3, within: 1m, then: suspend }
  - { name: denials, counts: denials, more_than: 2, within: 1m, then: hold, approval: { reviewers: ["group:ops"] } }
  - { name: holds, counts: holds, more_than: 1, within: 1m, then: suspend }
  - { name: of-others, principals: ["group:others"], counts: calls, more_than: 1, within: 1m, then: suspend }
`
const SET = { ...setOf(POLICY), version: 7 }

let dir: Awaited<ReturnType<typeof temporaryDirectory>>
let store: TestDatabase
let gateway: Awaited<ReturnType<typeof openGateway>>
let notices: Notice[]
beforeEach(async () => {
  store = await createTestDatabase()
  dir = await temporaryDirectory()
  gateway = await openGateway({ url: store.url, dataDir: dir.path })
  notices = []
})
afterEach(async () => {
  await gateway.close()
  await store.close()
  await dir.remove()
})

/** One gateway process, as far as breakers go: what it knows of suspensions is its own. */
async function replica({
  database = store.database,
  set = SET,
  withdrawHeld = async (): Promise<unknown> => null,
} = {}) {
  const suspensions = createSuspensions({ database, clock: systemClock, log, timing: { idleMs: 60_000 } })
  await suspensions.start()
  const metrics = createMetrics()
  const breakers = createBreakers({
    database,
    active: () => set,
    suspensions,
    within: gateway.audit.within,
    oweNotice: async (_tx, notice) => void notices.push(notice),
    withdrawHeld,
    clock: systemClock,
    metrics,
    log,
  })
  return { suspensions, breakers, metrics }
}

function deed(
  verb: string,
  counts: readonly Counted[] = ['calls'],
  more: { upstream?: string; subject?: string } = {},
) {
  const { upstream = 'billing', subject = AGENT.subject } = more
  const principal = { ...AGENT, subject }
  return { counts, principal, upstream, actions: [{ verb, resource: '/a' }], callId: newCallId() }
}

async function entries() {
  const { rows } = await store.database.query<{ body: Buffer }>(
    `SELECT body FROM countersign.audit_log WHERE kind = 'breaker_tripped' ORDER BY seq`,
  )
  return rows.map(({ body }) => JSON.parse(body.toString()))
}

async function counted() {
  const { rows } = await store.database.query(
    'SELECT breaker, subject, slices, amounts::integer[] AS amounts FROM countersign.breaker_count',
  )
  return rows
}

const resume = () => store.database.query('SELECT * FROM countersign.resume_agent($1, $2)', [ISSUER, AGENT.subject])

describe('a breaker', () => {
  it('lets as many pass as it says, trips on the next, and says so in the log and to channels, once', async () => {
    let withdrawn = 0
    const { breakers, suspensions, metrics } = await replica({ withdrawHeld: async () => (withdrawn += 1) })
    const answers: boolean[] = []
    for (let n = 0; n < 4; n++) answers.push(await breakers.count(deed('DELETE')))
    expect(answers).toEqual([false, false, false, true])
    expect(suspensions.isSuspended(AGENT)).toBe(true)
    expect(withdrawn).toBe(1)
    // Calls that were judged before still arrive.
    expect(await breakers.count(deed('DELETE'))).toBe(true)
    expect(await entries()).toEqual([
      expect.objectContaining({
        rule: 'guard/deletions',
        policy_version: 7,
        upstream: 'billing',
        verb: 'DELETE',
        detail: { count: 4, counts: 'calls', effect: 'suspend', more_than: 3, within_ms: 60_000 },
      }),
    ])
    expect(notices).toEqual([
      {
        agent: { issuer: ISSUER, subject: AGENT.subject },
        breaker: 'guard/deletions',
        effect: 'suspend',
        why: 'more than 3 calls within 1m',
        at: expect.any(Number),
      },
    ])
    const { values } = await metrics.breakerTrips.get()
    expect(values).toMatchObject([{ labels: { breaker: 'guard/deletions', effect: 'suspend' }, value: 1 }])
    const { rows } = await store.database.query(
      'SELECT by_issuer, by_subject, breaker, reason FROM countersign.suspension',
    )
    expect(rows).toEqual([
      {
        by_issuer: 'countersign',
        by_subject: 'breaker guard/deletions',
        breaker: 'guard/deletions',
        reason: 'more than 3 calls within 1m',
      },
    ])
  })

  it('counts calls at once on three replicas exactly: all but those it lets pass are stopped', async () => {
    const replicas = await Promise.all([replica(), replica(), replica()])
    const answers = await Promise.all(
      replicas.flatMap(({ breakers }) => Array.from({ length: 10 }, () => breakers.count(deed('DELETE')))),
    )
    expect(answers.filter((hasTripped) => !hasTripped)).toHaveLength(3)
    expect(answers.filter((hasTripped) => hasTripped)).toHaveLength(27)
    expect(await entries()).toHaveLength(1)
    expect(notices).toHaveLength(1)
    // Those that only heard of it know it as well, before their calls are judged anew.
    for (const { suspensions } of replicas) expect(suspensions.isSuspended(AGENT)).toBe(true)
  })

  it('holds in place of suspending, and counts nothing for that breaker while it does', async () => {
    const { breakers, suspensions } = await replica()
    const denied = () => breakers.count(deed('GET', ['calls', 'denials']))
    expect([await denied(), await denied(), await denied(), await denied()]).toEqual([false, false, true, false])
    expect(suspensions.isSuspended(AGENT)).toBe(false)
    expect(suspensions.heldBy(AGENT)).toEqual(['guard/denials'])
    expect((await entries())[0]).toMatchObject({ rule: 'guard/denials', detail: { count: 3, effect: 'hold' } })
    expect(await counted()).toMatchObject([{ breaker: 'guard/denials', amounts: [3] }])
  })

  it('looks only at what it names: verb, upstream, agents, and what it counts', async () => {
    const { breakers } = await replica()
    for (let n = 0; n < 5; n++) {
      expect(await breakers.count(deed('GET'))).toBe(false)
      expect(await breakers.count(deed('DELETE', ['calls'], { upstream: 'scratch' }))).toBe(false)
      expect(await breakers.count(deed('DELETE', ['calls'], { subject: `agent-${n}` }))).toBe(false)
    }
    expect(await counted()).toHaveLength(5)
    expect(await breakers.count(deed('GET', ['holds']))).toBe(false)
    expect(await breakers.count(deed('GET', ['holds']))).toBe(true)
    expect(await entries()).toMatchObject([{ rule: 'guard/holds' }])
  })

  it('counts one call once, however many of its actions match', async () => {
    const { breakers } = await replica()
    const many = { ...deed('DELETE'), actions: Array.from({ length: 9 }, () => ({ verb: 'DELETE', resource: '/a' })) }
    expect(await breakers.count(many)).toBe(false)
    expect(await counted()).toMatchObject([{ amounts: [1] }])
  })

  it('begins anew after a resumption, whatever it had counted', async () => {
    const { breakers, suspensions } = await replica()
    for (let n = 0; n < 4; n++) await breakers.count(deed('DELETE'))
    const { rows } = await resume()
    expect(rows).toMatchObject([{ is_changed: true }])
    expect(await counted()).toEqual([])
    await suspensions.caughtUpTo(Number(rows[0]?.['epoch']))
    const answers: boolean[] = []
    for (let n = 0; n < 4; n++) answers.push(await breakers.count(deed('DELETE')))
    expect(answers).toEqual([false, false, false, true])
  })

  it('does not trip on what it counted before somebody resumed the agent at that moment', async () => {
    const one = await replica({
      // Between its count and its attempt to trip.
      database: { ...store.database, transaction: (work) => resume().then(() => store.database.transaction(work)) },
    })
    const answers: boolean[] = []
    for (let n = 0; n < 4; n++) answers.push(await one.breakers.count(deed('DELETE')))
    expect(answers).toEqual([false, false, false, false])
    expect(await entries()).toEqual([])
    expect((await store.database.query('SELECT FROM countersign.suspension')).rowCount).toBe(0)
  })

  it('stops nobody without an entry', async () => {
    const { suspensions, breakers } = await replica()
    await gateway.audit.close()
    for (let n = 0; n < 3; n++) await breakers.count(deed('DELETE'))
    const broken = createBreakers({
      database: store.database,
      active: () => SET,
      suspensions,
      within: async () => {
        throw new GatewayError('audit', 'the log cannot be written')
      },
      oweNotice: async () => {},
      withdrawHeld: async () => {},
      clock: systemClock,
      metrics: createMetrics(),
      log,
    })
    await expect(broken.count(deed('DELETE'))).rejects.toThrow('the log cannot be written')
    expect((await store.database.query('SELECT FROM countersign.suspension')).rowCount).toBe(0)
  })

  it('refuses where this process cannot learn what has tripped', async () => {
    const breakers = createBreakers({
      database: store.database,
      active: () => SET,
      suspensions: { heldBy: () => [], caughtUpTo: async () => false },
      within: gateway.audit.within,
      oweNotice: async () => {},
      withdrawHeld: async () => {},
      clock: systemClock,
      metrics: createMetrics(),
      log,
    })
    for (let n = 0; n < 3; n++) await breakers.count(deed('DELETE'))
    await expect(breakers.count(deed('DELETE'))).rejects.toThrow(GatewayError)
  })

  it('asks nothing of the store where no breaker looks', async () => {
    const query = () => Promise.reject(new Error('it was asked'))
    const { breakers } = await replica()
    const silent = createBreakers({
      database: { ...store.database, query, transaction: query },
      active: () => SET,
      suspensions: { heldBy: () => [], caughtUpTo: async () => true },
      within: gateway.audit.within,
      oweNotice: async () => {},
      withdrawHeld: async () => {},
      clock: systemClock,
      metrics: createMetrics(),
      log,
    })
    expect(await silent.count(deed('GET'))).toBe(false)
    expect(await breakers.count(deed('GET'))).toBe(false)
  })
})

describe('the window', () => {
  const breaker = { ref: { policy: 'p', rule: 'b' }, counts: 'calls' as const, windowMs: 6_000 }

  /** As if so much time had gone by. */
  async function age(ms: number) {
    await store.database.query(
      `UPDATE countersign.breaker_count SET slices = ARRAY(SELECT s - $1::bigint FROM unnest(slices) AS s),
         until = until - $1 * interval '1 millisecond'`,
      [ms],
    )
  }

  it('forgets what has left it, and keeps a bounded number of slices', async () => {
    expect(await countOnce(store.database, [breaker], AGENT)).toEqual([1])
    await age(3_000)
    expect(await countOnce(store.database, [breaker], AGENT)).toEqual([2])
    await age(4_000)
    expect(await countOnce(store.database, [breaker], AGENT)).toEqual([2])
    for (let n = 0; n < 100; n++) {
      await age(100)
      await countOnce(store.database, [breaker], AGENT)
    }
    const { rows } = await store.database.query<{ slices: number; amounts: number }>(
      'SELECT cardinality(slices) AS slices, cardinality(amounts) AS amounts FROM countersign.breaker_count',
    )
    expect(rows[0]?.slices).toBeLessThanOrEqual(62)
    expect(rows[0]?.amounts).toBe(rows[0]?.slices)
  })

  it('is swept once nothing of it counts', async () => {
    await countOnce(store.database, [breaker], AGENT)
    await sweepCounts(store.database)
    expect(await counted()).toHaveLength(1)
    await age(10_000)
    await sweepCounts(store.database)
    expect(await counted()).toEqual([])
  })

  it('counts for several breakers in one statement, each by its own window', async () => {
    const other = { ref: { policy: 'a', rule: 'b' }, counts: 'denials' as const, windowMs: 60_000 }
    await countOnce(store.database, [breaker], AGENT)
    expect(await countOnce(store.database, [breaker, other], AGENT)).toEqual([2, 1])
    expect(await countOnce(store.database, [other, breaker], AGENT)).toEqual([2, 3])
  })
})
