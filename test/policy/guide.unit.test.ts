import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { runCases, runDescribed, uncovered } from '../../src/policy/cases.ts'
import { formatExplanation } from '../../src/policy/explain.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { CONTEXT, problemsOf, setOf } from './world.ts'

const guide = readFileSync(join(import.meta.dirname, '../../docs/policy.md'), 'utf8')
const blocks = [...guide.matchAll(/^```yaml\n(.*?)^```$/gms)].map((match) => ({
  text: match[1] ?? '',
  line: guide.slice(0, match.index).split('\n').length + 1,
}))
const isCases = (text: string) => /^(principals|cases):/.test(text)
const refusal = (text: string) => /^# refused: (.*)$/m.exec(text)?.[1]

describe('the guide to policies', () => {
  const policies = blocks.filter(({ text }) => !isCases(text) && refusal(text) === undefined)

  for (const { text, line } of policies) {
    it(`has a policy in line ${line} that decides the cases under it, every rule at least once`, () => {
      const set = setOf(text)
      const next = blocks[blocks.findIndex((block) => block.line === line) + 1]
      if (!next || !isCases(next.text)) throw new Error('no cases follow')
      const results = runCases({ file: 'docs/policy.md', text: next.text, set, context: CONTEXT })
      if ('problems' in results) throw new Error(JSON.stringify(results.problems))
      expect(results.flatMap(({ name, fault }) => (fault === null ? [] : [`${name}: ${fault}`]))).toEqual([])
      expect(uncovered(set, results)).toEqual([])
    })
  }

  for (const { text, line } of blocks) {
    const expected = refusal(text)
    if (expected === undefined) continue
    it(`has a policy in line ${line} that is refused as it says`, () => {
      expect(problemsOf(text)).toEqual([expect.stringContaining(expected)])
    })
  }

  it('has a call that is explained as it says', () => {
    const [, text = '', said = ''] =
      /^countersign policy explain - <<'END'\n(.*?)^END\n```\n\nsays `(.*?)`/ms.exec(guide) ?? []
    const policy = policies.find((one) => one.text.startsWith('name: several\n')) ?? expect.fail('it is there')
    const explanation = runDescribed({ file: '-', text, set: setOf(policy.text), context: CONTEXT })
    if (isProblems(explanation)) throw new Error(JSON.stringify(explanation))
    const lines = formatExplanation(explanation)
    expect(lines[0]).toBe(said)
    expect(lines.join('\n')).toContain('several/update: does not apply: its condition is false')
  })

  it('leaves no example out', () => {
    expect(policies.length).toBeGreaterThan(10)
    expect(blocks.length).toBe([...guide.matchAll(/^```yaml/gm)].length)
    expect(blocks.filter(({ text }) => isCases(text))).toHaveLength(policies.length)
  })
})
