import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { findPython } from '../python.ts'
import type { Replica } from './replica.ts'
import { startWorld, type World } from './world.ts'

let store: TestDatabase
let world: World
let gateway: Replica
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  gateway = await world.start()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

/** Approves once a client has come back for the same call, and says how many approvals it took. */
async function approveOnReturn(path: string): Promise<number> {
  const id = await world.approvalOf(path)
  await world.until(`SELECT FROM countersign.audit_log WHERE kind = 'intent' AND resource = $1 HAVING count(*) >= 2`, [
    path,
  ])
  await world.approve(gateway, id)
  const { rows } = await world.admin.query('SELECT FROM countersign.approval WHERE resource = $1', [path])
  return rows.length
}

/** A client as people write it: nothing set but what the API needs, and a loop around it. */
const HTTPX = `
import sys, httpx
url, token = sys.argv[1:]
client = httpx.Client()
attempts = 0
while True:
    attempts += 1
    try:
        response = client.post(url, headers={"authorization": "Bearer " + token}, json={"amount": 500})
    except httpx.TimeoutException:
        continue
    if response.status_code == 403 and response.json()["code"] == "approval_pending":
        continue
    break
print(attempts, response.status_code, response.json()["done"], response.headers["countersign-approval"])
`

const python = findPython('httpx')
const mustRun = process.env['COUNTERSIGN_TEST_NO_SKIP'] === '1'

describe('clients as they come', () => {
  it('fetch of Node, which gives up and calls again, takes one approval', async () => {
    const path = '/refunds/fetch'
    const approving = approveOnReturn(path)
    await expect(world.call(gateway, path, { signal: AbortSignal.timeout(500) })).rejects.toThrow()
    const response = await world.call(gateway, path)
    expect([response.status, await response.json()]).toEqual([200, { done: true }])
    expect(await approving).toBe(1)
    expect(world.arrivals(path)).toBe(1)
  })

  it.skipIf(python === undefined && !mustRun)(
    'httpx of Python, with its time-out of five seconds, takes one approval (needs python3-httpx)',
    async () => {
      if (python === undefined) throw new Error('there is no python3 with httpx: install python3-httpx')
      const path = '/refunds/httpx'
      const approving = approveOnReturn(path)
      const args = ['-c', HTTPX, `${gateway.url}/billing${path}`, await world.agentToken()]
      const client = spawn(python, args, { stdio: ['ignore', 'pipe', 'inherit'], timeout: 25_000 })
      const said = await text(client.stdout)
      expect(await approving).toBe(1)
      const [attempts, ...answer] = said.trim().split(' ')
      expect(answer).toEqual(['200', 'True', expect.stringMatching(/^[0-9A-Z]{10}$/)])
      expect(Number(attempts)).toBeGreaterThan(1)
      expect(world.arrivals(path)).toBe(1)
    },
  )
})
