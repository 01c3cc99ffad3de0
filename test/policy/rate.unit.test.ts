import { describe, expect, it } from 'vitest'
import { rateOptions } from '../../src/policy/options.ts'
import { createRateLimiter, parseRate } from '../../src/policy/rate.ts'

function limiterAt(text: string, mostPrincipals?: number) {
  const rate = parseRate(text)
  if (!rate) throw new Error(text)
  const clock = { at: 1000, monotonic: () => clock.at }
  const limiter = createRateLimiter({ rate, clock, ...(mostPrincipals === undefined ? {} : { mostPrincipals }) })
  return { clock, limiter }
}

describe('the rate of a principal', () => {
  it('lets a second of it through at once, and then no more', () => {
    const { limiter } = limiterAt('5/s')
    expect(Array.from({ length: 6 }, () => limiter.take('a'))).toEqual([0, 0, 0, 0, 0, 200])
  })

  it('comes back evenly', () => {
    const { limiter, clock } = limiterAt('5/s')
    for (let n = 0; n < 5; n++) limiter.take('a')
    clock.at += 199
    expect(limiter.take('a')).toBe(1)
    clock.at += 1
    expect(limiter.take('a')).toBe(0)
    expect(limiter.take('a')).toBe(200)
    clock.at += 60_000
    expect(Array.from({ length: 6 }, () => limiter.take('a')).filter((wait) => wait === 0)).toHaveLength(5)
  })

  it('is not used up by calls that were refused', () => {
    const { limiter, clock } = limiterAt('1/s')
    limiter.take('a')
    for (let n = 0; n < 100; n++) expect(limiter.take('a')).toBe(1000)
    clock.at += 1000
    expect(limiter.take('a')).toBe(0)
  })

  it('is each principal’s own', () => {
    const { limiter } = limiterAt('1/m')
    expect([limiter.take('a'), limiter.take('b'), limiter.take('a')]).toEqual([0, 0, 60_000])
  })

  it('lets exactly as many through as it says, also where they do not divide the time evenly', () => {
    const { limiter } = limiterAt('7/s')
    expect(Array.from({ length: 50 }, () => limiter.take('a')).filter((wait) => wait === 0)).toHaveLength(7)
  })

  it('is remembered for a bounded number of principals', () => {
    const { limiter } = limiterAt('1/h', 2)
    for (const principal of ['a', 'b', 'c']) limiter.take(principal)
    expect([limiter.take('c'), limiter.take('b')].every((wait) => wait > 0)).toBe(true)
    expect(limiter.take('a')).toBe(0)
  })

  it('pays for what a call costs besides, out of the same', () => {
    const { limiter, clock } = limiterAt('5/s')
    limiter.take('a')
    expect(limiter.takeMore('a', 3)).toBe(0)
    expect([limiter.take('a'), limiter.take('a')]).toEqual([0, 200])
    clock.at += 400
    expect(limiter.takeMore('a', 2)).toBe(0)
    expect(limiter.take('a')).toBe(200)
  })

  it('says when that call and its cost will both be there, and is not used up by what was refused', () => {
    const { limiter, clock } = limiterAt('5/s')
    limiter.take('a')
    limiter.take('a')
    limiter.take('a')
    const waitMs = limiter.takeMore('a', 3)
    expect([waitMs, limiter.takeMore('a', 3)]).toEqual([400, 400])
    clock.at += waitMs
    expect([limiter.take('a'), limiter.takeMore('a', 3)]).toEqual([0, 0])
  })

  it.each(['5/s', '1/s'])('of %s is enough for whatever one call costs, while nothing else is called', (text) => {
    const { limiter, clock } = limiterAt(text)
    for (let n = 0; n < 3; n++) {
      expect([limiter.take('a'), limiter.takeMore('a', 1_000_000)]).toEqual([0, 0])
      expect(limiter.take('a')).toBeGreaterThan(0)
      clock.at += 1000
    }
  })

  it('is configured as calls per second, minute or hour', () => {
    expect(rateOptions.parse(undefined)).toEqual({
      per_principal: { calls: 200, perMs: 1000 },
      open_per_principal: 1000,
    })
    expect(rateOptions.parse({ per_principal: '30/m' })).toMatchObject({
      per_principal: { calls: 30, perMs: 60_000 },
    })
    expect(rateOptions.parse({ open_per_principal: 1 })).toMatchObject({ open_per_principal: 1 })
    for (const wrong of ['200', '0/s', '200/d', '200 / s', '-1/s', 200]) {
      expect(rateOptions.safeParse({ per_principal: wrong }).success).toBe(false)
    }
    for (const wrong of [0, -1, 1.5, '10', 1_000_000]) {
      expect(rateOptions.safeParse({ open_per_principal: wrong }).success).toBe(false)
    }
    expect(rateOptions.safeParse({ per_principle: '1/s' }).success).toBe(false)
  })
})
