import { counted } from '../domain/counted.ts'
import { formatProblem, type Problem } from '../platform/yaml.ts'
import { type CompileContext, compile } from '../policy/compile.ts'
import { loadPolicies } from '../policy/load.ts'
import { isProblems } from '../policy/problem.ts'
import type { PolicySet } from '../policy/set.ts'

export interface PolicyCommand {
  readonly directory: string
  readonly context: CompileContext
  readonly isJson: boolean
  print(line: string): void
}

/**
 * `policy check`: reads and compiles the policies of a directory. `noResumer` is what is said of circuit breakers where
 * nobody may end what they do. Returns the exit code.
 */
export async function checkPolicies(command: PolicyCommand & { readonly noResumer: string | null }): Promise<number> {
  const { isJson, print } = command
  const set = await compileDirectory(command)
  if (isProblems(set)) return printProblems(command, set)
  const policies = new Set(set.rules.map(({ ref }) => ref.policy)).size
  const [rules, breakers] = [set.rules.length, set.breakers.size]
  const warnings = breakers === 0 || command.noResumer === null ? [] : [command.noResumer]
  if (isJson) print(JSON.stringify({ ok: true, policies, rules, breakers, hash: set.hash, warnings }))
  else {
    const stops = breakers === 0 ? '' : ` and ${counted(breakers, 'circuit breaker')}`
    const what = `${counted(policies, 'policy', 'policies')} with ${counted(rules, 'rule')}${stops}`
    print(`${what}, in order (${set.hash.slice(0, 12)})`)
    for (const warning of warnings) print(`warning: ${warning}`)
  }
  return 0
}

/** The policies of a directory, ready to decide. */
export async function compileDirectory({
  directory,
  context,
}: Pick<PolicyCommand, 'directory' | 'context'>): Promise<PolicySet | readonly Problem[]> {
  const source = await loadPolicies(directory)
  return isProblems(source) ? source : compile(source, context)
}

/** One line a problem, or one JSON object; the exit code is 1. */
export function printProblems({ isJson, print }: PolicyCommand, problems: readonly Problem[]): number {
  if (isJson) print(JSON.stringify({ ok: false, problems }))
  else for (const problem of problems) print(formatProblem(problem))
  return 1
}
