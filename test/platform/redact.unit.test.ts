import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mayHoldSecret, redact, redactText } from '../../src/platform/redact.ts'

const FRAGMENTS = [
  'authorization',
  'Cookie',
  'x-api-key',
  'PASSWORD',
  'pwd',
  'client_secret',
  'credential',
  'refresh_token',
  'jwk',
  'kty',
  'd',
  'k',
  'basic',
  'Bearer abcdefgh',
  'Basic dXNlcjpwYXNz',
  'postgres://u:p@h/d',
  'https://u@h',
  'eyJhbGciOi.J9.x',
  'xoxb-12345678',
  'ghp_0123456789',
  'AKIA0123456789ABCDEF',
  '-----BEGIN PRIVATE KEY-----',
  'password=x',
  'keys',
  'dsn',
  'name',
  'value',
  'billing',
  '/refunds/1',
  'ok',
]

describe('mayHoldSecret', () => {
  it('is true of every line that redact would change', () => {
    const text = fc.oneof(fc.constantFrom(...FRAGMENTS), fc.string({ maxLength: 12 }))
    const leaf = fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null))
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.array(tie('tree'), { maxLength: 10 }),
        fc.dictionary(text, tie('tree'), { maxKeys: 4 }),
      ),
    }))
    fc.assert(
      fc.property(tree, (value) => {
        const line = JSON.stringify({ value })
        if (!mayHoldSecret(line)) expect(JSON.stringify(redact(JSON.parse(line)))).toBe(line)
      }),
      { numRuns: 2_000 },
    )
  })

  it('is false of what a gateway mostly writes', () => {
    const line = {
      level: 'info',
      callId: '0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000',
      upstream: 'billing',
      verb: 'POST',
      status: 200,
    }
    expect(mayHoldSecret(JSON.stringify(line))).toBe(false)
  })
})

describe('redactText', () => {
  // Each repeats what makes a pattern look ahead, so that one that looks ahead twice takes seconds.
  const HOSTILE = [
    'a',
    'a.',
    'a-',
    'a:',
    '://',
    'a://',
    'a://b:c',
    'a://b:c/',
    'a://b',
    '@',
    'a://@',
    'eyJ',
    'eyJ-',
    'eyJaaaaa.',
    'token',
    'token ',
    'token=',
    'Token=',
    'Token ,',
    'token\\',
    'authorization',
    'authorization:',
    'password="',
    "password='",
    'Basic ',
    'Bearer ',
    'bearer=',
    '-----BEGIN ',
    '-----BEGIN PRIVATE KEY-----',
    'xoxb-',
    'sk-a',
    ' ',
    '\\',
    '"',
  ]
  for (const unit of HOSTILE) {
    it(`takes no longer for a long run of ${JSON.stringify(unit)}`, () => {
      const text = unit.repeat(Math.ceil(9_000 / unit.length))
      // The shortest of a few: the machine may be busy with something else.
      const took = Array.from({ length: 5 }, () => {
        const before = performance.now()
        redactText(text)
        return performance.now() - before
      })
      expect(Math.min(...took)).toBeLessThan(250)
    })
  }
})
