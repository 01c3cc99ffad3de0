import { describe, expect, it } from 'vitest'
import { compile } from '../../src/policy/compile.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { type Policy, policySchema } from '../../src/policy/schema.ts'
import { createSource } from '../../src/policy/source.ts'

const RULE = {
  name: 'refunds',
  upstreams: ['billing'],
  resources: ['/refunds/**'],
  effect: 'hold',
  approval: { reviewers: ['group:finance'], grant: { for: '30m', uses: 20, covers: 'rule' } },
}

function parse(rule: object) {
  return policySchema.safeParse({ name: 'billing', rules: [rule] })
}

function requirementOf(rule: object) {
  const parsed = parse(rule)
  if (!parsed.success) throw parsed.error
  const policies: readonly Policy[] = [parsed.data]
  const source = createSource(policies, () => ({ file: 'billing.yaml', line: 1 }))
  if (isProblems(source)) throw new Error(JSON.stringify(source))
  const set = compile(source, {
    upstreams: [{ name: 'billing', protocol: 'http', labels: {} }],
    facts: { http: {} },
  })
  if (isProblems(set)) throw new Error(JSON.stringify(set))
  return set.rules[0]?.requirement
}

describe('a rule that permits grants', () => {
  it('says how long, how often and how wide, and what bounds the content', () => {
    expect(requirementOf({ ...RULE, when: 'action.verb == "POST"' })?.grant).toEqual({
      mostMs: 1_800_000,
      mostUses: 20,
      covers: 'rule',
      ruleHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      resources: ['/refunds/**'],
      when: 'action.verb == "POST"',
    })
    const { name, effect } = RULE
    const plain = { name, effect, approval: { reviewers: ['*'], grant: { for: '1m', uses: 1 } } }
    expect(requirementOf(plain)?.grant).toEqual({
      mostMs: 60_000,
      mostUses: 1,
      covers: 'call',
      ruleHash: expect.any(String),
    })
  })

  it('has the same hash as long as it says the same, and another one for any other word', () => {
    const hash = requirementOf(RULE)?.grant?.ruleHash
    const shuffled = Object.fromEntries(Object.entries(RULE).reverse())
    expect(requirementOf(shuffled)?.grant?.ruleHash).toBe(hash)
    for (const other of [{ message: 'x' }, { name: 'refund' }, { resources: ['/refunds/*'] }, { verbs: ['POST'] }]) {
      expect(requirementOf({ ...RULE, ...other })?.grant?.ruleHash).not.toBe(hash)
    }
  })

  it.each([
    { for: '25h', uses: 1 },
    { for: '90s', uses: 1 },
    { for: '30m', uses: 0 },
    { for: '30m', uses: 1001 },
    { for: '30m' },
    { for: '30m', uses: 1, covers: 'everything' },
  ])('is refused with %j', (grant) => {
    expect(parse({ ...RULE, approval: { reviewers: ['group:finance'], grant } }).success).toBe(false)
  })
})

describe('a rule that may be overridden', () => {
  it('names by whom', () => {
    const rule = { ...RULE, approval: { reviewers: ['group:finance'], override: ['group:incident-commanders'] } }
    expect(requirementOf(rule)?.override).toEqual([{ kind: 'group', issuerName: null, name: 'incident-commanders' }])
    expect(requirementOf({ ...RULE, approval: { reviewers: ['*'] } })).not.toHaveProperty('override')
  })

  it.each([['*'], ['manager'], ['nobody']])('is refused with %s', (text) => {
    expect(parse({ ...RULE, approval: { reviewers: ['group:finance'], override: [text] } }).success).toBe(false)
  })
})
