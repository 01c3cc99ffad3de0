import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Person, Principal, Role } from '../../src/domain/principal.ts'
import { createKillSwitch } from '../../src/identity/kill-switch.ts'
import { createSeenAgents } from '../../src/identity/seen-agents.ts'
import { openDatabase } from '../../src/platform/database.ts'
import { AGENT, ISSUER, log, openGateway, temporaryDirectory } from '../audit/world.ts'
import { createOlderDatabase, createTestDatabase, type TestDatabase } from '../postgres.ts'

let dir: Awaited<ReturnType<typeof temporaryDirectory>>
let store: TestDatabase
let gateway: Awaited<ReturnType<typeof openGateway>>
beforeEach(async () => {
  store = await createTestDatabase()
  dir = await temporaryDirectory()
  gateway = await openGateway({ url: store.url, dataDir: dir.path })
})
afterEach(async () => {
  await gateway.close()
  await store.close()
  await dir.remove()
})

function person(subject: string, ...roles: Role[]): Person {
  const proven = { name: null, groups: [], assurance: 'oidc', authenticatedAt: null } as const
  return { issuer: ISSUER, subject, roles: ['reviewer', ...roles], ...proven }
}
const OPERATOR = person('otto', 'operator')

/** What ends approvals, where there are none. */
const withdrawals = { withdrawHeld: async () => {}, withdrawLifted: async () => {} }

function parts({
  withdrawHeld = async (): Promise<unknown> => undefined,
  withdrawLifted = async (): Promise<unknown> => undefined,
} = {}) {
  const { database } = store
  const seen = createSeenAgents({ database, log })
  const { within } = gateway.audit
  return {
    seen,
    agents: createKillSwitch({
      database,
      within,
      noteSeen: seen.flush,
      withdrawHeld,
      withdrawLifted,
      issuers: [ISSUER],
      log,
    }),
  }
}

function asked(by: Person, agent: { issuer: string; subject: string } = AGENT) {
  const { issuer, subject } = agent
  return { agent: { issuer, subject }, by, reason: 'it deletes what it should not', via: 'api' }
}

async function entries() {
  const { rows } = await store.database.query(
    'SELECT kind, issuer, subject, reviewer FROM countersign.audit_log ORDER BY seq',
  )
  return rows
}

/** As if somebody had voted, on an approval that this store need not have. */
async function castVote(approval: string, { subject, name, at }: { subject: string; name: string; at: string }) {
  await using admin = new AsyncDisposableStack()
  const database = openDatabase({ url: store.adminUrl, log })
  admin.defer(() => database.close())
  await database.transaction(async (tx) => {
    await tx.query('SET LOCAL session_replication_role = replica')
    await tx.query(
      `INSERT INTO countersign.vote (approval, issuer, subject, name, at, decision, groups, roles, assurance, via,
         card_hash, kid, mac)
       VALUES ($1, $2, $3, $4, $5, 'deny', '[]', '[]', 'oidc', 'api', '', 'k', '')`,
      [approval, ISSUER, subject, name, at],
    )
  })
}

