import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import type { Replica } from './replica.ts'
import { startWorld, type World } from './world.ts'

let store: TestDatabase
let world: World
let a: Replica
let b: Replica
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  ;[a, b] = await world.startPair()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

const PATH = '/refunds/precedent'
const first = { amount: 100, to: 'acme', api_key: 'first-secret-of-theirs', note: 'x'.repeat(300) }
const second = { ...first, amount: 90_000, to: 'mallory\u202e', api_key: 'second-secret-of-theirs' }

async function show(replica: Replica, id: string, token: string) {
  const response = await fetch(`${replica.control}/v1/approvals/${id}`, {
    headers: { authorization: `Bearer ${token}` },
  })
  // As the API documents it.
  return (await response.json()) as { approval: Record<string, unknown>; precedents: Record<string, unknown> | null }
}

function turn(replica: Replica, way: 'claim' | 'release', how: { id: string; token: string }): Promise<Response> {
  return fetch(`${replica.control}/v1/approvals/${how.id}/${way}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${how.token}`, 'content-type': 'application/json' },
    body: '{}',
  })
}

it('a reviewer is told what was decided on the same call before, what differs, and who else looks at it', async () => {
  const before = world.call(a, PATH, { body: JSON.stringify(first) })
  await world.vote(a, await world.approvalOf(PATH))
  expect((await before).status).toBe(200)

  const held = world.call(b, `${PATH}?force=1`, { body: JSON.stringify(second) })
  const id = await world.approvalOf(PATH)
  const fay = await world.personToken('fay')
  const { precedents } = await show(b, id, fay)
  expect(precedents).toMatchObject({
    within_s: 86_400,
    approved: 1,
    identical: 0,
    denied: 0,
    approvers: [{ reviewer: { subject: 'finn' }, times: 1 }],
    last_approved: {
      difference: {
        extent: 'content',
        changes: [
          { at: 'query "force"', before: null, now: '"1"' },
          { at: '/amount', before: '100', now: '90000' },
          { at: '/to', before: '"acme"', now: '"mallory⟨U+202E⟩"' },
          // Secrets are replaced, of whatever length.
          { at: 'bytes' },
        ],
        unseen: ['hidden', 'off_card'],
      },
    },
  })
  expect(JSON.stringify(precedents)).not.toContain('secret-of-theirs')

  // Whose agent it is, what agents are, and who has no part in it.
  expect((await turn(a, 'claim', { id, token: await world.personToken('olivia') })).status).toBe(403)
  expect((await turn(a, 'claim', { id, token: await world.agentToken() })).status).toBe(401)
  expect((await turn(a, 'claim', { id, token: await world.personToken('sam', ['sales']) })).status).toBe(404)
  expect((await turn(a, 'claim', { id, token: fay })).status).toBe(200)
  const seen = await show(b, id, await world.personToken('finn'))
  expect(seen.approval).toMatchObject({ state: 'pending', claim: { reviewer: { subject: 'fay' }, via: 'api' } })
  await world.vote(b, id)
  expect((await held).status).toBe(200)
  expect((await show(a, id, fay)).approval).not.toHaveProperty('claim')
})
