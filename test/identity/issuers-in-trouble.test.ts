import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createLogger } from '../../src/platform/logger.ts'
import { makeKey, sign, startIssuer, type TestIssuer, type TestKey } from './issuer.ts'
import { bearer, makeAgents, makeClock } from './parts.ts'

const GATEWAY = 'https://gateway.example.com'
const timing = { fetchTimeoutMs: 300, retryMs: 20, cooldownMs: 100 }

let key: TestKey
let other: TestKey
let good: TestIssuer
let troubled: TestIssuer

beforeAll(async () => {
  key = await makeKey('ES256', 'k1')
  other = await makeKey('ES256', 'k2')
})

beforeEach(async () => {
  good = await startIssuer([key.jwk])
  troubled = await startIssuer([key.jwk])
  return async () => {
    await Promise.all([good.close(), troubled.close()])
  }
})

const options = (issuer: TestIssuer, change: object = {}) => {
  return { issuer: issuer.url, audiences: [GATEWAY], algorithms: ['ES256'], owner: 'none', ...change }
}

async function tokenOf(issuer: TestIssuer, with_ = key): Promise<string> {
  const nowS = Math.floor(Date.now() / 1000)
  return await sign(with_, { iss: issuer.url, sub: 'agent', aud: GATEWAY, exp: nowS + 300, jti: `${Math.random()}` })
}

describe('an issuer that is down', () => {
  it.each(['hang', 'error', 'huge', 'redirect', 'garbage'] as const)(
    'by %s at the start delays no token of another, and its own are refused as unavailable',
    async (mode) => {
      troubled.mode = mode
      // Long enough for twenty others on the busiest machine.
      const patient = { ...timing, fetchTimeoutMs: 3_000 }
      const agents = makeAgents({ issuers: [options(troubled), options(good)], timing: patient })
      // Its own token waits for the fetch under way; the others must be done before.
      let isAnswered = false
      const own = agents.identify(bearer(await tokenOf(troubled))).finally(() => {
        isAnswered = true
      })
      for (let n = 0; n < 20; n++) {
        expect(await agents.identify(bearer(await tokenOf(good)))).toMatchObject({ subject: 'agent' })
      }
      if (mode === 'hang') expect(isAnswered).toBe(false)
      expect(await own).toMatchObject({ refused: true, code: 'unavailable', retryAfterS: expect.any(Number) })

      troubled.mode = 'up'
      await expect
        .poll(async () => agents.identify(bearer(await tokenOf(troubled))))
        .toMatchObject({ subject: 'agent' })
      await agents.close()
    },
  )

  it('later on keeps its keys for a stated time, and is then refused, remembered tokens too', async () => {
    const clock = makeClock()
    const agents = makeAgents({ issuers: [options(troubled)], clock, timing: { ...timing, keepMs: 60_000 } })
    const token = await tokenOf(troubled)
    expect(await agents.identify(bearer(token))).toMatchObject({ subject: 'agent' })
    troubled.mode = 'error'
    clock.advance(59_000)
    expect(await agents.identify(bearer(await tokenOf(troubled)))).toMatchObject({ subject: 'agent' })
    expect(await agents.identify(bearer(token))).toMatchObject({ subject: 'agent' })
    clock.advance(1_000)
    expect(await agents.identify(bearer(await tokenOf(troubled)))).toMatchObject({ code: 'unavailable' })
    expect(await agents.identify(bearer(token))).toMatchObject({ code: 'unavailable' })
    await agents.close()
  })

  it('is not flooded by tokens with unknown keys', async () => {
    const agents = makeAgents({ issuers: [options(troubled)], timing: { ...timing, cooldownMs: 60_000 } })
    await agents.probe()
    const flood = await Promise.all(
      Array.from({ length: 300 }, async (_, n) => {
        const nowS = Math.floor(Date.now() / 1000)
        const claims = { iss: troubled.url, sub: 'agent', aud: GATEWAY, exp: nowS + 300 }
        return await agents.identify(bearer(await sign(other, claims, { kid: `x${n}` })))
      }),
    )
    expect(flood.every((refusal) => 'refused' in refusal)).toBe(true)
    expect(troubled.hits).toEqual({ discovery: 1, keys: 1 })
    await agents.close()
  })
})

describe('the log of an issuer that is down', () => {
  it.each([
    ['hang', /timeout/],
    ['error', /answered 500/],
    ['huge', /more than \d+ bytes/],
    ['redirect', /answered 302/],
    ['garbage', /JSON|parsing error/],
    ['gone', /ECONNREFUSED/],
  ] as const)('by %s says in one short line what was tried and why it failed', async (mode, why) => {
    for (const change of [{}, { jwks_uri: `${troubled.url}/keys` }]) {
      const lines: string[] = []
      const log = createLogger({ level: 'warn', destination: { write: (line: string) => void lines.push(line) } })
      if (mode === 'gone') await troubled.close()
      else troubled.mode = mode
      const agents = makeAgents({ issuers: [options(troubled, change)], timing: { ...timing, retryMs: 60_000 }, log })
      await agents.probe()
      await agents.close()
      expect(lines).toHaveLength(1)
      const [line = ''] = lines
      expect(line).toContain(troubled.url)
      expect(line).toMatch(why)
      expect(line).not.toContain('stack')
      expect(line.length).toBeLessThan(800)
    }
  })
})

