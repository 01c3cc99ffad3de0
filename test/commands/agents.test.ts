import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { TRIPPED } from '../control/people.ts'
import { startWorld } from './world.ts'

const ISSUER = 'https://idp.example.com'

let world: Awaited<ReturnType<typeof startWorld>>
beforeEach(async () => {
  world = await startWorld()
})
afterEach(() => world.close())

describe('agents list', () => {
  it('uses the kept sign-in, and says who was stopped, by whom and why', async () => {
    await world.run(['login'])
    await world.run(['agents', 'suspend', ISSUER, 'support-agent', '--reason', 'runs\u202e wild'])
    const { code, out, signIns } = await world.run(['agents', 'list'])
    expect([code, signIns]).toEqual([0, 0])
    const [heading, line] = out.split('\n')
    expect(heading).toMatch(/^SUBJECT +ISSUER +LAST SEEN +CALLS +HELD +DENIED +STATE$/)
    expect(line).toMatch(
      /^support-agent +https:\/\/idp\.example\.com +2023-11-14T\S+ +12 +3 +1 +stopped .* by finn: runs/,
    )
    expect(line).not.toContain('\u202e')
    expect(JSON.parse((await world.run(['agents', 'list', '--json'])).out)).toMatchObject({ agents: [{ calls: 12 }] })
  })

  it('says which circuit breaker stopped an agent, or holds it', async () => {
    const tripped = await startWorld({ others: TRIPPED })
    try {
      await tripped.run(['login'])
      const { out } = await tripped.run(['agents', 'list'])
      expect(out).toMatch(/wild-agent .* stopped .* by circuit breaker guard\/deletions: more than 20 calls within 10m/)
      expect(out).toMatch(/nosy-agent .* every call held .* by circuit breaker guard\/probing: more than 10 denials/)
    } finally {
      await tripped.close()
    }
  })
})

describe('agents suspend', () => {
  it('signs in afresh each time, whoever is signed in', async () => {
    await world.run(['login'])
    const first = await world.run(['agents', 'suspend', ISSUER, 'support-agent', '--reason', 'runs wild'])
    expect(first).toMatchObject({ code: 0, signIns: 1, out: 'support-agent is stopped.' })
    const again = await world.run(['agents', 'suspend', ISSUER, 'support-agent', '--reason', 'still', '--json'])
    expect([again.code, again.signIns, JSON.parse(again.out)]).toMatchObject([0, 1, { changed: false }])
    expect(world.agents.requests).toMatchObject([
      { way: 'suspend', agent: { issuer: ISSUER, subject: 'support-agent' }, reason: 'runs wild', via: 'api' },
      { way: 'suspend', reason: 'still' },
    ])
  })

  it('says so if nobody of that name was seen, and stops them all the same', async () => {
    const { code, out } = await world.run(['agents', 'suspend', ISSUER, 'suport-agent', '--reason', 'runs wild'])
    expect([code, out]).toEqual([
      0,
      expect.stringMatching(/^suport-agent is stopped\.\nNo agent of this name has called/),
    ])
  })

  it('refuses an issuer of which nobody can call, and names those that there are', async () => {
    const { code, err } = await world.run(['agents', 'suspend', `${ISSUER}/`, 'support-agent', '--reason', 'runs wild'])
    expect(code).toBe(1)
    expect(err).toContain(`The issuers are: ${ISSUER}. (unknown_issuer)`)
  })

  it('asks for a reason before anything else', async () => {
    const { code, signIns, err } = await world.run(['agents', 'suspend', ISSUER, 'support-agent'])
    expect([code, signIns, err]).toEqual([2, 0, expect.stringContaining('--reason')])
    expect(world.agents.requests).toEqual([])
  })
})

describe('agents resume', () => {
  it('fails in one line for whoever has no role for it', async () => {
    const { code, err } = await world.run(['agents', 'resume', ISSUER, 'support-agent', '--reason', 'mended'])
    expect(code).toBe(1)
    expect(err.split('\n').at(-1)).toMatch(/^countersign agents resume: .*\(forbidden\)$/)
    expect(world.agents.requests).toEqual([])
  })
})
