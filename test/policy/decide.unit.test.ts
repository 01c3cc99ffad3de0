import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Actions } from '../../src/domain/action.ts'
import { formatMask, type Verdict } from '../../src/domain/verdict.ts'
import { decide } from '../../src/policy/decide.ts'
import { explain, formatExplanation } from '../../src/policy/explain.ts'
import { AGENT, describeCall, setOf } from './world.ts'

const GROUPS = ['support-agents', 'finance', 'nobody']
const CONDITIONS = [null, 'action.facts.body.n > 1', 'action.facts.path == "/x"', 'action.facts.query.q[0] == "1"']

const rules = fc.uniqueArray(
  fc.record({
    name: fc.integer({ min: 0, max: 99 }).map((n) => `r${n}`),
    effect: fc.constantFrom('allow', 'hold', 'deny'),
    upstreams: fc.option(fc.constantFrom('billing', 'scratch')),
    verb: fc.option(fc.constantFrom('GET', 'POST', '*')),
    resource: fc.option(fc.constantFrom('/a', '/a/*', '/**', '/a/**/b')),
    group: fc.option(fc.constantFrom(...GROUPS)),
    when: fc.constantFrom(...CONDITIONS),
  }),
  { selector: ({ name }) => name, minLength: 1, maxLength: 40 },
)
type Rules = typeof rules extends fc.Arbitrary<infer Value> ? Value : never

function write(some: Rules): string {
  const lines = some.map(({ name, effect, upstreams, verb, resource, group, when }) =>
    [
      `  - name: ${name}`,
      // A condition is checked against each upstream that it can meet; those of one protocol have its facts.
      `    upstreams: [${upstreams ?? 'billing, scratch'}]`,
      ...(verb ? [`    verbs: ["${verb}"]`] : []),
      ...(resource ? [`    resources: ["${resource}"]`] : []),
      ...(group ? [`    principals: ["group:${group}"]`] : []),
      ...(when ? [`    when: ${JSON.stringify(when)}`] : []),
      `    effect: ${effect}`,
      ...(effect === 'hold' ? ['    approval: { reviewers: ["*"] }'] : []),
    ].join('\n'),
  )
  return `name: p\nrules:\n${lines.join('\n')}\n`
}

const calls = fc.record({
  verb: fc.constantFrom('GET', 'POST', 'DELETE'),
  resource: fc.constantFrom('/a', '/a/c', '/a/x/b', '/z'),
  facts: fc.constantFrom(
    {},
    { body: { n: 2 } },
    { body: { n: 'x' }, path: '/x' },
    { body: { n: 0 }, path: '/y', query: { q: ['1'] } },
  ),
  have: fc.constantFrom(new Set<string>(), new Set(['body'])),
})

/** The definition, without any index: what `explain` says of each rule, put together. */
function expected(set: ReturnType<typeof setOf>, input: ReturnType<typeof describeCall>): string {
  const found = explain(set, input).actions.flatMap((action) => action.rules)
  const took = (effect: string) => found.filter((one) => one.result === 'matches' && one.effect === effect)
  if (took('deny').length > 0) return 'deny rule'
  if (found.some(({ result }) => result === 'condition_failed')) return 'deny condition_failed'
  if (found.some(({ result }) => result === 'unsure')) return 'unsure'
  if (took('hold').length > 0) return 'hold rule'
  return took('allow').length > 0 ? 'allow rule' : 'deny no_rule'
}