describe('the log of an issuer on a port that no browser talks to', () => {
  it('is as short', async () => {
    const lines: string[] = []
    const log = createLogger({ level: 'warn', destination: { write: (line: string) => void lines.push(line) } })
    const agents = makeAgents({ issuers: [options({ ...good, url: 'http://127.0.0.1:9' })], timing, log })
    await agents.probe()
    await agents.close()
    expect(lines).toEqual([expect.stringContaining('bad port')])
    expect(lines[0]).not.toContain('stack')
  })
})

describe('a key that the issuer withdraws', () => {
  it('ends what was signed with it, remembered or not', async () => {
    const agents = makeAgents({ issuers: [options(troubled)], timing: { ...timing, refreshMs: 20 } })
    const token = await tokenOf(troubled)
    expect(await agents.identify(bearer(token))).toMatchObject({ subject: 'agent' })
    troubled.keys = [other.jwk]
    await expect.poll(async () => agents.identify(bearer(token))).toMatchObject({ code: 'unauthenticated' })
    expect(await agents.identify(bearer(await tokenOf(troubled, other)))).toMatchObject({ subject: 'agent' })
    await agents.close()
  })
})

describe('a discovery document', () => {
  it.each([
    ['of another issuer', { issuer: 'https://idp.example.com' }, /calls itself/],
    ['of the issuer with a trailing slash', (url: string) => ({ issuer: `${url}/` }), /calls itself/],
    ['of an issuer with pairwise subjects only', { subject_types_supported: ['pairwise'] }, /pairwise/],
  ])('%s is a fault of the configuration, which a start can ask for', async (_, change, message) => {
    troubled.metadata = typeof change === 'function' ? change(troubled.url) : change
    const agents = makeAgents({ issuers: [options(troubled), options(good)], timing })
    const faults = await agents.probe()
    expect(faults).toHaveLength(1)
    expect(faults[0]).toMatch(message)
    expect(await agents.identify(bearer(await tokenOf(troubled)))).toMatchObject({ code: 'unavailable' })
    await agents.close()
  })

  it('with pairwise subjects is right where another claim names the subject', async () => {
    troubled.metadata = { subject_types_supported: ['pairwise'] }
    const agents = makeAgents({ issuers: [options(troubled, { subject: ['uid'] })], timing })
    expect(await agents.probe()).toEqual([])
    await agents.close()
  })

  it.each([['http://idp.example.com/keys'], ['file:///etc/passwd'], ['nowhere'], [undefined]])(
    'that names %j as its key set is refused, and is not what stops a start',
    async (jwksUri) => {
      troubled.metadata = { jwks_uri: jwksUri }
      const agents = makeAgents({ issuers: [options(troubled)], timing })
      expect(await agents.probe()).toEqual([])
      expect(await agents.identify(bearer(await tokenOf(troubled)))).toMatchObject({ code: 'unavailable' })
      await agents.close()
    },
  )

  it('is not asked for where the key set is configured', async () => {
    const issuer = { ...options(troubled), issuer: 'https://idp.example.com', jwks_uri: `${troubled.url}/keys` }
    const agents = makeAgents({ issuers: [issuer], timing })
    await agents.probe()
    expect(troubled.hits).toEqual({ discovery: 0, keys: 1 })
    await agents.close()
  })
})

describe('remembered tokens', () => {
  it('are verified once, also when they arrive all at once', async () => {
    const agents = makeAgents({ issuers: [options(good)], timing })
    const token = await tokenOf(good)
    const first = await Promise.all(Array.from({ length: 50 }, () => agents.identify(bearer(token))))
    const again = await agents.identify(bearer(token))
    for (const principal of first) expect(principal).toBe(again)
    await agents.close()
  })

  it('are verified again after five minutes, and never outlive exp', async () => {
    const clock = makeClock()
    const agents = makeAgents({ issuers: [options(good)], clock, timing: { ...timing, keepMs: 86_400_000 } })
    const nowS = clock.now() / 1000
    const claims = { iss: good.url, sub: 'agent', aud: GATEWAY }
    const short = await sign(key, { ...claims, exp: nowS + 60 })
    const long = await sign(key, { ...claims, exp: nowS + 3600 })
    const [firstShort, firstLong] = [await agents.identify(bearer(short)), await agents.identify(bearer(long))]
    clock.advance(59_999)
    expect(await agents.identify(bearer(short))).toBe(firstShort)
    clock.advance(1)
    // Within the leeway it still holds, but is looked at each time.
    expect(await agents.identify(bearer(short))).not.toBe(firstShort)
    clock.advance(30_000)
    expect(await agents.identify(bearer(short))).toMatchObject({ code: 'unauthenticated' })
    expect(await agents.identify(bearer(long))).toBe(firstLong)
    clock.advance(210_000)
    const later = await agents.identify(bearer(long))
    expect(later).toEqual(firstLong)
    expect(later).not.toBe(firstLong)
    await agents.close()
  })

  it('do not hold up a refusal: a token that was refused is looked at again', async () => {
    const clock = makeClock()
    const agents = makeAgents({ issuers: [options(good)], clock, timing })
    const nowS = clock.now() / 1000
    const early = await sign(key, { iss: good.url, sub: 'agent', aud: GATEWAY, exp: nowS + 3600, nbf: nowS + 60 })
    expect(await agents.identify(bearer(early))).toMatchObject({ code: 'unauthenticated' })
    clock.advance(31_000)
    expect(await agents.identify(bearer(early))).toMatchObject({ subject: 'agent' })
    await agents.close()
  })
})
