import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseQuery, parseTarget } from '../../src/transports/http/request-target.ts'
import { rewriteAddress } from '../../src/transports/http/response-headers.ts'

describe('parseTarget', () => {
  it('gives a target that it reads the same again', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'/ab.%2eEfF5cC?&=;+ ~"[') }), (text) => {
        const target = parseTarget(`/${text}`)
        if ('fault' in target) return
        const written = target.query === '' ? target.path : `${target.path}?${target.query}`
        expect(parseTarget(written)).toEqual(target)
      }),
    )
  })

  it('never lets a decoded segment climb, or hide a slash', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'/.%2eEfFcC5\\;') }), (text) => {
        const target = parseTarget(`/${text}`)
        if ('fault' in target) return
        expect(target.decodedPath.split('/').length).toBe(target.path.split('/').length)
        // The reading of every WHATWG URL parser.
        expect(new URL(`http://a${target.path}`).pathname).toBe(target.path)
        expect(new URL(`http://a${target.decodedPath}`).pathname.split('/').length).toBe(target.path.split('/').length)
      }),
    )
  })
})

describe('parseQuery', () => {
  it('keeps every value in order, and reads a plus as a space', () => {
    expect(parseQuery('a=1&b=x+y&a=%32&&c')).toEqual([
      ['a', '1'],
      ['b', 'x y'],
      ['a', '2'],
      ['c', ''],
    ])
    expect(parseQuery('a=%FF')).toBeNull()
  })
})

describe('rewriteAddress', () => {
  const rewrite = { origin: 'https://up.test', basePath: '/v1', prefix: '/billing' }
  it.each([
    ['https://up.test/v1/a?b=c#d', '/billing/a?b=c#d'],
    ['//up.test/v1/a', '/billing/a'],
    ['/v1/a', '/billing/a'],
    ['/v1', '/billing'],
    ['/v1?a', '/billing?a'],
    ['/v10/a', '/v10/a'],
    ['/other', '/other'],
    ['a/b', 'a/b'],
    ['?page=2', '?page=2'],
    ['https://elsewhere.test/v1/a', 'https://elsewhere.test/v1/a'],
    ['https://up.test.evil.test/v1', 'https://up.test.evil.test/v1'],
    ['http://up.test/v1/a', 'http://up.test/v1/a'],
    ['https://[/v1', 'https://[/v1'],
  ])('%s is %s', (address, expected) => {
    expect(rewriteAddress(address, rewrite)).toBe(expected)
  })

  it('leads to the root of an upstream that is routed by host', () => {
    expect(rewriteAddress('https://up.test', { origin: 'https://up.test', basePath: '', prefix: '' })).toBe('/')
  })
})