describe('decide', () => {
  it('finds through its indexes what examining every rule finds', () => {
    fc.assert(
      fc.property(rules, calls, (some, call) => {
        const set = setOf(write(some))
        const input = describeCall(call)
        const verdict = decide(set, input)
        expect(verdict.effect === 'unsure' ? 'unsure' : `${verdict.effect} ${verdict.basis}`).toBe(expected(set, input))
      }),
      { numRuns: 300 },
    )
  })

  it('depends neither on the order of rules nor on that of policies', () => {
    fc.assert(
      fc.property(rules, calls, (some, call) => {
        const other = 'name: q\nrules: [{ name: x, upstreams: [billing], verbs: [GET], effect: allow }]'
        const one = setOf(write(some), other)
        const two = setOf(other, write([...some].reverse()))
        expect(two.hash).toBe(one.hash)
        expect(decide(two, describeCall(call))).toEqual(decide(one, describeCall(call)))
      }),
      { numRuns: 100 },
    )
  })

  it('never turns a deny into anything else when more becomes known', () => {
    fc.assert(
      fc.property(rules, calls, (some, call) => {
        const set = setOf(write(some))
        const early = decide(set, describeCall({ ...call, have: new Set() }))
        if (early.effect === 'unsure') return
        expect(decide(set, describeCall({ ...call, have: new Set(['body']) })).effect).toBe(early.effect)
      }),
      { numRuns: 200 },
    )
  })

  it('gives all requirements of all holds, each as its rule states it', () => {
    const set = setOf(`name: p
rules:
  - { name: a, upstreams: [billing], effect: allow, limits: [1MiB per call], max_duration: 1h }
  - { name: b, upstreams: [billing], effect: hold, approval: { reviewers: ["group:finance", "https://idp.example.com|alice"], expires: 15m, reason_required: true }, message: B. }
  - { name: c, upstreams: [billing], effect: hold, approval: { reviewers: ["*"], quorum: 2 }, message: C., max_duration: 5m }
`)
    expect(decide(set, describeCall({}))).toEqual({
      effect: 'hold',
      basis: 'rule',
      rules: [
        { policy: 'p', rule: 'b' },
        { policy: 'p', rule: 'c' },
      ],
      message: 'B.',
      requirements: [
        {
          rule: { policy: 'p', rule: 'b' },
          reviewers: [
            { kind: 'group', issuerName: null, name: 'finance' },
            { kind: 'party', party: { issuer: 'https://idp.example.com', subject: 'alice' } },
          ],
          quorum: 1,
          expiresMs: 900_000,
          isReasonRequired: true,
          message: 'B.',
        },
        {
          rule: { policy: 'p', rule: 'c' },
          reviewers: [{ kind: 'any' }],
          quorum: 2,
          expiresMs: null,
          isReasonRequired: false,
          message: 'C.',
        },
      ],
      limits: [],
      masks: [],
      maxDurationMs: 300_000,
      policyVersion: 0,
      decidingAction: 0,
    } satisfies Verdict)
  })

  it('gives the limits of every allow that matches, and the shortest duration', () => {
    const set = setOf(`name: p
rules:
  - { name: a, upstreams: [billing], effect: allow, limits: [1MiB per call], max_duration: 1h }
  - { name: b, upstreams: [billing], effect: allow, limits: [10 calls per 1m], max_duration: 2m, approval: { reviewers: ["group:ops"] } }
  - { name: c, upstreams: [billing], verbs: [GET], effect: allow, limits: [1 calls per 1h] }
`)
    const verdict = decide(set, describeCall({ verb: 'POST' }))
    if (verdict.effect !== 'allow') throw new Error(verdict.effect)
    expect(verdict.limits.map(({ rule, unit, amount, windowMs }) => [rule.rule, unit, amount, windowMs])).toEqual([
      ['a', 'bytes', 1024 ** 2, null],
      ['b', 'calls', 10, 60_000],
    ])
    expect(verdict.limits.map(({ requirement }) => requirement.reviewers)).toEqual([
      [{ kind: 'any' }],
      [{ kind: 'group', issuerName: null, name: 'ops' }],
    ])
    expect(verdict.maxDurationMs).toBe(120_000)
  })

  it('masks what any rule masks that lets a part of the call through', () => {
    const set = setOf(`name: p
rules:
  - { name: a, upstreams: [shop], verbs: [select], effect: allow, mask: [public.customers.email, 'public."Or""ders".ip'] }
  - { name: b, upstreams: [shop], verbs: [select], resources: [public.customers], effect: allow, mask: [public.customers.phone] }
  - { name: c, upstreams: [shop], verbs: [delete], effect: hold, approval: { reviewers: ["*"] }, mask: [public.customers.id] }
  - { name: d, upstreams: [shop], verbs: [insert], effect: allow, mask: [public.customers.name] }
`)
    const shop = { name: 'shop', protocol: 'postgres', labels: {} }
    const maskedIn = (...acts: readonly [string, string][]) => {
      const actions = acts.flatMap(([verb, resource]) => describeCall({ upstream: shop, verb, resource }).actions)
      const verdict = decide(set, describeCall({ upstream: shop, actions: actions as [Actions[0], ...Actions] }))
      return verdict.effect === 'unsure' ? [] : [verdict.effect, ...verdict.masks.map(formatMask)]
    }
    const reads = ['public.customers.email', 'public."Or""ders".ip']
    expect(maskedIn(['select', 'public.orders'])).toEqual(['allow', ...reads])
    expect(maskedIn(['select', 'public.customers'])).toEqual(['allow', ...reads, 'public.customers.phone'])
    expect(maskedIn(['select', 'public.orders'], ['delete', 'public.orders'])).toEqual([
      'hold',
      'public.customers.id',
      ...reads,
    ])
    expect(maskedIn(['insert', 'public.orders'])).toEqual(['allow', 'public.customers.name'])
    expect(maskedIn(['update', 'public.orders'])).toEqual(['deny'])
  })

  it('says what is masked before it asks for more, by what matches and by what may', () => {
    const set = setOf(`name: p
rules:
  - { name: a, upstreams: [shop], verbs: [select], effect: allow, mask: [public.customers.email] }
  - { name: b, upstreams: [shop], verbs: [update], when: action.facts.rows <= 10, effect: allow, mask: [public.customers.phone] }
  - { name: c, upstreams: [shop], verbs: [update], when: action.facts.has_where, effect: allow, mask: [public.customers.name] }
  - { name: d, upstreams: [shop], verbs: [delete], effect: allow, mask: [public.customers.id] }
`)
    const upstream = { name: 'shop', protocol: 'postgres', labels: {} }
    const facts = { has_where: false }
    const acts = ['update', 'select'].flatMap((verb) => describeCall({ upstream, verb, resource: 'x', facts }).actions)
    const actions = acts as [Actions[0], ...Actions]
    const verdict = decide(set, describeCall({ upstream, actions, have: new Set() }))
    expect(verdict).toMatchObject({ effect: 'unsure', needs: new Set(['rows']) })
    expect('masks' in verdict && verdict.masks.map(formatMask)).toEqual([
      'public.customers.email',
      'public.customers.phone',
    ])
  })

  it('names the action that decided', () => {
    const set = setOf('name: p\nrules: [{ name: a, upstreams: [billing], verbs: [GET], effect: allow }]')
    const [action] = describeCall({ verb: 'GET' }).actions
    const [other] = describeCall({ verb: 'PUT' }).actions
    const verdict = decide(set, describeCall({ verb: 'GET', actions: [action, action, other] }))
    expect(verdict).toMatchObject({ effect: 'deny', basis: 'no_rule', decidingAction: 2 })
  })

  it('denies what is aimed at an upstream that the set was not compiled for', () => {
    const set = setOf('name: p\nrules: [{ name: a, effect: allow }]')
    const upstream = { name: 'other', protocol: 'http', labels: {} }
    expect(decide(set, describeCall({ upstream }))).toMatchObject({ effect: 'deny', basis: 'no_rule' })
  })

  it('denies a suspended agent before anything else', () => {
    const set = setOf('name: p\nrules: [{ name: a, effect: allow }]')
    expect(decide(set, describeCall({ isSuspended: true, have: new Set() }))).toMatchObject({
      effect: 'deny',
      basis: 'suspended',
      rules: [],
    })
  })
})

