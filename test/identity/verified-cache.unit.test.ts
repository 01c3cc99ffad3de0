import { describe, expect, it } from 'vitest'
import { createVerifiedCache, digestToken } from '../../src/identity/verified-cache.ts'

describe('createVerifiedCache', () => {
  it('holds no more than it may, and keeps what is used', () => {
    const cache = createVerifiedCache<number>(100)
    cache.set('used', -1)
    for (let n = 0; n < 1000; n++) {
      cache.set(`token ${n}`, n)
      expect(cache.get('used')).toBe(-1)
      expect(cache.size()).toBeLessThanOrEqual(100)
    }
    expect(cache.get('token 999')).toBe(999)
    expect(cache.get('token 0')).toBeUndefined()
  })

  it('replaces and forgets', () => {
    const cache = createVerifiedCache<number>(2)
    cache.set('a', 1)
    cache.set('a', 2)
    expect([cache.size(), cache.get('a')]).toEqual([1, 2])
    cache.delete('a')
    expect([cache.size(), cache.get('a')]).toEqual([0, undefined])
  })
})

describe('digestToken', () => {
  it('is SHA-256', () => {
    expect(digestToken('abc')).toBe('ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=')
  })
})
