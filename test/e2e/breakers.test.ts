import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { countersign, type Replica } from './replica.ts'
import { problemOf, startWorld, type World } from './world.ts'

const POLICY = `
name: billing
rules:
  - { name: open, upstreams: [billing], verbs: [GET, DELETE], effect: allow }
  - name: refunds
    upstreams: [billing]
    verbs: [POST]
    effect: hold
    approval: { reviewers: ["group:finance"] }
breakers:
  - { name: deletions, verbs: [DELETE], counts: calls, more_than: 5, within: 10m, then: suspend }
  - { name: denied, verbs: [PATCH], counts: denials, more_than: 2, within: 10m, then: hold, approval: { reviewers: ["group:finance"] } }
  - { name: refused, verbs: [POST], resources: ["/refused/**"], counts: denials, more_than: 1, within: 10m, then: suspend }
  - { name: flood, resources: ["/flood/**"], counts: holds, more_than: 2, within: 10m, then: suspend }
  - { name: ends, resources: ["/**/end"], counts: holds, more_than: 1, within: 10m, then: suspend }
  - { name: unread, resources: ["/unread/**"], counts: denials, more_than: 2, within: 10m, then: suspend }
  - { name: no-ends, resources: ["/**/no-end"], counts: denials, more_than: 1, within: 10m, then: suspend }
`
/** Within one second everywhere; what the test itself takes to look is added. */
const WITHIN_MS = 1_500

let store: TestDatabase
let world: World
let replicas: readonly Replica[]
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  const people = {
    issuer: world.issuer,
    name: 'idp',
    audience: 'countersign-console',
    client_id: 'countersign-console',
    authorized_parties: ['countersign-console'],
    groups: { claim: 'groups' },
    roles: { operator: ['group:sre'] },
  }
  const { url } = world.upstream
  const upstreams = [
    { name: 'billing', protocol: 'http', url },
    { name: 'watched', protocol: 'http', url, mode: 'observe' },
  ]
  const config = { people: [people], upstreams }
  replicas = [await world.start({ config }), await world.start({ config }), await world.start({ config })]
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

/** The answer broke off. */
const CUT = { status: 0, code: 'cut off' }

const replica = (index: number) => replicas[index % 3] ?? expect.fail('three replicas')

async function send(index: number, method: string, path: string, subject: string) {
  const token = await world.agentToken(subject)
  return problemOf(await world.call(replica(index), path, { method, token, headers: { prefer: 'wait=0' } }))
}

