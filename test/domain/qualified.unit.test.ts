import { describe, expect, it } from 'vitest'
import { formatQualified, parseQualified } from '../../src/domain/qualified.ts'

describe('a qualified name', () => {
  it.each([
    ['public.orders', ['public', 'orders']],
    ['"Sales"."a.b"."say ""hi"""', ['Sales', 'a.b', 'say "hi"']],
    ['_a.b$1', ['_a', 'b$1']],
  ])('is read, and written back: %s', (text, parts) => {
    expect(parseQualified(text)).toEqual(parts)
    expect(formatQualified(parts)).toBe(text)
  })

  it.each(['', '.', 'a.', '.a', 'a..b', 'Public.a', '"a', '""', 'a b', '"a"b', 'a."b"c', 'ä', '"a\0b"', 'a\n'])(
    'is none: %j',
    (text) => {
      expect(parseQualified(text)).toBeNull()
    },
  )
})
