import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { claimAt, groupNamesOf, hasGroupOverage, subjectOf } from '../../src/identity/claims.ts'
import { isCleanText } from '../../src/identity/clean-text.ts'

describe('subjectOf', () => {
  it('takes a single claim as it is', () => {
    expect(subjectOf({ sub: 'repo:acme/infra:ref:refs/heads/50%' }, ['sub'])).toBe('repo:acme/infra:ref:refs/heads/50%')
  })

  it('joins several', () => {
    expect(subjectOf({ tid: 't', oid: 'o', sub: 's' }, ['tid', 'oid'])).toBe('t/o')
  })

  it('never gives two people one name', () => {
    const part = fc.stringMatching(/^[a/%2F]{1,6}$/)
    fc.assert(
      fc.property(part, part, part, part, (a, b, c, d) => {
        const same = subjectOf({ x: a, y: b }, ['x', 'y']) === subjectOf({ x: c, y: d }, ['x', 'y'])
        expect(same).toBe(a === c && b === d)
      }),
      { numRuns: 2000 },
    )
  })

  it('is null if a part is missing, empty or inherited', () => {
    expect(subjectOf({ tid: 't' }, ['tid', 'oid'])).toBeNull()
    expect(subjectOf({ tid: 't', oid: '' }, ['tid', 'oid'])).toBeNull()
    expect(subjectOf({}, ['constructor'])).toBeNull()
  })
})

describe('groupNamesOf', () => {
  it('walks into nested claims', () => {
    expect(groupNamesOf({ realm_access: { roles: ['a'] } }, ['realm_access', 'roles'])).toEqual(['a'])
    expect(groupNamesOf({ realm_access: ['roles'] }, ['realm_access', 'roles'])).toEqual([])
  })

  it('takes a claim with a dot for one claim', () => {
    expect(groupNamesOf({ 'https://acme.example/groups': ['a'] }, 'https://acme.example/groups')).toEqual(['a'])
  })

  it('is a fault beyond a thousand', () => {
    const groups = Array.from({ length: 1001 }, (_, n) => `g${n}`)
    expect(groupNamesOf({ groups: groups.slice(1) }, 'groups')).toHaveLength(1000)
    expect(groupNamesOf({ groups }, 'groups')).toBe('bad_groups')
  })

  it('knows when Entra ID left groups out', () => {
    expect(hasGroupOverage({ _claim_names: { groups: 'src1' } })).toBe(true)
    expect(hasGroupOverage({ hasgroups: true })).toBe(true)
    expect(hasGroupOverage({ _claim_names: {} })).toBe(false)
  })
})

describe('claimAt', () => {
  it('sees own properties only', () => {
    expect(claimAt({}, 'toString')).toBeUndefined()
    expect(claimAt(JSON.parse('{"__proto__":{"a":1}}'), 'a')).toBeUndefined()
  })
})

describe('isCleanText', () => {
  it.each([[''], ['a\0'], ['\u007f'], ['\u0085'], ['\u2028'], ['\ud800'], ['\udc00a'], [7], [null], ['abcd']])(
    'is false for %j',
    (value) => expect(isCleanText(value, 3)).toBe(false),
  )
  it.each([['a'], [' '], ['é/'], ['😀']])('is true for %j', (value) => expect(isCleanText(value, 3)).toBe(true))
})
