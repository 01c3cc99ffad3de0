import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAuditReader } from '../../src/audit/reader.ts'
import type { Found, Reach, Search } from '../../src/audit/search.ts'
import type { Entry } from '../../src/domain/entry.ts'
import { newCallId } from '../../src/platform/id.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import {
  AGENT,
  asSuperuser,
  damage,
  ISSUER,
  intentOf,
  keys,
  openGateway,
  outcomeOf,
  temporaryDirectory,
} from './world.ts'

const FINN = { issuer: ISSUER, subject: 'finn' }
const CALLS = [newCallId(), newCallId(), newCallId()] as const
const APPROVAL = '7Q3F000000'
const OTHER = { ...AGENT, subject: 'agent-8', owner: null, onBehalfOf: null }
const about = { callId: CALLS[1], approvalId: APPROVAL, principal: AGENT, upstream: 'billing', verb: 'POST' } as const

const ENTRIES: readonly Entry[] = [
  { kind: 'gateway_started' },
  intentOf({ callId: CALLS[0], model: 'model-9' }),
  outcomeOf(CALLS[0]),
  intentOf({ callId: CALLS[1], verb: 'POST', resource: '/refunds', effect: 'hold', rule: 'billing/refunds' }),
  { ...about, kind: 'held', effect: 'hold', resource: '/refunds', rule: 'billing/refunds' },
  outcomeOf(CALLS[1], { outcome: 'pending', approvalId: APPROVAL }),
  {
    ...about,
    kind: 'vote',
    reviewer: FINN,
    reviewerGroup: 'group:finance',
    reason: '=cmd|the customer asked',
    detail: { decision: 'approve', via: 'console', assurance: 'oidc' },
  },
  { ...about, kind: 'decided', reviewer: FINN, detail: { state: 'approved' } },
  { ...about, kind: 'spent', detail: { quorum: 1 } },
  outcomeOf(CALLS[1], { approvalId: APPROVAL }),
  intentOf({ callId: CALLS[2], principal: OTHER, upstream: 'shop', effect: 'deny', rule: 'shop/no' }),
  outcomeOf(CALLS[2], { outcome: 'refused', upstream: 'shop' }),
  {
    kind: 'agent_suspended',
    principal: { ...OTHER, issuer: ISSUER },
    reviewer: FINN,
    reason: 'It misbehaves.',
    detail: { via: 'console', assurance: 'oidc' },
  },
]

let store: TestDatabase
let gateway: Awaited<ReturnType<typeof openGateway>>
let folder: Awaited<ReturnType<typeof temporaryDirectory>>
let reader: ReturnType<typeof createAuditReader>

function openReader(headPath: string, reach?: Reach) {
  return createAuditReader({
    ...(reach && { reach }),
    database: gateway.database,
    headPath,
    checkpoint: keys.checkpoint,
    issuers: [ISSUER],
    namesAtVotes: async (ids) =>
      ids.map((approval) => ({ approval, reviewer: `${ISSUER}|finn`, name: 'Finn, who was called so then' })),
  })
}

beforeAll(async () => {
  store = await createTestDatabase()
  folder = await temporaryDirectory()
  gateway = await openGateway({ url: store.url, dataDir: folder.path })
  for (const entry of ENTRIES) await gateway.audit.append(entry)
  await gateway.guard.persist()
  reader = openReader(gateway.headPath)
})
afterAll(async () => {
  await gateway?.close()
  await store?.close()
  await folder?.remove()
})

async function seqsOf(search: Search): Promise<readonly number[]> {
  return (await reader.find(search, { before: null, limit: 50 })).entries.map(({ seq }) => seq)
}

describe('a search', () => {
  const hour = 3_600_000
  const now = Date.now()
  it.each<[string, Search, readonly number[]]>([
    ['anything', {}, ENTRIES.map((_, index) => ENTRIES.length - index)],
    ['an agent by its subject', { agent: 'agent-8' }, [13, 11]],
    ['an agent by issuer and subject', { agent: `${ISSUER}|agent-8` }, [13, 11]],
    ['an agent of another issuer', { agent: 'https://other.example.com|agent-8' }, []],
    ['nobody that is known', { agent: 'nobody' }, []],
    ['a reviewer', { reviewer: 'finn' }, [13, 8, 7]],
    ['a reviewer and what they did', { reviewer: 'finn', kinds: ['vote'] }, [7]],
    ['one upstream', { upstream: 'shop' }, [12, 11]],
    ['a verb', { verb: 'POST', kinds: ['intent'] }, [4]],
    ['an effect', { effect: 'deny' }, [11]],
    ['an outcome', { outcome: 'pending' }, [6]],
    ['a call', { call: CALLS[1] }, [10, 9, 8, 7, 6, 5, 4]],
    ['an approval', { approval: APPROVAL }, [10, 9, 8, 7, 6, 5]],
    ['seldom kinds', { kinds: ['gateway_started', 'spent'] }, [9, 1]],
    ['a kind that there is none of', { kinds: ['override'] }, []],
    ['before the log began', { until: now - 2 * hour }, []],
    ['after it ended', { from: now + 2 * hour }, []],
    ['within its time', { from: now - hour, until: now + hour, effect: 'hold' }, [5, 4]],
    ['a name with a percent sign and a quote', { upstream: `%' OR true --` }, []],
  ])('finds %s', async (_what, search, seqs) => {
    expect(await seqsOf(search)).toEqual(seqs)
  })

  it('goes through all pages, and through each entry once', async () => {
    const seen: number[] = []
    let before: number | null = null
    do {
      const { entries, next } = await reader.find({}, { before, limit: 4 })
      expect(entries.length).toBeLessThanOrEqual(4)
      seen.push(...entries.map(({ seq }) => seq))
      before = next
    } while (before !== null)
    expect(seen).toEqual(ENTRIES.map((_, index) => ENTRIES.length - index))
  })

  it('looks a stretch at a time where no index leads there, and says how far it came', async () => {
    const short = openReader(gateway.headPath, { stretch: 3, most: 2 })
    const pages: unknown[] = []
    for (let before: number | null = null, page = 0; page < 5; page++) {
      const { entries, next, isCut }: Found = await short.find({ effect: 'hold' }, { before, limit: 50 })
      pages.push([entries.map(({ seq }) => seq), next, isCut])
      if (next === null) break
      before = next
    }
    expect(pages).toEqual([
      [[], 8, true],
      [[5, 4], 2, true],
      [[], null, false],
    ])
    const seqs: number[] = []
    for await (const batch of short.scan({ effect: 'hold' }, 0)) seqs.push(...batch.map(({ seq }) => seq))
    expect(seqs).toEqual([4, 5])
  })

  it('gives all of it in the order of the log, from any entry on', async () => {
    const seqs: number[] = []
    for await (const batch of reader.scan({ upstream: 'billing' }, 3)) seqs.push(...batch.map(({ seq }) => seq))
    expect(seqs).toEqual([4, 5, 6, 7, 8, 9, 10])
  })
})

