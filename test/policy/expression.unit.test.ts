import { describe, expect, it } from 'vitest'
import { decide } from '../../src/policy/decide.ts'
import { conditional, describeCall, problemsOf, setOf } from './world.ts'

function judge(when: string, facts: object, more: Parameters<typeof describeCall>[0] = {}) {
  const verdict = decide(setOf(conditional(when)), describeCall({ facts, ...more }))
  if (verdict.effect === 'unsure') return `unsure: ${[...verdict.needs].join(', ')}`
  return verdict.effect === 'allow' ? true : verdict.basis === 'condition_failed' ? 'failed' : false
}

describe('a condition is refused at load', () => {
  it('with the column in the line where it cannot be parsed', () => {
    const problems = problemsOf(conditional('true &&\n  action.verb = 1'))
    expect(problems).toEqual([expect.stringMatching(/Unexpected character: = \(column 15\)$/)])
  })

  const refused: readonly [string, string, RegExp][] = [
    ['an unknown variable', 'actoin.verb == "GET"', /unknown variable "actoin"; did you mean "action"\?/],
    ['an unknown fact', 'action.facts.bodi.amount > 1', /"action.facts" has no field "bodi"; did you mean "body"\?/],
    ['an unknown fact in has()', 'has(action.facts.amount)', /has no field "amount"; known are method, path, /],
    ['an unknown fact in brackets', 'action.facts["bdoy"] == 1', /has no field "bdoy"/],
    ['an unknown field of the principal', 'principal.sub == "a"', /"principal" has no field "sub"/],
    [
      'an unknown field of the owner',
      'has(principal.owner.subjct)',
      /"principal.owner" has no field "subjct"; did you mean "subject"\?/,
    ],
    ['a field of a text', 'has(action.verb.name)', /"action.verb" is a string: it has no field "name"/],
    ['a prototype for a field', 'principal.__proto__ == 1', /has no field "__proto__"/],
    ['an unknown function', 'action.verb.startWith("G")', /unknown function "startWith"; did you mean "startsWith"\?/],
    ['matches()', 'action.resource.matches("^(a+)+$")', /"matches" can take exponential time: use re2Matches/],
    ['matches() on what is dyn', 'action.facts.body.name.matches("a")', /re2Matches/],
    ['JSON in JSON', 'action.facts.path.json().x == 1', /unknown function "json"/],
    ['what the language binds for itself', 'cel.bind(y, 1, true)', /unknown/],
    ['a pattern that is computed', 'action.resource.re2Matches(action.facts.path)', /written out as a text/],
    ['a pattern that is none', 'action.resource.re2Matches("(")', /cannot be read/],
    ['a pattern that only backtracking can match', 'action.resource.re2Matches("(a)\\\\1")', /cannot be read/],
    ['a pattern too long', `action.resource.re2Matches("${'a'.repeat(201)}")`, /longer than 200/],
    ['what is not true or false', 'action.verb', /must be true or false, not string/],
    ['a comparison of different types', 'action.verb == 1', /.+/],
    ['a sum of different types', 'action.facts.content_length + "a" == "a"', /.+/],
    ['what cannot be parsed', 'action.verb = "GET"', /when: Unexpected character: = \(column 13\)$/],
    ['a variable that hides another', '[1].exists(action, action == 1)', /choose another name/],
    [
      'loops in loops in loops in loops',
      'action.facts.body.exists(a, action.facts.body.exists(b, action.facts.body.exists(c, action.facts.body.exists(d, a == b && c == d))))',
      /too many loops/,
    ],
    ['depth', `${'('.repeat(200)}true${')'.repeat(200)}`, /.+/],
    ['lists of a thousand', `1 in [${Array.from({ length: 600 }, () => '1').join(',')}]`, /.+/],
  ]
  for (const [what, when, problem] of refused) {
    it(what, () => {
      const problems = problemsOf(conditional(when))
      expect(problems[0]).toMatch(/^0\.yaml:5: rule "r": when: /)
      expect(problems[0]).toMatch(problem)
    })
  }

  it('with the line of a text that has several', () => {
    const text =
      'name: p\nrules:\n  - name: r\n    upstreams: [billing]\n    effect: allow\n    when: |\n      action.verb == "GET" &&\n      action.facts.bdoy == 1\n'
    expect(problemsOf(text)).toEqual([expect.stringMatching(/^0\.yaml:8: .*"bdoy"/)])
  })

  it('if one of the upstreams that the rule can match lacks a fact', () => {
    const text = (upstreams: string) =>
      `name: p\nrules:\n  - { name: r, ${upstreams}when: has(action.facts.body.x) && action.facts.path == "/", effect: deny }`
    expect(problemsOf(text('upstreams: [billing], '))).toEqual([])
    expect(problemsOf(text(''))).toContainEqual(expect.stringMatching(/"path".*\(for an upstream of protocol sql\)$/))
    expect(problemsOf(text('upstreams: [billing, warehouse], '))).toHaveLength(1)
  })
})

