import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Principal } from '../../src/domain/principal.ts'
import { createSuspensions } from '../../src/identity/suspensions.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createTestDatabase } from '../postgres.ts'
import { silentLog } from './parts.ts'

const issuer = 'https://idp.example.com'
const principal = (subject: string): Principal => ({
  issuer,
  subject,
  onBehalfOf: null,
  actors: [],
  owner: null,
  groups: [],
  client: null,
  expiresAt: 0,
})

let store: Awaited<ReturnType<typeof createTestDatabase>>
beforeAll(async () => {
  store = await createTestDatabase()
})
afterAll(() => store.close())

async function change(statement: string, params: readonly unknown[]): Promise<number> {
  const { rows } = await store.database.query<{ epoch: number }>(statement, params)
  return rows[0]?.epoch ?? expect.fail('no epoch')
}
const suspend = (subject: string) => {
  return change('SELECT epoch FROM countersign.suspend_agent($1, $2, $1, $3, NULL)', [issuer, subject, 'olivia'])
}
const resume = (subject: string) => change('SELECT epoch FROM countersign.resume_agent($1, $2)', [issuer, subject])

describe('createSuspensions, with a store', () => {
  it('follows suspensions and resumptions, by hint and by epoch', async () => {
    const suspensions = createSuspensions({ database: store.database, clock: systemClock, log: silentLog })
    await suspensions.start()
    const [a, b] = [principal('a'), principal('b')]
    expect([suspensions.isSuspended(a), suspensions.isSuspended(b)]).toEqual([false, false])

    const epoch = await suspend('a')
    expect(await suspensions.caughtUpTo(epoch)).toBe(true)
    expect([suspensions.isSuspended(a), suspensions.isSuspended(b)]).toEqual([true, false])
    expect(await suspensions.caughtUpTo(epoch + 1)).toBe(false)

    const cut = new Promise((resolve) => suspensions.watch(b, resolve))
    await suspend('b')
    expect(await cut).toBe('suspended')

    expect(await suspensions.caughtUpTo(await resume('a'))).toBe(true)
    expect([suspensions.isSuspended(a), suspensions.isSuspended(b)]).toEqual([false, true])
    suspensions.stop()
  })
})
