import { describe, expect, it } from 'vitest'
import { parseStrictJson } from '../../src/domain/strict-json.ts'
import { parseBody, parseMediaType } from '../../src/protocols/http/body.ts'
import { inspectHead } from '../../src/transports/http/malformed.ts'
import { parseTarget } from '../../src/transports/http/request-target.ts'

/**
 * What one agent sends stops everybody else while it is parsed: calls of other agents, votes, the look at who is
 * suspended. These inputs are made for parsers whose time grows faster than their input.
 */
const MIB = 1024 * 1024
/** Milliseconds; what is linear takes a twentieth of it, what is not takes minutes. */
const MOST_MS = 10_000

function timed(work: () => unknown): number {
  const startedAt = performance.now()
  work()
  return performance.now() - startedAt
}

describe('a request head', () => {
  const inspect = (contentType: string) =>
    inspectHead({
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      method: 'POST',
      url: '/billing/x',
      rawHeaders: ['Host', 'gateway.test', 'Content-Type', contentType],
    } as Parameters<typeof inspectHead>[0])

  it.each([
    ['semicolons and spaces', `a/b${'; '.repeat(8000)}!`],
    ['spaces', `a/b${' '.repeat(16_000)}!`],
    ['semicolons and tabs', `a/b${';\t \t'.repeat(4000)}"`],
    ['parameters', `a/b${';a=b'.repeat(4000)}=`],
    ['open quotes', `a/b${';a="\\"'.repeat(2000)}`],
  ])('with a Content-Type of %s is refused at once', (_what, contentType) => {
    let found: ReturnType<typeof inspect> | null = null
    expect(timed(() => (found = inspect(contentType)))).toBeLessThan(MOST_MS)
    expect(found).toMatchObject({ reason: 'content_type' })
  })

  it.each(['a/b', 'a/b;', 'a/b ; c=d', 'a/b;c=d ;; e="f;\\" g"', 'a/b;\tc=d;'])(
    'still passes with %s',
    (contentType) => {
      expect(inspect(contentType)).toHaveProperty('target')
      expect(parseMediaType(contentType).essence).toBe('a/b')
    },
  )

  it.each([
    ['dots', `/${'.a'.repeat(8000)}`],
    ['escapes', `/${'%41'.repeat(5000)}`],
    ['slashes', `/${'a/'.repeat(8000)}`],
    ['parameters', `/a?${'&_method'.repeat(2000)}`],
  ])('with a target of %s is read at once', (_what, target) => {
    expect(timed(() => parseTarget(target))).toBeLessThan(MOST_MS)
  })
})

describe('a body', () => {
  const json: readonly (readonly [string, string])[] = [
    ['a number of zeros', `{"n":1.${'0'.repeat(MIB)}1}`],
    ['an integer of zeros', `{"n":1${'0'.repeat(MIB)}1}`],
    ['an exponent of zeros', `{"n":1e${'0'.repeat(MIB)}1}`],
    ['many fractions', `[${'1.5e-10,'.repeat(MIB / 8)}1]`],
    ['a key of marks in the wrong order', `{"a${'\u0300\u0316'.repeat(MIB / 4)}":1}`],
    ['many keys of marks', `{${Array.from({ length: 15_000 }, (_, at) => `"${at}${'\u0300\u0316'.repeat(14)}":1`)}}`],
    ['a string without an end', `{"a":"${'\\"'.repeat(MIB / 2)}`],
    ['brackets', '['.repeat(MIB)],
    ['braces in pairs', `[${'{},'.repeat(MIB / 3)}1]`],
    ['minus signs', '-'.repeat(MIB)],
    ['long keys', `{${Array.from({ length: 16 }, (_, at) => `"${at}${'é'.repeat(MIB / 32)}":1`)}}`],
  ]
  it.each(json)('of JSON with %s is read at once', (_what, text) => {
    const bytes = Buffer.from(text)
    expect(timed(() => parseStrictJson(bytes))).toBeLessThan(MOST_MS)
  })

  it.each([
    ['fields', 'a&'.repeat(MIB / 2)],
    ['one field many times', 'a=b&'.repeat(MIB / 4)],
    ['escapes', '%41'.repeat(MIB / 3)],
    ['signs', '+'.repeat(MIB)],
  ])('of a form with %s is read at once', (_what, text) => {
    const form = parseMediaType('application/x-www-form-urlencoded')
    expect(timed(() => parseBody(Buffer.from(text), form, undefined))).toBeLessThan(MOST_MS)
  })

  it('with thirty marks on a letter is read, as it was sent', () => {
    expect(parseStrictJson(Buffer.from(`{"a${'\u0300'.repeat(30)}":1}`))).toHaveProperty('value')
    expect(parseStrictJson(Buffer.from(`{"a${'\u0300'.repeat(31)}":1}`))).toHaveProperty('fault')
  })

  it('refuses a number that is longer than any it would keep', () => {
    expect(parseStrictJson(Buffer.from(`{"n":5e-324}`))).toHaveProperty('value')
    expect(parseStrictJson(Buffer.from(`{"n":1.${'0'.repeat(500)}}`))).toHaveProperty('fault')
  })
})
