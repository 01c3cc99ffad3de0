import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Person, Principal, Role } from '../../src/domain/principal.ts'
import { createKillSwitch } from '../../src/identity/kill-switch.ts'
import { createSeenAgents } from '../../src/identity/seen-agents.ts'
import { AGENT, ISSUER, log, openGateway, temporaryDirectory } from '../audit/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'

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

function parts({ withdrawHeld = async (): Promise<unknown> => undefined } = {}) {
  const { database } = store
  const seen = createSeenAgents({ database, log })
  const { within } = gateway.audit
  return { seen, agents: createKillSwitch({ database, within, noteSeen: seen.flush, withdrawHeld, log }) }
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

  it('stops nobody without an entry', async () => {
    const { database } = store
    const within = async () => {
      throw new Error('the log cannot be written')
    }
    const agents = createKillSwitch({ database, within, noteSeen: async () => {}, withdrawHeld: async () => {}, log })
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
