import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { formatProblem } from '../../src/platform/yaml.ts'
import { runCases, uncovered } from '../../src/policy/cases.ts'
import { type CompileContext, compile } from '../../src/policy/compile.ts'
import { findPolicyFiles, loadPolicies } from '../../src/policy/load.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { postgres } from '../../src/protocols/postgres/index.ts'
import { CONTEXT } from './world.ts'

const TOPICS = join(import.meta.dirname, 'cases')
/** With a database, and what its protocol really declares. */
const WITH_ORDERS: CompileContext = {
  upstreams: [...CONTEXT.upstreams, { name: 'orders', protocol: 'postgres', labels: { environment: 'production' } }],
  facts: { ...CONTEXT.facts, postgres: postgres.facts },
  verbs: { ...CONTEXT.verbs, postgres: postgres.verbs },
}
const SHIPPED = join(import.meta.dirname, '../../policies')

async function run(directory: string, context: CompileContext) {
  const source = await loadPolicies(directory)
  if (isProblems(source)) throw new Error(source.map(formatProblem).join('\n'))
  const set = compile(source, context)
  if (isProblems(set)) throw new Error(set.map(formatProblem).join('\n'))
  const files = await findPolicyFiles(directory)
  if (isProblems(files)) throw new Error(files.map(formatProblem).join('\n'))
  const ran = await Promise.all(
    files.tests.map(async (file) => runCases({ file, text: await readFile(file, 'utf8'), set, context })),
  )
  const results = ran.flatMap((one) => {
    if ('problems' in one) throw new Error(one.problems.map(formatProblem).join('\n'))
    return one
  })
  return {
    count: results.length,
    faults: results.filter(({ fault }) => fault !== null).map(({ name, fault }) => `${name}: ${fault}`),
    uncovered: uncovered(set, results),
  }
}

describe('golden decisions', () => {
  for (const topic of readdirSync(TOPICS)) {
    it(topic, async () => {
      const { faults, uncovered, count } = await run(join(TOPICS, topic), CONTEXT)
      expect(faults).toEqual([])
      expect(uncovered).toEqual([])
      expect(count).toBeGreaterThan(0)
    })
  }
})

describe('the policies that ship', () => {
  it('decide their cases as written, every rule at least once', async () => {
    const { faults, uncovered, count } = await run(SHIPPED, WITH_ORDERS)
    expect(faults).toEqual([])
    expect(uncovered).toEqual([])
    expect(count).toBeGreaterThan(10)
  })
})