describe('an agent that circuit breakers hold', () => {
  const BREAKERS = `name: p
rules:
  - { name: reads, upstreams: [billing], verbs: [GET], effect: allow, limits: [1 calls per 1m], max_duration: 30m }
  - name: writes
    upstreams: [billing]
    verbs: [POST]
    effect: hold
    approval: { reviewers: ["group:finance"], grant: { for: 1h, uses: 3 } }
  - { name: never, upstreams: [billing], verbs: [DELETE], effect: deny }
  - { name: body, upstreams: [billing], verbs: [PUT], when: action.facts.body.ok, effect: allow }
breakers:
  - { name: probing, counts: denials, more_than: 2, within: 5m, then: hold, approval: { reviewers: ["group:ops"], quorum: 2 } }
  - { name: wild, counts: calls, more_than: 1, within: 1h, then: hold, approval: { reviewers: ["*"] } }
  - { name: flood, counts: holds, more_than: 1, within: 1h, then: suspend }
`
  const set = setOf(BREAKERS)
  const held = (verb: string, ...heldBy: string[]) =>
    decide(set, describeCall({ verb, heldBy, facts: { body: { ok: true } } }))

  it('has what rules allow held, for those whom the breaker names, and without limits', () => {
    expect(held('GET', 'p/probing')).toEqual({
      effect: 'hold',
      basis: 'breaker',
      rules: [{ policy: 'p', rule: 'probing' }],
      message: expect.stringContaining('more than 2 denials within 5m'),
      requirements: [
        expect.objectContaining({
          rule: { policy: 'p', rule: 'probing' },
          reviewers: [{ kind: 'group', issuerName: null, name: 'ops' }],
          quorum: 2,
        }),
      ],
      limits: [],
      masks: [],
      maxDurationMs: 30 * 60_000,
      policyVersion: 0,
      decidingAction: 0,
    })
    expect(held('PUT', 'p/probing')).toMatchObject({ effect: 'hold', basis: 'breaker' })
  })

  it('has it held for every breaker that has tripped', () => {
    expect(held('GET', 'p/probing', 'p/wild')).toMatchObject({
      rules: [{ rule: 'probing' }, { rule: 'wild' }],
      requirements: [{ quorum: 2 }, { quorum: 1 }],
    })
  })

  it('has it held for anyone where the policy has the breaker no more, or it asks nobody', () => {
    for (const name of ['p/gone', 'other/probing', 'p/flood']) {
      const [policy, rule] = name.split('/')
      expect(held('GET', name)).toMatchObject({
        effect: 'hold',
        requirements: [{ rule: { policy, rule }, reviewers: [{ kind: 'any' }], quorum: 1 }],
      })
    }
  })

  it('has what rules hold held as before, but for grants', () => {
    const before = held('POST')
    expect(before).toMatchObject({ requirements: [{ grant: { mostUses: 3 } }] })
    const verdict = held('POST', 'p/probing')
    expect(verdict).toMatchObject({ effect: 'hold', basis: 'rule', rules: [{ rule: 'writes' }] })
    const requirements = verdict.effect === 'hold' ? verdict.requirements : []
    expect(requirements.map((one) => ['grant' in one, one.breaker])).toEqual([[false, 'bars_grant']])
    expect(held('GET', 'p/probing', 'p/gone')).toMatchObject({
      requirements: [{ breaker: 'asks' }, { breaker: 'asks' }],
    })
  })

  it('is denied what rules deny, or do not allow, and when it is suspended as well', () => {
    expect(held('DELETE', 'p/probing')).toMatchObject({ effect: 'deny', basis: 'rule' })
    expect(held('PATCH', 'p/probing')).toMatchObject({ effect: 'deny', basis: 'no_rule' })
    expect(decide(set, describeCall({ heldBy: ['p/probing'], isSuspended: true }))).toMatchObject({
      basis: 'suspended',
    })
    expect(decide(set, describeCall({ verb: 'PUT', heldBy: ['p/probing'], have: new Set() }))).toMatchObject({
      effect: 'unsure',
    })
  })

  it('is explained so', () => {
    const [first, , , ...rules] = formatExplanation(explain(set, describeCall({ verb: 'GET', heldBy: ['p/probing'] })))
    expect(first).toBe('hold: rules allow it, and the circuit breaker p/probing has tripped')
    expect([first, ...rules].join('\n')).toContain('p/reads: matches, and would say allow')
  })

  it('has breakers in the canonical text, in one order whatever the file had', () => {
    const lines = BREAKERS.trimEnd().split('\n')
    const turned = [...lines.slice(0, -3), ...lines.slice(-3).reverse()].join('\n')
    expect(setOf(turned).hash).toBe(set.hash)
    expect(setOf(lines.slice(0, -1).join('\n')).hash).not.toBe(set.hash)
  })
})

