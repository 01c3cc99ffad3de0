import { describe, expect, it } from 'vitest'
import type { Verdict } from '../../src/domain/verdict.ts'
import { decide } from '../../src/policy/decide.ts'
import { describeCall, problemsOf, setOf } from './world.ts'

const HOLD = 'effect: hold, approval: { reviewers: ["*"] }'

function judge(rules: readonly string[], heldBy: readonly string[] = []): Verdict {
  const lines = rules.map((rule, index) => `  - { name: r${index}, upstreams: [warehouse], ${rule} }\n`)
  const upstream = { name: 'warehouse', protocol: 'sql', labels: {} }
  const call = describeCall({ upstream, verb: 'DELETE', resource: 'public.orders' })
  const verdict = decide(setOf(`name: p\nrules:\n${lines.join('')}`), { ...call, heldBy })
  if (verdict.effect === 'unsure') throw new Error('nothing is missing')
  return verdict
}

describe('what rules say of the rows', () => {
  it('is nothing, if they say nothing', () => {
    expect(judge(['effect: allow'])).not.toHaveProperty('impact')
  })

  it('is what those that decide say', () => {
    expect(judge(['effect: allow, impact: { tolerance: 20 rows }', `${HOLD}, impact: { sample: 5 }`]).impact).toEqual({
      sample: 5,
      tolerances: [],
    })
    expect(judge(['effect: allow, impact: { tolerance: 20 rows }', 'effect: allow']).impact).toEqual({
      sample: 0,
      tolerances: [{ rows: 20 }],
    })
  })

  it('is every tolerance, and the smallest sample', () => {
    const rules = ['sample: 5, tolerance: 10%', 'sample: 3, tolerance: 20 rows'].map(
      (impact) => `${HOLD}, impact: { ${impact} }`,
    )
    expect(judge(rules).impact).toEqual({ sample: 3, tolerances: [{ percent: 10 }, { rows: 20 }] })
  })

  it('is no sample, if one rule that holds permits none', () => {
    expect(judge([`${HOLD}, impact: { sample: 5 }`, HOLD]).impact).toEqual({ sample: 0, tolerances: [] })
  })

  it('holds for what a circuit breaker holds', () => {
    expect(judge(['effect: allow, impact: { tolerance: 10% }'], ['p/gone'])).toMatchObject({
      effect: 'hold',
      impact: { sample: 0, tolerances: [{ percent: 10 }] },
    })
  })

  it.each([
    ['effect: deny, impact: { tolerance: 10% }', /a deny lets nothing touch any row/],
    ['effect: allow, impact: { sample: 5 }', /an allow asks nobody/],
    ['effect: allow, impact: { tolerance: 10 }', /tolerance/],
    ['effect: allow, impact: { tolerance: lots }', /must be like "10%" or "20 rows"/],
    [`${HOLD}, impact: { sample: 6 }`, /sample/],
    [`${HOLD}, impact: { samples: 2 }`, /samples/],
  ])('refuses %s', (rule, problem) => {
    const text = `name: p\nrules:\n  - { name: r, upstreams: [warehouse], ${rule} }\n`
    expect(problemsOf(text)).toEqual([expect.stringMatching(problem)])
  })

  it('refuses it where no rows are counted', () => {
    const text = (upstreams: string) =>
      `name: p\nrules:\n  - { name: r, upstreams: [${upstreams}], effect: allow, impact: { tolerance: 10% } }\n`
    expect(problemsOf(text('billing'))).toEqual([expect.stringMatching(/no upstream that this rule can match/)])
    expect(problemsOf(text('billing, warehouse'))).toEqual([])
  })
})