describe('the kill switch', () => {
  it('records who stopped an agent and who let it go on, each once', async () => {
    let withdrawn = 0
    const { agents } = parts({ withdrawHeld: async () => (withdrawn += 1) })
    const first = await agents.suspend(asked(person('rita')))
    expect(first).toMatchObject({
      done: true,
      isChanged: true,
      agent: {
        subject: AGENT.subject,
        seenAt: null,
        suspension: { by: { issuer: ISSUER, subject: 'rita' }, reason: 'it deletes what it should not' },
      },
    })
    // Who was first stays; but what is held is ended once more.
    expect(await agents.suspend(asked(OPERATOR))).toMatchObject({
      isChanged: false,
      agent: { suspension: { by: { subject: 'rita' } } },
    })
    expect(withdrawn).toBe(2)
    expect(await agents.resume(asked(OPERATOR))).toMatchObject({ isChanged: true, agent: { suspension: null } })
    expect(await agents.resume(asked(OPERATOR))).toMatchObject({ isChanged: false })
    const named = { issuer: ISSUER, subject: AGENT.subject }
    expect(await entries()).toEqual([
      { kind: 'agent_suspended', ...named, reviewer: `${ISSUER}|rita` },
      { kind: 'agent_resumed', ...named, reviewer: `${ISSUER}|otto` },
    ])
  })

  it('refuses an issuer of which nobody can call, and names those that there are', async () => {
    const { agents, seen } = parts()
    const typo = { issuer: `${ISSUER}/`, subject: AGENT.subject }
    const refused = { done: false, fault: 'unknown_issuer', known: [ISSUER] }
    expect(await agents.suspend(asked(OPERATOR, typo))).toEqual(refused)
    expect(await entries()).toEqual([])
    // Another replica knows them, by a newer configuration.
    const worker = { ...AGENT, ...typo, onBehalfOf: { issuer: typo.issuer, subject: 'alice' } }
    seen.note(worker, 'allow')
    await seen.flush()
    for (const subject of [AGENT.subject, 'alice'])
      expect(await agents.suspend(asked(OPERATOR, { ...typo, subject }))).toMatchObject({ done: true })
    expect(await agents.suspend(asked(OPERATOR, { ...typo, subject: 'nobody' }))).toEqual(refused)
  })

  describe('thrown for those that never called', () => {
    /** As if these people had stopped so many each, before there was a bound. */
    async function stopUnseen(people: readonly string[], times: number) {
      await store.database.query(
        `SELECT countersign.suspend_agent($1, 'made up ' || p || n, $1, p, 'x')
         FROM unnest($2::text[]) AS p, generate_series(1, $3) AS n`,
        [ISSUER, people, times],
      )
    }
    const madeUp = (subject: string) => ({ issuer: ISSUER, subject })
    const rows = async () => (await store.database.query('SELECT FROM countersign.suspension')).rowCount

    it('is bounded for each person, and never for an agent that has called', async () => {
      const { agents, seen } = parts()
      await stopUnseen(['rita'], 99)
      expect(await agents.suspend(asked(person('rita'), madeUp('the last')))).toMatchObject({ isChanged: true })
      const refused = { done: false, fault: 'too_many_suspended', most: 100, of: 'person' }
      expect(await agents.suspend(asked(person('rita'), madeUp('one more')))).toEqual(refused)
      expect([await rows(), (await entries()).length]).toEqual([100, 1])
      expect(await agents.suspend(asked(person('rita'), madeUp('the last')))).toMatchObject({ isChanged: false })
      expect(await agents.suspend(asked(person('rolf'), madeUp('one more')))).toMatchObject({ isChanged: true })
      // Whoever calls can be stopped, and those they act for; of those that were, none counts that has called since.
      seen.note(AGENT, 'allow')
      await seen.flush()
      for (const subject of [AGENT.subject, 'alice']) {
        expect(await agents.suspend(asked(person('rita'), madeUp(subject)))).toMatchObject({ isChanged: true })
      }
      expect(await agents.suspend(asked(person('rita'), madeUp('another')))).toEqual(refused)
      seen.note({ ...AGENT, subject: 'the last' }, 'allow')
      await seen.flush()
      expect(await agents.suspend(asked(person('rita'), madeUp('another')))).toMatchObject({ isChanged: true })
    })

    it('is bounded in all, and again possible once somebody was resumed', async () => {
      const { agents } = parts()
      await stopUnseen(['a', 'b', 'c'], 100)
      const stop = () => agents.suspend(asked(person('rita'), madeUp('one more')))
      expect(await stop()).toEqual({ done: false, fault: 'too_many_suspended', most: 300, of: 'everybody' })
      await agents.resume(asked(OPERATOR, madeUp('made up a1')))
      expect(await stop()).toMatchObject({ isChanged: true })
    })

    it('is bounded by the last row, however many are stopped at once', async () => {
      const { agents } = parts()
      await stopUnseen(['rita'], 95)
      const results = await Promise.all(
        Array.from({ length: 12 }, (_, n) => agents.suspend(asked(person('rita'), madeUp(`at once ${n}`)))),
      )
      expect(results.filter(({ done }) => done)).toHaveLength(5)
      expect(await rows()).toBe(100)
    })
  })

  it('calls whoever stopped an agent by the name of their last vote', async () => {
    const { agents } = parts()
    const nameOf = async () => (await agents.list(OPERATOR))[0]?.suspension?.by.name
    await agents.suspend(asked(person('rita')))
    expect(await nameOf()).toBeNull()
    await castVote('0000000001', { subject: 'rita', name: 'Rita from finance', at: '2026-11-02' })
    await castVote('0000000002', { subject: 'rita', name: 'Rita', at: '2026-11-01' })
    expect(await nameOf()).toBe('Rita from finance')
  })

  it('stops nobody without an entry', async () => {
    const { database } = store
    const within = async () => {
      throw new Error('the log cannot be written')
    }
    const agents = createKillSwitch({
      database,
      within,
      noteSeen: async () => {},
      ...withdrawals,
      issuers: [ISSUER],
      log,
    })
    await expect(agents.suspend(asked(OPERATOR))).rejects.toThrow('the log cannot be written')
    expect((await database.query('SELECT FROM countersign.suspension')).rowCount).toBe(0)
    expect(await entries()).toEqual([])
  })

  it('stays thrown if held calls cannot be withdrawn yet', async () => {
    const { agents } = parts({
      withdrawHeld: async () => {
        throw new Error('later')
      },
    })
    expect(await agents.suspend(asked(OPERATOR))).toMatchObject({ done: true, isChanged: true })
  })

  it('is put back even if calls that a breaker held cannot be withdrawn yet', async () => {
    const { agents } = parts({
      withdrawLifted: async () => {
        throw new Error('later')
      },
    })
    await agents.suspend(asked(OPERATOR))
    expect(await agents.resume(asked(OPERATOR))).toMatchObject({ isChanged: true, agent: { suspension: null } })
  })

  it.each(['reviewer', 'owner', 'auditor'] as const)('is not put back by a mere %s', async (role) => {
    const { agents } = parts()
    await agents.suspend(asked(OPERATOR))
    expect(await agents.resume(asked(person('rita', role)))).toEqual({ done: false, fault: 'not_allowed' })
    expect(await entries()).toHaveLength(1)
  })

  const WORKER: Principal = { ...AGENT, actors: [{ issuer: ISSUER, subject: 'planner' }] }

  it.each([
    ['its owner', 'olga', AGENT],
    ['the person it acts for', 'alice', AGENT],
    ['somebody who is an actor before it', 'planner', AGENT],
    ['the owner of an agent that acts for the stopped person', 'olga', { issuer: ISSUER, subject: 'alice' }],
    ['the stopped person', 'alice', { issuer: ISSUER, subject: 'alice' }],
  ])('may be thrown by %s, and not put back', async (_who, subject, stopped) => {
    const { agents, seen } = parts()
    seen.note(WORKER, 'allow')
    const own = person(subject, 'operator', 'admin')
    expect(await agents.suspend(asked(own, stopped))).toMatchObject({ done: true, isChanged: true })
    expect(await agents.resume(asked(own, stopped))).toEqual({ done: false, fault: 'own_side' })
    expect(await agents.resume(asked(OPERATOR, stopped))).toMatchObject({ done: true, isChanged: true })
  })

  it('does not take the same subject of another issuer for the same person', async () => {
    const { agents, seen } = parts()
    seen.note(AGENT, 'allow')
    const namesake = { ...person('olga', 'operator'), issuer: 'https://other.example.com' }
    expect(await agents.resume(asked(namesake))).toMatchObject({ done: true })
  })
})

