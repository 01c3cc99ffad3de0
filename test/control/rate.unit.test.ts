import { describe, expect, it } from 'vitest'
import { createBuckets } from '../../src/control/rate.ts'

describe('buckets', () => {
  function start(maxKeys = 10) {
    const clock = { ms: 0 }
    return { clock, take: createBuckets({ perSecond: 2, burst: 3, maxKeys }, () => clock.ms) }
  }

  it('give a burst, then one at a time as they refill', () => {
    const { clock, take } = start()
    expect([take('a'), take('a'), take('a')]).toEqual([0, 0, 0])
    expect(take('a')).toBe(0.5)
    clock.ms += 500
    expect(take('a')).toBe(0)
    expect(take('a')).toBe(0.5)
  })

  it('never hold more than the burst', () => {
    const { clock, take } = start()
    take('a')
    clock.ms += 3_600_000
    expect([take('a'), take('a'), take('a'), take('a')]).toEqual([0, 0, 0, 0.5])
  })

  it('keep keys apart, and forget the one unused longest', () => {
    const { take } = start(2)
    for (let i = 0; i < 3; i++) take('a')
    expect(take('b')).toBe(0)
    expect(take('a')).toBeGreaterThan(0)
    take('c')
    expect(take('a')).toBeGreaterThan(0)
    take('d')
    take('e')
    expect(take('a')).toBe(0)
  })
})
