import { describe, expect, it } from 'vitest'
import { createVerifiedCache, digestToken } from '../../src/identity/verified-cache.ts'

describe('createVerifiedCache', () => {
  it('holds no more than it may, and drops what was not used for the longest time', () => {
    const cache = createVerifiedCache<number>(3)
    for (const [index, name] of ['a', 'b', 'c'].entries()) cache.set(name, index)
    expect(cache.get('a')).toBe(0)
    cache.set('d', 3)
    expect(cache.size()).toBe(3)
    expect(cache.get('b')).toBeUndefined()
    expect([cache.get('a'), cache.get('c'), cache.get('d')]).toEqual([0, 2, 3])
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