describe('numbers', () => {
  const cases: readonly [string, unknown, boolean | string][] = [
    ['action.facts.body.n > 100', 150, true],
    ['action.facts.body.n > 100', 150.5, true],
    ['action.facts.body.n > 100', 100, false],
    ['action.facts.body.n > 100', '150', 'failed'],
    ['action.facts.body.n > 100', null, 'failed'],
    ['action.facts.body.n > 100', true, 'failed'],
    ['action.facts.body.n > 100', [150], 'failed'],
    ['action.facts.body.n > 100', 1e308, true],
    ['action.facts.body.n > 100', -1e308, false],
    ['action.facts.body.n == 150', 150, true],
    ['action.facts.body.n == 150.0', 150, true],
    ['action.facts.body.n != 150', 150.5, true],
    ['action.facts.body.n in [1, 150]', 150, true],
    ['action.facts.body.n >= 0.1 && action.facts.body.n < 0.3', 0.2, true],
    ['action.facts.body.n * 2.0 == 300.0', 150, true],
    ['int(action.facts.body.n) * 2 == 300', 150, true],
    ['action.facts.body.n * 2 == 300', 150, 'failed'],
  ]
  for (const [when, n, expected] of cases) {
    it(`${when}, for ${JSON.stringify(n)}: ${expected}`, () => {
      expect(judge(when, { body: { n } })).toBe(expected)
    })
  }

  it('of declared facts are whole', () => {
    expect(judge('action.facts.content_length + 1 == 8', { content_length: 7 })).toBe(true)
    expect(judge('action.facts.content_length + 1 == 8', { content_length: 7.5 })).toBe('failed')
    expect(judge('action.facts.content_length > 0', { content_length: 2 ** 60 })).toBe('failed')
    expect(judge('action.facts.content_length <= 1000', {})).toBe('failed')
    expect(judge('has(action.facts.content_length) && action.facts.content_length <= 1000', {})).toBe(false)
    expect(judge('!has(action.facts.content_length) || action.facts.content_length <= 1000', {})).toBe(true)
  })
})