describe('the kill switch, beside circuit breakers', () => {
  /** As a breaker does it, once it has counted enough. */
  async function trip(effect: 'hold' | 'suspend', breaker: string) {
    const { database } = store
    await database.query(
      `INSERT INTO countersign.breaker_count (breaker, counts, window_ms, issuer, subject, slices, amounts, until)
       VALUES ($1, 'calls', 60000, $2, $3, '{1}', '{5}', now() + interval '1 hour')`,
      [breaker, ISSUER, AGENT.subject],
    )
    const { rows } = await database.query<{ is_changed: boolean; is_tripped: boolean; epoch: number }>(
      'SELECT * FROM countersign.trip_breaker($1, $2, $3, $4, $5, $6, $7, $8)',
      [breaker, 'calls', 60_000, 4, effect, ISSUER, AGENT.subject, 'more than 4 calls within 1m'],
    )
    return rows[0]
  }

  it('lists what a breaker stopped or holds, and ends both with one resumption', async () => {
    const { agents } = parts()
    expect(await trip('hold', 'guard/probing')).toMatchObject({ is_tripped: true, is_changed: true, epoch: 1 })
    expect(await trip('hold', 'guard/wild')).toMatchObject({ is_changed: true, epoch: 2 })
    const because = { since: expect.any(Number), reason: 'more than 4 calls within 1m' }
    expect(await agents.list(OPERATOR)).toEqual([
      expect.objectContaining({
        subject: AGENT.subject,
        suspension: null,
        heldBy: [
          { breaker: 'guard/probing', ...because },
          { breaker: 'guard/wild', ...because },
        ],
      }),
    ])
    expect(await trip('suspend', 'guard/flood')).toMatchObject({ is_changed: true, epoch: 3 })
    expect(await agents.list(OPERATOR)).toMatchObject([
      { suspension: { breaker: 'guard/flood', by: { issuer: 'countersign', subject: 'breaker guard/flood' } } },
    ])
    // Stopping it again changes nothing: whoever was first stays.
    expect(await agents.suspend(asked(OPERATOR))).toMatchObject({
      isChanged: false,
      agent: { suspension: { breaker: 'guard/flood' } },
    })
    expect(await agents.resume(asked(OPERATOR))).toMatchObject({
      isChanged: true,
      agent: { suspension: null, heldBy: [] },
    })
    expect(await agents.resume(asked(OPERATOR))).toMatchObject({ isChanged: false })
    expect((await store.database.query('SELECT FROM countersign.breaker_count')).rowCount).toBe(0)
    expect(await entries()).toMatchObject([{ kind: 'agent_resumed', reviewer: `${ISSUER}|otto` }])
  })

  it('trips nothing that is not counted, or not enough, and changes nothing twice', async () => {
    const { rows } = await store.database.query(
      `SELECT * FROM countersign.trip_breaker('guard/none', 'calls', 60000, 0, 'hold', $1, $2, 'why')`,
      [ISSUER, AGENT.subject],
    )
    expect(rows).toMatchObject([{ is_tripped: false, is_changed: false, counted: null, epoch: 0 }])
    await trip('hold', 'guard/probing')
    const { rows: again } = await store.database.query(
      `SELECT * FROM countersign.trip_breaker('guard/probing', 'calls', 60000, $3, 'hold', $1, $2, 'why')`,
      [ISSUER, AGENT.subject, 4],
    )
    expect(again).toMatchObject([{ is_tripped: true, is_changed: false, epoch: 1 }])
    const { rows: enough } = await store.database.query(
      `SELECT * FROM countersign.trip_breaker('guard/probing', 'calls', 60000, $3, 'suspend', $1, $2, 'why')`,
      [ISSUER, AGENT.subject, 5],
    )
    expect(enough).toMatchObject([{ is_tripped: false, is_changed: false }])
    expect((await store.database.query('SELECT FROM countersign.suspension')).rowCount).toBe(0)
  })

  it('is not put back by those on its own side after a breaker either', async () => {
    const { agents, seen } = parts()
    seen.note(AGENT, 'allow')
    await trip('hold', 'guard/probing')
    expect(await agents.resume(asked(person('olga', 'operator')))).toEqual({ done: false, fault: 'own_side' })
    expect(await agents.list(OPERATOR)).toMatchObject([{ heldBy: [{ breaker: 'guard/probing' }] }])
  })

  it('works with the schema of the release before', async () => {
    const older = await createOlderDatabase(10)
    try {
      const within = async () => ({ seq: 1, hash: '', epoch: 1 })
      const { database } = older
      const agents = createKillSwitch({
        database,
        within,
        noteSeen: async () => {},
        ...withdrawals,
        issuers: [ISSUER],
        log,
      })
      expect(await agents.suspend(asked(OPERATOR))).toMatchObject({
        isChanged: true,
        agent: { suspension: { breaker: null, by: { subject: 'otto' } }, heldBy: [] },
      })
      expect(await agents.list(OPERATOR)).toMatchObject([{ subject: AGENT.subject, heldBy: [] }])
      expect(await agents.resume(asked(OPERATOR))).toMatchObject({ isChanged: true, agent: { suspension: null } })
    } finally {
      await older.close()
    }
  })
})

