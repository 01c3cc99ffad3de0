import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictJson } from '../../src/domain/strict-json.ts'

const parse = (text: string) => parseStrictJson(Buffer.from(text, 'utf8'))

describe('parseStrictJson', () => {
  it('reads what JSON.stringify writes, unless a key or a number is ambiguous', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value)
        const result = parse(text)
        if ('fault' in result) expect(result.fault).toMatch(/key twice|number|NUL|surrogate|nested/)
        else expect(JSON.stringify(result.value)).toBe(text)
      }),
    )
  })

  it('never reads what JSON.parse does not', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}[]":,\\u0dea1-.e ') }), (text) => {
        if ('value' in parse(text)) expect(() => JSON.parse(text)).not.toThrow()
      }),
    )
  })

  it.each([
    '0',
    '-0',
    '1.0',
    '1.50',
    '0.1',
    '1e3',
    '1E+3',
    '12.5e-3',
    '9007199254740991',
    '0.30000000000000004',
    '1e22',
  ])('keeps the number %s', (text) => expect(parse(text)).toEqual({ value: Number(text) }))

  it.each(['9007199254740992', '-9007199254740993', '1e400', '0.1000000000000000055', '123456789012345678901'])(
    'refuses the number %s',
    (text) => expect(parse(text)).toMatchObject({ fault: expect.stringContaining('number') }),
  )

  it('keeps __proto__ as a key of its own', () => {
    const result = parse('{"__proto__":{"isAdmin":true}}')
    if ('fault' in result) throw new Error(result.fault)
    expect(Object.keys(result.value as object)).toEqual(['__proto__'])
    expect((result.value as { isAdmin?: boolean }).isAdmin).toBeUndefined()
  })

  it('lets the same key stand in objects beside each other', () => {
    expect(parse('[{"a":1},{"a":2,"b":{"a":3}}]')).toHaveProperty('value')
  })

  it('reads a string of a megabyte, and refuses deep nesting, without a stack', () => {
    expect(parse(`{"a":"${'x\\n'.repeat(400_000)}"}`)).toHaveProperty('value')
    expect(parse('['.repeat(1_000_000))).toMatchObject({ fault: expect.stringContaining('nested') })
  })

  it.each(['', ' ', '{', '"', '"\\', 'nul', '{"a"}', '[1 2]', '"\u0001"', '\u00a0{}'])('refuses %j', (text) => {
    expect(parse(text)).toHaveProperty('fault')
  })
})
