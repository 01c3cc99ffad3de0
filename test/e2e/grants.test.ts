import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { countersign, type Replica } from './replica.ts'
import { eventually, problemOf, startWorld, type World } from './world.ts'

const policyOf = (message: string) => `
name: billing
rules:
  - name: refunds
    verbs: [POST]
    effect: hold
    message: ${message}
    approval:
      reviewers: ["group:finance"]
      quorum: 1
      grant: { for: 30m, uses: 20, covers: rule }
  - name: payouts
    verbs: [PUT]
    effect: hold
    approval: { reviewers: ["group:finance"], quorum: 2, override: ["group:commanders"] }
`

let store: TestDatabase
let world: World
let a: Replica
let b: Replica
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(policyOf('Ask finance.'))
  ;[a, b] = await world.startPair()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

const GRANT = { minutes: 30, uses: 20, covers: 'rule' }
const AT_ONCE = { headers: { prefer: 'wait=0' } }

/** Has a call approved with a grant, and returns the grant's id. */
async function grantOn(path: string): Promise<string> {
  const held = world.call(a, path)
  const response = await world.vote(a, await world.approvalOf(path), { more: { grant: GRANT } })
  expect((await held).status).toBe(200)
  const { grant } = (await response.json()) as { grant: { id: string } } // As the API documents it.
  return grant.id
}

async function revoke(replica: Replica, id: string, token: string): Promise<Response> {
  return fetch(`${replica.control}/v1/grants/${id}/revoke`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: '{}',
  })
}

it('a grant of one replica lets calls of the other one go, and is over at once when it is revoked', async () => {
  const id = await grantOn('/refunds/first')
  const granted = await world.call(b, '/refunds/second', AT_ONCE)
  expect(granted.status).toBe(200)
  expect(granted.headers.get('countersign-approval')).toMatch(/^\w{10}$/)
  // Whose agent it is does not matter to a token of an agent: it is nobody here.
  expect((await revoke(a, id, await world.agentToken())).status).toBe(401)
  expect((await revoke(a, id, await world.personToken('fay'))).status).toBe(404)
  expect((await revoke(a, id, await world.personToken('finn'))).status).toBe(200)
  expect(await problemOf(await world.call(b, '/refunds/third', AT_ONCE))).toMatchObject({ code: 'approval_pending' })
  expect(world.arrivals('/refunds/third')).toBe(0)
})

it('a grant outlives the gateways, and not the rule that permitted it', async () => {
  const id = await grantOn('/refunds/fourth')
  await Promise.all([a.stop(), b.stop()])
  a = await world.start({ after: a })
  b = await world.start()
  expect((await world.call(b, '/refunds/fifth', AT_ONCE)).status).toBe(200)
  await world.writePolicy(policyOf('Ask finance first.'))
  a.signal('SIGHUP')
  await world.until('SELECT FROM countersign.policy_set WHERE version = 2')
  const isHeld = async () => {
    const problem = await problemOf(await world.call(b, `/refunds/${Date.now()}`, AT_ONCE))
    expect(problem).toMatchObject({ code: 'approval_pending' })
  }
  await eventually(isHeld)
  // Not because it was used up.
  await world.until('SELECT FROM countersign.reviewer_grant WHERE id = $1 AND uses < most_uses', [id])
})

it('an override takes a token of a fresh sign-in, and the log says that all was as promised', async () => {
  const held = world.call(a, '/payouts', { method: 'PUT' })
  const id = await world.approvalOf('/payouts')
  const more = { reason: 'The shop is down.' }
  const at = (agoS: number) => ({ auth_time: Math.floor(Date.now() / 1000) - agoS })
  const old = await world.personToken('carla', ['commanders'], at(400))
  const refused = await world.vote(b, id, { token: old, decision: 'override', more })
  expect(refused.status).toBe(401)
  expect(refused.headers.get('www-authenticate')).toContain('error="insufficient_user_authentication", max_age="300"')
  const token = await world.personToken('carla', ['commanders'], at(10))
  expect((await world.vote(b, id, { token, decision: 'override', more })).status).toBe(200)
  expect((await held).status).toBe(200)
  await world.until(`SELECT FROM countersign.audit_log WHERE kind = 'override' AND approval_id = $1`, [id])
  await Promise.all([a.stop(), b.stop()])
  expect(await countersign('audit', 'verify', '--config', a.configFile)).toMatchObject({ code: 0, err: '' })
})