describe('what an agent sends', () => {
  const parse = (text: string): unknown => JSON.parse(text)

  it('may name its keys like those of every object', () => {
    const body = parse(
      '{"__proto__": {"admin": true}, "constructor": 1, "hasOwnProperty": 2, "toString": null, "n": 1}',
    )
    expect(judge('action.facts.body.n == 1', { body })).toBe(true)
    expect(judge('action.facts.body.constructor == 1', { body })).toBe(true)
    expect(judge('has(action.facts.body.admin)', { body })).toBe(false)
    expect(judge('action.facts.body.admin', { body })).toBe('failed')
    expect(judge('action.facts.body["__proto__"].admin', { body })).toBe(true)
    expect(judge('action.facts.body.size() == 5', { body })).toBe(true)
  })

  it('has no keys that it did not send', () => {
    for (const key of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'size', 'get']) {
      expect(judge(`has(action.facts.body.${key})`, { body: {} })).toBe(false)
      expect(judge(`action.facts.body[${JSON.stringify(key)}] == 1`, { body: {} })).toBe('failed')
    }
  })

  it('may have parameters named like those of every object', () => {
    const query = parse('{"constructor": ["a"], "__proto__": ["b"]}')
    expect(judge('"a" in action.facts.query["constructor"] && "b" in action.facts.query["__proto__"]', { query })).toBe(
      true,
    )
  })

  it('fails a condition if a declared fact is of another type', () => {
    expect(judge('action.facts.path == "/"', { path: 7 })).toBe('failed')
    expect(judge('"a" in action.facts.query["x"]', { query: { x: 'a' } })).toBe('failed')
    expect(judge('action.facts.body.f', { body: { f: Symbol('no data') } })).toBe('failed')
  })

  it('fails a condition that is neither true nor false for it', () => {
    expect(judge('action.facts.body.f', { body: { f: true } })).toBe(true)
    expect(judge('action.facts.body.f', { body: { f: 'true' } })).toBe('failed')
    expect(judge('action.facts.body.f', { body: { f: 1 } })).toBe('failed')
  })

  it('fails a condition if it is nested too deeply to walk', () => {
    let body: unknown = 1
    for (let depth = 0; depth < 10_000; depth++) body = [body]
    expect(judge('action.facts.body == 1', { body })).toBe('failed')
  })

  it('is read in time proportional to it, or not at all', () => {
    const large = { a: Array.from({ length: 2000 }, (_, n) => n), b: Array.from({ length: 2000 }, (_, n) => -n - 1) }
    const small = { a: [1, 2, 3], b: [3, 4] }
    const nested = 'action.facts.body.a.exists(x, action.facts.body.b.exists(y, x == y))'
    const search = 'action.facts.body.a.exists(x, x in action.facts.body.b)'
    for (const when of [nested, search]) {
      expect(judge(when, { body: small })).toBe(true)
      expect(judge(when, { body: large })).toBe('failed')
    }
    const parts = 'action.facts.body.a.all(x, x >= 0) && action.facts.body.b.all(y, y < 0)'
    expect(judge(parts, { body: large })).toBe(true)
  })

  it('is walked once by loops over parts of the element at hand', () => {
    const body = { containers: Array.from({ length: 3000 }, () => ({ ports: [80, 443], tags: ['a'] })) }
    expect(judge('action.facts.body.containers.all(c, c.ports.all(p, p != 22.0))', { body })).toBe(true)
    expect(judge('action.facts.body.containers.all(c, c.tags.exists(t, t in ["a", "b"]))', { body })).toBe(true)
  })

  it('is compared with lists of the policy at no such cost', () => {
    const body = { items: Array.from({ length: 3000 }, () => ({ kind: 'b' })) }
    expect(judge('["a", "b"].exists(k, action.facts.path.startsWith("/" + k))', { path: '/b' })).toBe(true)
    expect(judge('action.facts.body.items.all(i, i.kind in ["a", "b"])', { body })).toBe(true)
  })
})

describe('re2Matches', () => {
  it('finds its pattern anywhere, unless it is anchored', () => {
    expect(judge('action.resource.re2Matches("fund")', {})).toBe(true)
    expect(judge('action.resource.re2Matches("^fund")', {})).toBe(false)
    expect(judge('action.facts.body.s.re2Matches("^[a-z]+$")', { body: { s: 'abc' } })).toBe(true)
    expect(judge('action.facts.body.s.re2Matches("^[a-z]+$")', { body: { s: 7 } })).toBe('failed')
  })

  it('takes linear time for what stops a backtracking engine', () => {
    const started = performance.now()
    expect(judge('action.facts.body.s.re2Matches("^(a+)+$")', { body: { s: `${'a'.repeat(20_000)}!` } })).toBe(false)
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('fails for a text that even linear time would make long', () => {
    expect(judge('action.facts.body.s.re2Matches("(a?){500}b")', { body: { s: 'a'.repeat(100_000) } })).toBe('failed')
  })
})

describe('what a condition needs', () => {
  const cases: readonly [string, string][] = [
    ['action.facts.body.amount > 1', 'unsure: body'],
    ['action.facts["body"]["amount"] > 1', 'unsure: body'],
    ['has(action.facts.body.amount)', 'unsure: body'],
    ['action.facts.body.items.exists(i, i > 1)', 'unsure: body'],
    ['["a"].exists(k, action.facts.body[k] == 1)', 'unsure: body'],
    ['[action.facts.body].exists(k, k == 1)', 'unsure: body'],
    ['dyn(action).facts.body == 1', 'unsure: body'],
    ['dyn(action.facts) == 1', 'unsure: body'],
    ['dyn(action.facts)[principal.subject] == 1', 'unsure: body'],
    ['dyn(action)[principal.subject] == 1', 'unsure: body'],
  ]
  for (const [when, expected] of cases) {
    it(`${when}: the body`, () => {
      expect(judge(when, {}, { have: new Set() })).toBe(expected)
    })
  }

  it('is nothing for what the head tells', () => {
    expect(
      judge(
        'action.facts.path == "/a" && principal.subject != "" && action.verb == "POST"',
        { path: '/a' },
        { have: new Set() },
      ),
    ).toBe(true)
  })
})
