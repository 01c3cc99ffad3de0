import type { JWK } from 'jose'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/domain/error.ts'
import { createKeySet, type KeyTiming } from '../../src/identity/key-set.ts'
import { makeKey } from './issuer.ts'
import { makeClock, silentLog } from './parts.ts'

const [first, second] = await Promise.all([makeKey('ES256', 'k1'), makeKey('ES256', 'k2')])

/** A key set whose issuer answers when it is told to. */
function makeKeySet(timing: Partial<KeyTiming> = {}) {
  const clock = makeClock()
  const asked: { answer(keys: readonly JWK[]): void; fail(error?: Error): void }[] = []
  const load = (signal: AbortSignal) =>
    new Promise<unknown>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
      const fail = (error: Error = new GatewayError('upstream', 'down')) => reject(error)
      asked.push({ answer: (keys) => resolve({ keys }), fail })
    })
  const keySet = createKeySet({ load, issuer: 'https://idp', clock, log: silentLog, timing })
  const last = () => asked.at(-1) ?? expect.fail('nothing was fetched')
  const fetches = (count: number) => expect.poll(() => asked.length, { interval: 1 }).toBe(count)
  return { keySet, clock, asked, last, fetches }
}

const k1 = { alg: 'ES256', kid: 'k1' }
const k2 = { alg: 'ES256', kid: 'k2' }

describe('createKeySet', () => {
  it('has tokens wait for the first fetch, once for all of them', async () => {
    const { keySet, asked, last } = makeKeySet()
    const found = [keySet.find(k1), keySet.find(k1), keySet.find(k1)]
    last().answer([first.jwk])
    for (const key of await Promise.all(found)) expect(key).toMatchObject({ type: 'public' })
    expect(asked).toHaveLength(1)
    keySet.close()
  })

  it('fetches once per cooldown however many unknown keys are asked for', async () => {
    const { keySet, clock, asked, last, fetches } = makeKeySet({ cooldownMs: 30_000 })
    last().answer([first.jwk])
    await keySet.settled()
    const flood = () => Promise.all(Array.from({ length: 1000 }, (_, n) => keySet.find({ alg: 'ES256', kid: `x${n}` })))

    expect(new Set(await flood())).toEqual(new Set(['unknown_kid']))
    clock.advance(29_999)
    await flood()
    expect(asked).toHaveLength(1)

    clock.advance(1)
    const answers = flood()
    await fetches(2)
    last().answer([first.jwk])
    expect(new Set(await answers)).toEqual(new Set(['unknown_kid']))
    await flood()
    expect(asked).toHaveLength(2)
    keySet.close()
  })

  it('keeps the cooldown after a fetch that failed', async () => {
    const { keySet, clock, asked, last, fetches } = makeKeySet({ cooldownMs: 30_000 })
    last().answer([first.jwk])
    await keySet.settled()
    clock.advance(30_000)
    const unknown = keySet.find(k2)
    await fetches(2)
    last().fail()
    expect(await unknown).toBe('unknown_kid')
    for (let n = 0; n < 100; n++) await keySet.find(k2)
    expect(asked).toHaveLength(2)
    expect(await keySet.find(k1)).toMatchObject({ type: 'public' })
    keySet.close()
  })

  it('finds a key that the issuer has added since', async () => {
    const { keySet, clock, last, fetches } = makeKeySet({ cooldownMs: 30_000 })
    last().answer([first.jwk])
    await keySet.settled()
    clock.advance(30_000)
    const found = keySet.find(k2)
    await fetches(2)
    last().answer([first.jwk, second.jwk])
    expect(await found).toMatchObject({ type: 'public' })
    keySet.close()
  })

  it('uses the last keys for as long as it is told to, and then no more', async () => {
    const { keySet, clock, last, fetches } = makeKeySet({ keepMs: 3_600_000, cooldownMs: 30_000 })
    last().answer([first.jwk])
    await keySet.settled()
    clock.advance(3_599_999)
    const unknown = keySet.find(k2)
    await fetches(2)
    last().fail()
    await unknown
    expect(await keySet.find(k1)).toMatchObject({ type: 'public' })
    clock.advance(1)
    expect(await keySet.find(k1)).toBe('keys_unavailable')
    expect(keySet.isUsable()).toBe(false)
    keySet.close()
  })

  it('refuses at once without keys, and has them as soon as the issuer is back', async () => {
    const { keySet, asked, last, fetches } = makeKeySet({ retryMs: 5, cooldownMs: 20 })
    last().fail()
    expect(await keySet.settled()).toMatchObject({ code: 'upstream' })
    for (let n = 0; n < 100; n++) expect(await keySet.find(k1)).toBe('keys_unavailable')
    expect(asked).toHaveLength(1)
    await fetches(2)
    last().answer([first.jwk])
    expect(await keySet.find(k1)).toMatchObject({ type: 'public' })
    keySet.close()
  })

  it('refreshes in the background, and drops a key that is gone', async () => {
    const { keySet, last, fetches } = makeKeySet({ refreshMs: 5 })
    last().answer([first.jwk])
    await keySet.settled()
    const before = keySet.generation()
    await fetches(2)
    last().answer([second.jwk])
    await keySet.settled()
    expect(keySet.generation()).not.toBe(before)
    expect(await keySet.find(k1)).toBe('unknown_kid')
    keySet.close()
  })

  it('keeps its generation while the keys stay the same', async () => {
    const { keySet, last, fetches } = makeKeySet({ refreshMs: 5 })
    last().answer([first.jwk])
    await keySet.settled()
    const before = keySet.generation()
    await fetches(2)
    last().answer([first.jwk])
    await keySet.settled()
    expect(keySet.generation()).toBe(before)
    keySet.close()
  })

  it('asks nobody once it is closed', async () => {
    const { keySet, asked } = makeKeySet({ retryMs: 1, refreshMs: 1 })
    keySet.close()
    expect(await keySet.find(k1)).toBe('keys_unavailable')
    expect(asked).toHaveLength(1)
  })

  it.each([
    ['symmetric keys', [{ kty: 'oct', kid: 'k1', k: 'AAAA' }]],
    ['encryption keys', [{ ...first.jwk, use: 'enc' }]],
    ['private keys', [{ ...first.jwk, d: 'AAAA' }]],
    ['keys for signing only', [{ ...first.jwk, key_ops: ['sign'] }]],
    ['keys for another algorithm', [{ ...first.jwk, alg: 'ES512' }]],
    ['keys without a name', [{ ...first.jwk, kid: undefined }]],
    ['two keys of one name', [first.jwk, { ...second.jwk, kid: 'k1' }]],
    ['keys that are none', [{ kty: 'EC', kid: 'k1', crv: 'P-256', x: '!', y: '!' }]],
  ])('takes no %s from a key set', async (_, keys) => {
    const { keySet, last } = makeKeySet()
    // Issuers publish what they like; the shapes here are what the type forbids.
    last().answer(keys as JWK[])
    expect(await keySet.find(k1)).toBe('unknown_kid')
    keySet.close()
  })

  it.each([[{}], [{ keys: 'x' }], [[]], [null], [{ keys: Array.from({ length: 101 }, () => ({})) }]])(
    'takes %j for no key set',
    async (answer) => {
      const options = { issuer: 'https://idp', clock: makeClock(), log: silentLog, load: async () => answer }
      const keySet = createKeySet(options)
      expect(await keySet.settled()).toMatchObject({ code: 'upstream' })
      keySet.close()
    },
  )
})
