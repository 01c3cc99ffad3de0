import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictObject } from '../../src/domain/strict-json.ts'

const parse = (text: string) => parseStrictObject(new TextEncoder().encode(text))

describe('parseStrictObject', () => {
  it('reads every object of plain members as JSON.parse does', () => {
    const member = fc.oneof(fc.boolean(), fc.constant(null), fc.integer(), fc.stringMatching(/^[ -~]*$/))
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z]+$/), fc.oneof(member, fc.array(member))), (object) => {
        const text = JSON.stringify(object)
        expect(parse(text)).toEqual(JSON.parse(text))
      }),
    )
  })

  it('reads any JSON object as JSON.parse does, or not at all', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (object) => {
        const text = JSON.stringify(object)
        const read = parse(text)
        if (read !== null) expect(read).toEqual(JSON.parse(text))
      }),
    )
  })

  it.each([
    ['{"a":1,"a":1}'],
    ['{"a":1,"b":2,"a":{}}'],
    ['{"a":1,"\\u0061":2}'],
    ['{"x":{"a":1,"a":2}}'],
    ['{"x":[{"b":1},{"a":1,"a":2}]}'],
    ['{"a":{"b":[1,2]},"a":0}'],
    ['{"a,":1,"a,":2}'],
    ['{"\\"a":1 , "\\"a" :2}'],
  ])('refuses the key twice in %s', (text) => expect(parse(text)).toBeNull())

  it.each([
    ['{"a":"a","b":"a"}'],
    ['[{"a":1},{"a":2}]'.replace(/^(.*)$/, '{"x":$1}')],
    ['{"a":{"a":{"a":"a"}}}'],
    ['{"x":["a","a"],"a":1}'],
    ['{"x":"{\\"a\\":1,\\"a\\":2}"}'],
  ])('takes %s, where a key stands once in each object', (text) => expect(parse(text)).not.toBeNull())

  it.each([['[]'], ['"a"'], ['1'], ['null'], [''], ['{'], ['{"a":1}x'], ['{"a":01}'], ['\ufeff{"a":1}']])(
    'refuses %j',
    (text) => expect(parse(text)).toBeNull(),
  )

  it('refuses bytes that are not UTF-8', () => {
    expect(parseStrictObject(Buffer.from('7b2261223a22ff227d', 'hex'))).toBeNull()
  })

  it('refuses deep nesting without running out of stack', () => {
    expect(parse(`{"a":${'['.repeat(4000)}${']'.repeat(4000)}}`)).toBeNull()
  })
})
