import { counted } from '../domain/counted.ts'
import { type CaseResult, runCases, uncovered } from '../policy/cases.ts'
import { findPolicyFiles, readText } from '../policy/load.ts'
import { isProblems } from '../policy/problem.ts'
import type { PolicySet } from '../policy/set.ts'
import { compileDirectory, type PolicyCommand, printProblems } from './policy-check.ts'

/** `policy test`: runs every `*.test.yaml` beside the policies, and tells which rules no case reaches. Returns the exit code. */
export async function testPolicies(command: PolicyCommand): Promise<number> {
  const set = await compileDirectory(command)
  if (isProblems(set)) return printProblems(command, set)
  const files = await findPolicyFiles(command.directory)
  if (isProblems(files)) return printProblems(command, files)
  if (files.tests.length === 0) {
    return printProblems(command, [{ file: command.directory, line: 0, message: withoutCases(files.policies) }])
  }

  const results: CaseResult[] = []
  for (const file of files.tests) {
    const text = await readText(file)
    if (isProblems(text)) return printProblems(command, text)
    const ran = runCases({ file, text, set, context: command.context })
    if ('problems' in ran) return printProblems(command, ran.problems)
    results.push(...ran)
  }
  return report(command, set, results)
}

/** A build that tests policies must notice that it tests nothing. */
function withoutCases([first = 'first.yaml']: readonly string[]): string {
  const where = first.replace(/\.yaml$/, '.test.yaml')
  return `no cases: nothing was tested. Write some into ${where}; \`countersign init\` shows how`
}

function report({ isJson, print }: PolicyCommand, set: PolicySet, results: readonly CaseResult[]): number {
  const failed = results.filter(({ fault }) => fault !== null)
  const untested = uncovered(set, results)
  if (isJson) {
    const cases = results.map(({ file, line, name, fault }) => ({ file, line, name, fault }))
    print(JSON.stringify({ ok: failed.length === 0, cases, rules: set.rules.length, untested }))
  } else {
    for (const { file, line, name, fault } of failed) print(`${file}:${line}: ${name}: ${fault}`)
    for (const rule of untested) print(`no case reaches ${rule}`)
    const covered = set.rules.length - untested.length
    const cases = share(results.length - failed.length, results.length, 'case', ['passes', 'pass'])
    print(`${cases}; ${share(covered, set.rules.length, 'rule', ['is reached', 'are reached'])}`)
  }
  return failed.length === 0 ? 0 : 1
}

function share(part: number, all: number, one: string, [isSo, areSo]: readonly [string, string]): string {
  return `${part} of ${counted(all, one)} ${part === 1 || all === 1 ? isSo : areSo}`
}