async function control(method: string, path: string, body?: object) {
  const token = await world.personToken('otto', ['sre'])
  const response = await fetch(`${replica(1).control}/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, json: (await response.json()) as Record<string, unknown> }
}

const resume = (subject: string) =>
  control('POST', 'agents/resume', { issuer: world.issuer, subject, reason: 'it was a test' })

/** A replica learns of a resumption as soon as of a suspension. */
async function goesOn(index: number, subject: string) {
  await expect.poll(async () => (await send(index, 'GET', '/again', subject)).status, { timeout: WITHIN_MS }).toBe(200)
}

async function listed(subject: string) {
  const { json } = await control('GET', 'agents')
  return (json['agents'] as { subject: string }[]).find((agent) => agent.subject === subject)
}

describe('circuit breakers, with three gateways', () => {
  it('forward exactly as many calls as they let pass, however many come at once, and stop the agent everywhere', async () => {
    const calls = Array.from({ length: 40 }, (_, n) => send(n, 'DELETE', '/wild', 'wild').catch(() => CUT))
    const answers = await Promise.all(calls)
    const at = Date.now()
    const count = (...codes: readonly unknown[]) => answers.filter(({ code }) => codes.includes(code)).length
    // What was on its way when it tripped is cut, as by any suspension: before its answer began, or in the middle of it.
    const passed = answers.filter(({ status }) => status === 200).length
    expect(world.arrivals('/wild')).toBeLessThanOrEqual(5)
    expect(passed + count(CUT.code)).toBeLessThanOrEqual(5)
    expect(passed + count(CUT.code, 'suspended')).toBe(40)
    const reads = await Promise.all([0, 1, 2].map((n) => send(n, 'GET', '/wild/read', 'wild')))
    expect(Date.now() - at).toBeLessThan(WITHIN_MS)
    for (const read of reads) expect(read).toMatchObject({ status: 403, code: 'suspended' })
    expect(world.arrivals('/wild/read')).toBe(0)

    expect(await listed('wild')).toMatchObject({
      suspension: {
        breaker: 'billing/deletions',
        reason: 'more than 5 calls within 10m',
        by: { issuer: 'countersign' },
      },
      held_by: [],
    })
    expect(await resume('wild')).toMatchObject({ status: 200, json: { changed: true, agent: { suspension: null } } })
    await goesOn(1, 'wild')
    const before = world.arrivals('/wild')
    const more: (string | undefined)[] = []
    for (let n = 0; n < 6; n++) more.push((await send(1, 'DELETE', '/wild', 'wild')).code)
    expect(more.slice(0, 5)).not.toContain('suspended')
    expect(more[5]).toBe('suspended')
    expect(world.arrivals('/wild') - before).toBe(5)
  })

  it('hold whatever an agent does from then on, on every replica, until somebody resumes it', async () => {
    for (let n = 0; n < 3; n++) {
      expect(await send(n, 'GET', '/calm/before', 'nosy')).toMatchObject({ status: 200 })
      expect(await send(n, 'PATCH', '/calm', 'nosy')).toMatchObject({ status: 403, code: 'denied' })
    }
    for (const n of [0, 1, 2]) {
      // A replica that had not heard of it says so to the first call, which comes too late all the same.
      const first = await send(n, 'GET', `/calm/now/${n}`, 'nosy')
      expect(['approval_pending', 'unavailable']).toContain(first.code)
      expect(await send(n, 'GET', `/calm/now/${n}`, 'nosy')).toMatchObject({ status: 403, code: 'approval_pending' })
      expect(world.arrivals(`/calm/now/${n}`)).toBe(0)
    }
    const held = world.call(replica(0), '/calm/held', { method: 'GET', token: await world.agentToken('nosy') })
    const id = await world.approvalOf('/calm/held')
    expect(await listed('nosy')).toMatchObject({
      suspension: null,
      held_by: [{ breaker: 'billing/denied', reason: 'more than 2 denials within 10m' }],
    })
    // Its owner approves nothing, and others are not held.
    expect(await world.vote(replica(2), id, { as: 'olivia' })).toMatchObject({ status: 403 })
    await world.approve(replica(2), id)
    expect((await held).status).toBe(200)
    expect(await send(1, 'GET', '/calm/other', 'calm')).toMatchObject({ status: 200 })

    expect(await resume('nosy')).toMatchObject({ json: { changed: true, agent: { held_by: [] } } })
    await goesOn(0, 'nosy')
  })

  it('count an approval once, whoever comes back to it, and withdraw what is open when they trip', async () => {
    const token = await world.agentToken('eager')
    const headers = { prefer: 'wait=0' }
    const ask = async (n: number, path: string) => problemOf(await world.call(replica(n), path, { token, headers }))
    for (let n = 0; n < 6; n++) {
      expect(await ask(n, `/flood/${n % 2}`)).toMatchObject({ code: 'approval_pending' })
    }
    expect(await ask(0, '/flood/2')).toMatchObject({ status: 403, code: 'suspended' })
    const { rows } = await world.admin.query(
      `SELECT state, reason FROM countersign.approval WHERE resource LIKE '/flood/%'`,
    )
    expect(rows).toEqual(Array.from({ length: 3 }, () => ({ state: 'withdrawn', reason: 'suspended' })))
    expect(await listed('eager')).toMatchObject({ suspension: { breaker: 'billing/flood' } })
  })

  it('look at all of a resource, however long an agent makes it', async () => {
    const long = 'x'.repeat(2_100)
    expect(await send(0, 'POST', `/${long}/1/end`, 'long')).toMatchObject({ code: 'approval_pending' })
    expect(await send(1, 'POST', `/${long}/2/end`, 'long')).toMatchObject({ code: 'suspended' })

    for (const n of [1, 2]) {
      const { approval } = await send(0, 'POST', `/${long}/${n}/no-end`, 'longer')
      expect((await world.vote(replica(1), String(approval), { decision: 'deny' })).status).toBe(200)
    }
    expect(await listed('longer')).toMatchObject({ suspension: { breaker: 'billing/no-ends' } })
  })

  it('count what cannot be read, though it was to be held', async () => {
    const token = await world.agentToken('garbled')
    for (const n of [0, 1, 2]) {
      const call = world.call(replica(n), `/unread/${n}`, { token, body: '{"amount": 1, "amount": 2}' })
      expect(await problemOf(await call)).toMatchObject({ status: 400, code: 'malformed' })
    }
    await expect
      .poll(async () => listed('garbled'))
      .toMatchObject({ suspension: { breaker: 'billing/unread', reason: 'more than 2 denials within 10m' } })
  })

  it('count what reviewers deny', async () => {
    for (const path of ['/refused/1', '/refused/2']) {
      const token = await world.agentToken('refused')
      const call = world.call(replica(0), path, { token })
      const id = await world.approvalOf(path)
      expect((await world.vote(replica(1), id, { decision: 'deny' })).status).toBe(200)
      // The same vote once more is no denial more.
      expect((await world.vote(replica(2), id, { decision: 'deny' })).status).toBe(200)
      expect(await problemOf(await call)).toMatchObject({ code: 'not_approved' })
      const { rows } = await world.admin.query(`SELECT breaker FROM countersign.suspension WHERE subject = 'refused'`)
      expect(rows).toEqual(path === '/refused/2' ? [{ breaker: 'billing/refused' }] : [])
    }
  })
})

describe('where the gateway only watches', () => {
  it('nothing is counted, and nothing held', async () => {
    const authorization = `Bearer ${await world.agentToken('watched')}`
    for (let n = 0; n < 8; n++) {
      const response = await fetch(`${replica(n).url}/watched/seen`, { method: 'DELETE', headers: { authorization } })
      expect(response.status).toBe(200)
    }
    expect(world.arrivals('/seen')).toBe(8)
    const { rows } = await world.admin.query(`SELECT FROM countersign.breaker_count WHERE subject = 'watched'`)
    expect(rows).toEqual([])
  })
})

describe('the log', () => {
  it('says what tripped, each once, and verifies', async () => {
    const { rows } = await world.admin.query(
      `SELECT rule, subject, count(*)::int AS times FROM countersign.audit_log WHERE kind = 'breaker_tripped'
       GROUP BY rule, subject ORDER BY rule`,
    )
    expect(rows).toEqual([
      { rule: 'billing/deletions', subject: 'wild', times: 2 },
      { rule: 'billing/denied', subject: 'nosy', times: 1 },
      { rule: 'billing/ends', subject: 'long', times: 1 },
      { rule: 'billing/flood', subject: 'eager', times: 1 },
      { rule: 'billing/no-ends', subject: 'longer', times: 1 },
      { rule: 'billing/refused', subject: 'refused', times: 1 },
      { rule: 'billing/unread', subject: 'garbled', times: 1 },
    ])
    const { configFile } = await world.prepare()
    const verified = await countersign('audit', 'verify', '--config', configFile)
    expect([verified.code, verified.err]).toEqual([0, ''])
  })
})