describe('explain', () => {
  const set = setOf(`name: p
rules:
  - { name: a, upstreams: [billing], verbs: [POST], effect: allow }
  - { name: b, upstreams: [billing], verbs: [POST], effect: hold, approval: { reviewers: ["*"] } }
  - { name: c, upstreams: [billing], verbs: [GET], effect: deny }
  - { name: d, upstreams: [billing], resources: [/x], effect: deny }
  - { name: e, upstreams: [scratch], effect: deny }
  - { name: f, upstreams: [billing], principals: ["group:nobody"], effect: deny }
  - { name: g, upstreams: [billing], when: action.facts.body.amount > 100, effect: deny }
`)

  it('says which rule decides, what the others would have said, and why the rest do not match', () => {
    expect(formatExplanation(explain(set, describeCall({ facts: { body: { amount: 1 } } })))).toEqual([
      'hold: by rule p/b',
      '',
      'POST /refunds',
      '  p/b: decides: hold',
      '  p/a: matches, and would say allow',
      '  p/g: does not apply: its condition is false (action.facts.body.amount > 100)',
      '  p/f: is about another principal',
      '  p/d: is about another resource',
      '  p/c: is about another verb',
      '  p/e: is about another upstream',
    ])
  })

  it('says what is masked, and by which rule', () => {
    const masking = setOf(
      'name: p\nrules: [{ name: r, upstreams: [shop], effect: allow, mask: [public.customers.email] }]',
    )
    const upstream = { name: 'shop', protocol: 'postgres', labels: {} }
    const call = describeCall({ upstream, verb: 'select', resource: 'public.customers' })
    expect(formatExplanation(explain(masking, call)).slice(0, 2)).toEqual([
      'allow: by rule p/r',
      '  masks public.customers.email (p/r)',
    ])
  })

  it('says why a condition failed', () => {
    const lines = formatExplanation(explain(set, describeCall({ facts: { body: {} } })))
    expect(lines.slice(0, 4)).toEqual([
      'deny: the condition of p/g could not be evaluated',
      '',
      'POST /refunds',
      '  p/g: cannot be evaluated, which is a deny (No such key: amount)',
    ])
  })

  it('says what would have to be known', () => {
    const lines = formatExplanation(explain(set, describeCall({ have: new Set() })))
    expect(lines[0]).toBe('unsure: needs body')
    expect(lines).toContain('  p/g: cannot be told yet (it reads body, which is not known yet)')
  })

  it('says that nothing matched, or that the agent is suspended', () => {
    const upstream = { name: 'deploy-api', protocol: 'http', labels: {} }
    expect(formatExplanation(explain(set, describeCall({ upstream })))[0]).toBe('deny: no rule allows it')
    const suspended = explain(set, describeCall({ isSuspended: true, principal: AGENT }))
    expect(formatExplanation(suspended)[0]).toMatch(/^deny: .*suspended$/)
  })
})
