import { describe, expect, it } from 'vitest'
import { problemsOf } from './world.ts'

const rule = (...lines: readonly string[]) =>
  ['name: p', 'rules:', '  - name: r', '    upstreams: [billing]', ...lines.map((line) => `    ${line}`)].join('\n')

const breaker = (...lines: readonly string[]) =>
  [rule('effect: allow'), 'breakers:', '  - name: b', ...lines.map((line) => `    ${line}`)].join('\n')
const COUNTS = ['counts: calls', 'more_than: 3', 'within: 1m']

describe('a policy file', () => {
  const refused: readonly [string, string, string | RegExp][] = [
    ['a key that is mistyped', rule('effect: allow', 'verb: [GET]'), /^0\.yaml:6: .*verb; did you mean verbs\?$/],
    [
      'a key of the policy that is mistyped',
      'name: p\nrule: []\nrules: [{ name: r, effect: allow }]',
      /^0\.yaml:2: .*rules\?$/,
    ],
    [
      'a key of the approval that is mistyped',
      rule('effect: hold', 'approval:', '  reviewers: ["*"]', '  quorun: 2'),
      /^0\.yaml:8: .*quorum\?$/,
    ],
    ['a key that is there twice', rule('effect: deny', 'effect: allow'), /^0\.yaml:6: .*unique/],
    ['an alias', rule('verbs: &v [GET]', 'resources: *v', 'effect: allow'), /^0\.yaml:6: .*alias/],
    ['a merge key', rule('effect: allow', '"<<": { verbs: [GET] }'), /^0\.yaml:6: .*unknown key <</],
    ['two documents in one file', `${rule('effect: allow')}\n---\nname: q\n`, /^0\.yaml:6: /],
    ['a rule without an effect', rule('verbs: [GET]'), /^0\.yaml:3: .*effect/],
    ['an effect that is none', rule('effect: permit'), /^0\.yaml:5: .*effect/],
    [
      'a key of a breaker that is mistyped',
      breaker(...COUNTS, 'then: suspend', 'verb: [GET]'),
      /^0\.yaml:12: .*verb; did you mean verbs\?$/,
    ],
    [
      'a breaker with a window that is no duration, told once',
      breaker(...COUNTS.slice(0, 2), 'within: 10min', 'then: suspend'),
      /^0\.yaml:10: .*within: must be a duration like 50s, 15m or 8h, at most 31d$/,
    ],
    [
      'reviewers that are no list',
      rule('effect: hold', 'approval: { reviewers: "group:finance" }'),
      /^0\.yaml:6: .*approval\.reviewers: must be a list: put it in \[ \]$/,
    ],
    [
      'a choice that there is not',
      rule('effect: hold', 'approval: { reviewers: ["*"], grant: { for: 10m, uses: 3, covers: rules } }'),
      /^0\.yaml:6: .*covers: must be one of call, resource, rule; did you mean rule\?$/,
    ],
    [
      'a breaker that counts nothing known',
      breaker('counts: errors', ...COUNTS.slice(1), 'then: suspend'),
      /^0\.yaml:8: /,
    ],
    ['a breaker without a window', breaker(...COUNTS.slice(0, 2), 'then: suspend'), /^0\.yaml:7: .*within/],
    [
      'a window that is too short',
      breaker(...COUNTS.slice(0, 2), 'within: 10ms', 'then: suspend'),
      /^0\.yaml:10: .*1s or more/,
    ],
    [
      'a breaker that lets nothing pass',
      breaker('counts: calls', 'more_than: 0', 'within: 1m', 'then: suspend'),
      /^0\.yaml:9: /,
    ],
    ['a breaker that does nothing known', breaker(...COUNTS, 'then: deny'), /^0\.yaml:11: /],
    ['a breaker that holds and asks nobody', breaker(...COUNTS, 'then: hold'), /^0\.yaml:11: .*who may countersign/],
    [
      'a breaker that suspends and asks somebody',
      breaker(...COUNTS, 'then: suspend', 'approval: { reviewers: ["*"] }'),
      /^0\.yaml:12: .*asks nobody/,
    ],
    [
      'a breaker that lets reviewers grant',
      breaker(...COUNTS, 'then: hold', 'approval:', '  reviewers: ["*"]', '  grant: { for: 10m, uses: 3 }'),
      /^0\.yaml:14: .*without asking/,
    ],
    [
      "a breaker of a rule's name",
      breaker(...COUNTS, 'then: suspend').replace('name: b', 'name: r'),
      /^0\.yaml:7: .*"r" names another/,
    ],
    ['an empty list of breakers', `${rule('effect: allow')}\nbreakers: []`, /^0\.yaml:6: .*must not be empty/],
    [
      'a breaker of an upstream nobody configured',
      breaker(...COUNTS, 'then: suspend', 'upstreams: [biling]'),
      /^0\.yaml:12: breaker "b": unknown upstream "biling"; did you mean "billing"\?$/,
    ],
    [
      'a breaker of a verb that the protocol lacks',
      breaker(...COUNTS, 'then: suspend', 'upstreams: [billing]', 'verbs: [DELTE]'),
      /^0\.yaml:13: breaker "b": unknown verb "DELTE"; did you mean "DELETE"\?$/,
    ],
    [
      'a verb of another protocol, without all of the many that there are',
      rule('effect: allow', 'verbs: [OPTIONS]').replace('billing', 'shop'),
      /^0\.yaml:6: rule "r": unknown verb "OPTIONS"; none of the \d{3} that are known is like it$/,
    ],
    ['a policy without rules', 'name: p\nrules: []', /^0\.yaml:2: .*at least one rule/],
    [
      'two rules of one name',
      `${rule('effect: allow')}\n  - name: r\n    effect: deny\n`,
      /^0\.yaml:6: .*"r" names another rule/,
    ],
    ['a name with a slash', 'name: a/b\nrules: [{ name: r, effect: allow }]', /^0\.yaml:1: .*must be a name/],
    ['a hold that asks nobody', rule('effect: hold'), /^0\.yaml:5: .*who may countersign/],
    [
      'a hold with an empty list of reviewers',
      rule('effect: hold', 'approval: { reviewers: [] }'),
      /^0\.yaml:6: .*must not be empty/,
    ],
    ['a quorum of nobody', rule('effect: hold', 'approval: { reviewers: ["*"], quorum: 0 }'), /^0\.yaml:6: .*quorum/],
    ['a deny that asks somebody', rule('effect: deny', 'approval: { reviewers: ["*"] }'), /^0\.yaml:6: .*asks nobody/],
    [
      'an allow that asks somebody without a limit',
      rule('effect: allow', 'approval: { reviewers: ["*"] }'),
      /^0\.yaml:6: .*effect: hold/,
    ],
    [
      'a limit on a hold',
      rule('effect: hold', 'approval: { reviewers: ["*"] }', 'limits: [1MiB per call]'),
      /^0\.yaml:7: .*belong to an allow/,
    ],
    ['a limit that is none', rule('effect: allow', 'limits: [10 MB per call]'), /^0\.yaml:6: .*10MiB per call/],
    ['calls per call', rule('effect: allow', 'limits: [10 calls per call]'), /^0\.yaml:6: .*100 calls per 1m/],
    ['a duration without a unit', rule('effect: allow', 'max_duration: 60'), /^0\.yaml:6: /],
    ['a selector that is none', rule('effect: allow', 'principals: [alice]'), /^0\.yaml:6: .*group:<name>/],
    [
      'an e-mail address for a person',
      rule('effect: allow', 'principals: ["alice@example.com"]'),
      /^0\.yaml:6: .*group:<name>/,
    ],
    [
      'a resource that ends in a slash',
      rule('effect: deny', 'resources: ["/a", "/export/"]'),
      /^0\.yaml:6: .*"\/export\/": no resource ends in a slash; write "\/export", which is the path with and without one, or "\/export\/\*\*" for what is below it too/,
    ],
    ['a star that ends in a slash', rule('effect: deny', 'resources: ["/a/*/"]'), /^0\.yaml:6: .*write "\/a\/\*"/],
    [
      'two stars that end in a slash',
      rule('effect: deny', 'resources: ["/a/**/"]'),
      /^0\.yaml:6: .*write "\/a\/\*\*"$/,
    ],
    ['a star inside a segment', rule('effect: allow', 'resources: ["/v1*/x"]'), /^0\.yaml:6: .*whole segments/],
    ['an empty list, which would match nothing', rule('effect: allow', 'verbs: []'), /^0\.yaml:6: .*leave the key out/],
    [
      'an upstream nobody configured',
      rule('effect: allow').replace('billing', 'biling'),
      /^0\.yaml:4: .*"biling"; did you mean "billing"\?$/,
    ],
    [
      'a verb that the protocol lacks',
      rule('verbs: [GET, DELTE]', 'effect: deny'),
      /^0\.yaml:5: .*"DELTE"; did you mean "DELETE"\?$/,
    ],
    ['a verb in small letters', rule('verbs: [get]', 'effect: deny'), /^0\.yaml:5: .*"get"; did you mean "GET"\?$/],
    [
      'rows that an upstream does not have',
      rule('effect: allow', 'limits: [10MiB per call, 5 rows per 1h]'),
      /^0\.yaml:6: rule "r": .*protocol http have no rows to count/,
    ],
    [
      'a mask for an upstream that has no columns',
      rule('effect: allow', 'mask: [public.customers.email]'),
      /^0\.yaml:6: rule "r": .*protocol http have no columns to mask/,
    ],
    [
      'a mask on a rule that can meet such an upstream',
      'name: p\nrules:\n  - { name: r, effect: allow, mask: [public.customers.email] }',
      /^0\.yaml:3: rule "r": .*protocol http have no columns to mask; name the upstreams/,
    ],
    [
      'a mask on a deny',
      'name: p\nrules:\n  - { name: r, upstreams: [shop], effect: deny, mask: [public.customers.email] }',
      /^0\.yaml:3: .*mask: a deny lets nothing through$/,
    ],
    ['a mask of nothing', rule('effect: allow', 'mask: []'), /^0\.yaml:6: .*mask: must not be empty/],
    ...['customers.email', 'a.b.c.d', 'public.Customers.email', 'public.customers.*', 'public.customers."', ''].map(
      (text): [string, string, RegExp] => [
        `a mask that names no column: ${text}`,
        rule('effect: allow', `mask: [${JSON.stringify(text)}]`),
        /^0\.yaml:6: .*mask\.0: must be "schema\.relation\.column"/,
      ],
    ),
    ['a condition longer than it may be', rule('effect: allow', `when: "${'a'.repeat(2001)}"`), /^0\.yaml:6: .*when/],
    ['a condition that is no text', rule('effect: allow', 'when: true'), /^0\.yaml:6: .*when/],
  ]
  for (const [what, text, problem] of refused) {
    it(`refuses ${what}, and says where`, () => {
      expect(problemsOf(text)).toEqual([expect.stringMatching(problem)])
    })
  }

  it('tells all problems at once', () => {
    const text =
      'name: p\nrules:\n  - { name: a, upstreams: [x], effect: allow }\n  - { name: b, upstreams: [billing], when: foo, effect: deny }'
    expect(problemsOf(text).map((line) => line.slice(0, 8))).toEqual(['0.yaml:3', '0.yaml:4'])
  })

  it('accepts the file of the documentation', () => {
    const limits = rule('effect: allow', 'limits: [10MiB per call, 100MiB per 1h, 100 calls per 1m]')
    expect(problemsOf(limits)).toEqual([])
    const rows = limits.replace('billing', 'shop').replace('100 calls', '5000 rows')
    expect(problemsOf(rows)).toEqual([])
  })
})