describe('an entry', () => {
  it('is shown in its place, with what its commitments stand for', async () => {
    const found = await reader.show(7)
    expect(found).toMatchObject({
      isChained: true,
      before: { seq: 6 },
      after: { seq: 8 },
      entry: { kind: 'vote', reviewer: `${ISSUER}|finn`, subject: 'agent-7' },
    })
    expect(found?.meanings.map(({ field, value }) => [field, value])).toContainEqual([
      'reason',
      '=cmd|the customer asked',
    ])
    expect(await reader.show(1)).toMatchObject({ isChained: true, before: null })
    expect(await reader.show(99)).toBeNull()
  })
})

async function rowsOf(name: Parameters<typeof reader.population>[0]) {
  const rows: (readonly unknown[])[] = []
  for await (const batch of reader.population(name, {}, 0)) rows.push(...batch)
  return rows
}

describe('a population', () => {
  it('has each call once, with how it ended', async () => {
    const rows = await rowsOf('calls')
    expect(rows.map((row) => [row[0], row.at(-3), row.at(-1)])).toEqual([
      [2, 'forwarded', null],
      [4, 'forwarded', APPROVAL],
      [11, 'refused', null],
    ])
  })

  it('has what became of what was held', async () => {
    const [row] = await rowsOf('held')
    expect([row?.[2], row?.at(-3)]).toEqual([APPROVAL, 'spent'])
  })

  it('has who decided, by the name they had then, and why', async () => {
    const [row] = await rowsOf('decisions')
    expect(row?.slice(4, 11)).toEqual([
      'approve',
      `${ISSUER}|finn`,
      'Finn, who was called so then',
      'group:finance',
      'console',
      'oidc',
      '=cmd|the customer asked',
    ])
  })

  it('has who was stopped, by whom and why; and no override where there was none', async () => {
    const [row] = await rowsOf('suspensions')
    expect(row?.slice(2)).toEqual([
      ...['agent_suspended', ISSUER, 'agent-8', `${ISSUER}|finn`, 'console', 'oidc', 'It misbehaves.', null, null],
    ])
    expect(await rowsOf('overrides')).toEqual([])
  })
})

describe('the chain', () => {
  it('is intact up to its end, as far as the head that was signed last says', async () => {
    const state = await reader.chain()
    expect(state).toMatchObject({ verdict: 'intact', findings: [], checkedFrom: 1, head: { seq: ENTRIES.length } })
    expect(state.signed?.seq).toBe(ENTRIES.length)
  })

  it('is vouched for by nothing where no head was signed', async () => {
    expect(await openReader(`${gateway.headPath}.none`).chain()).toMatchObject({ verdict: 'unanchored', signed: null })
  })

  it('is seen to be altered', async () => {
    const copy = await createTestDatabase()
    const own = await temporaryDirectory()
    const other = await openGateway({ url: copy.url, dataDir: own.path })
    try {
      for (let i = 0; i < 5; i++) await other.audit.append({ kind: 'gateway_started' })
      await other.guard.persist()
      await asSuperuser(copy.adminUrl, (client) =>
        damage(client, `UPDATE countersign.audit_entry SET kind = 'vote' WHERE seq = 4`),
      )
      const checked = createAuditReader({
        database: other.database,
        headPath: other.headPath,
        checkpoint: keys.checkpoint,
        issuers: [],
        namesAtVotes: async () => [],
      })
      expect(await checked.chain()).toMatchObject({ verdict: 'altered', findings: [{ seq: 4 }] })
    } finally {
      await other.close()
      await copy.close()
      await own.remove()
    }
  })
})

describe('a circuit breaker that tripped', () => {
  it('is among those who stopped agents', async () => {
    await gateway.audit.append({
      kind: 'breaker_tripped',
      callId: CALLS[2],
      principal: OTHER,
      rule: 'guard/deletions',
      detail: { count: 4, counts: 'calls', effect: 'suspend', more_than: 3, within_ms: 60_000 },
    })
    expect((await rowsOf('suspensions')).map((row) => row.slice(2))).toEqual([
      expect.arrayContaining(['agent_suspended']),
      ['breaker_tripped', ISSUER, 'agent-8', null, null, null, null, 'guard/deletions', 'suspend'],
    ])
  })
})