describe('who is meant by a name', () => {
  it('are those of that subject, whatever its case, or the one that is named with its issuer', async () => {
    const { agents, seen } = parts()
    const other = 'https://other.example.com'
    for (const [issuer, subject] of [
      [ISSUER, 'twin'],
      [other, 'twin'],
      [ISSUER, 'Solo'],
      [ISSUER, `${other}|twin`],
    ] as const) {
      seen.note({ ...AGENT, issuer, subject }, 'allow')
    }
    await seen.flush()
    expect(await agents.find('solo')).toEqual([{ issuer: ISSUER, subject: 'Solo' }])
    expect(await agents.find('twin')).toEqual(
      expect.arrayContaining([
        { issuer: ISSUER, subject: 'twin' },
        { issuer: other, subject: 'twin' },
      ]),
    )
    expect(await agents.find(`${ISSUER}|twin`)).toEqual([{ issuer: ISSUER, subject: 'twin' }])
    // Another one's subject looks like that: it does not stand in the way.
    expect(await agents.find(`${other}|twin`)).toEqual([{ issuer: other, subject: 'twin' }])
    expect(await agents.find('tw%')).toEqual([])
    expect(await agents.find('nobody')).toEqual([])
  })

  it('are no more than a person can choose from', async () => {
    const { agents, seen } = parts()
    for (let n = 0; n < 30; n++) seen.note({ ...AGENT, issuer: `https://${n}.example.com`, subject: 'same' }, 'allow')
    await seen.flush()
    expect(await agents.find('same')).toHaveLength(10)
  })
})

