import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ConsoleWorld, startConsole } from './console-world.ts'
import { AGENT, type HeldCall, refund } from './people.ts'

const ID = '7Q3F000000'
let world: ConsoleWorld
beforeAll(async () => {
  world = await startConsole((issuer) => [heldFor(issuer, ID)], { observed: ['crm'] })
})
afterAll(() => world[Symbol.asyncDispose]())

function heldFor(issuer: string, id: string): HeldCall {
  return refund(id, { requester: { ...AGENT, issuer, owner: { issuer, subject: 'olivia' } } })
}

describe('signing in', () => {
  it('leads a person through the identity provider to the page they asked for', async () => {
    const { seen } = await world.signIn('finn', { path: `/approvals/${ID}` })
    expect(seen.status).toBe(200)
    expect(seen.url.pathname).toBe(`/approvals/${ID}`)
    expect(seen.text).toContain('Finn from finance')
  })
})
