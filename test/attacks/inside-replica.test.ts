import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually, startWorld, type World } from '../e2e/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'

const CALLS = 6

let store: TestDatabase
let world: World
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

describe('a replica of yesterday’s configuration', () => {
  it('ends no approval of an upstream that it does not know', async () => {
    const old = await world.start()
    await world.writePolicy(
      `name: billing\nrules:\n  - { name: all, upstreams: [ledger], effect: hold, approval: { reviewers: ["group:finance"] } }\n`,
    )
    const fresh = await world.start({
      config: {
        upstreams: ['billing', 'ledger'].map((name) => ({ name, protocol: 'http', url: world.upstream.url })),
      },
    })
    await eventually(async () => expect((await world.readyz(old)).status).toBe(503))

    const authorization = `Bearer ${await world.agentToken()}`
    const calls = await Promise.all(
      Array.from({ length: CALLS }, async (_, index) => {
        const response = await fetch(`${fresh.url}/ledger/entries/${index}`, {
          method: 'POST',
          headers: { authorization, prefer: 'respond-async', 'content-type': 'application/json' },
          body: '{}',
        })
        expect(response.status).toBe(202)
        const id = await world.approvalOf(`/entries/${index}`)
        await world.approve(fresh, id)
        return id
      }),
    )
    for (const id of calls) {
      const { state } = await world.until<{ state: string }>(
        `SELECT state FROM countersign.approval WHERE id = $1 AND state NOT IN ('pending', 'approved')`,
        [id],
      )
      expect(state).toBe('spent')
    }
  })
})