describe('what people see of agents', () => {
  it('are the calls, holds and denials of all gateways, with those stopped first', async () => {
    const [one, other] = [parts(), parts()]
    const second: Principal = { ...AGENT, subject: 'agent-8', owner: null, onBehalfOf: null }
    for (const effect of ['allow', 'hold', 'deny'] as const) one.seen.note(AGENT, effect)
    other.seen.note({ ...AGENT, onBehalfOf: null }, 'hold')
    other.seen.note(second, 'allow')
    await Promise.all([one.seen.flush(), other.seen.flush()])
    await one.agents.suspend(asked(OPERATOR, { issuer: ISSUER, subject: 'alice' }))
    const listed = await one.agents.list(OPERATOR)
    expect(listed.map(({ subject, calls, holds, denials }) => [subject, calls, holds, denials])).toEqual([
      ['alice', 0, 0, 0],
      ...[
        ['agent-7', 4, 2, 1],
        ['agent-8', 1, 0, 0],
      ].sort((a, b) => order(listed, a[0]) - order(listed, b[0])),
    ])
    expect(listed[0]).toMatchObject({ seenAt: null, suspension: { by: { subject: 'otto' } } })
    expect(listed[1]?.seenAt).toBeGreaterThan(Date.now() - 60_000)
  })

  function order(listed: readonly { subject: string }[], subject: unknown): number {
    return listed.findIndex((one) => one.subject === subject)
  }

  it.each([
    ['olga', ['agent-7']],
    ['alice', ['agent-7']],
    ['rita', []],
  ])('are, for %s, those of their own', async (subject, subjects) => {
    const { agents, seen } = parts()
    seen.note(AGENT, 'allow')
    seen.note({ ...AGENT, subject: 'agent-8', owner: null, onBehalfOf: null }, 'allow')
    await seen.flush()
    await agents.suspend(asked(OPERATOR, { issuer: ISSUER, subject: 'agent-8' }))
    expect((await agents.list(person(subject))).map((agent) => agent.subject)).toEqual(subjects)
  })

  it('loses no count while the store is away', async () => {
    let isAway = true
    const database = {
      ...store.database,
      transaction: <T>(work: Parameters<typeof store.database.transaction<T>>[0]) =>
        isAway ? Promise.reject(new Error('away')) : store.database.transaction(work),
    }
    const seen = createSeenAgents({ database, log })
    seen.note(AGENT, 'hold')
    await expect(seen.flush()).rejects.toThrow('away')
    seen.note(AGENT, 'hold')
    isAway = false
    await seen.stop()
    expect(await parts().agents.list(OPERATOR)).toMatchObject([{ subject: 'agent-7', calls: 2, holds: 2 }])
  })
})
