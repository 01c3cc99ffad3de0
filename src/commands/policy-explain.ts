import { runDescribed } from '../policy/cases.ts'
import { formatExplanation } from '../policy/explain.ts'
import { isProblems } from '../policy/problem.ts'
import { compileDirectory, type PolicyCommand, printProblems } from './policy-check.ts'

/**
 * `policy explain`: says which rule decides a described call, and why. The call is described like a case of a
 * `*.test.yaml`, without its name and what it expects. Returns the exit code: 0 if the description could be read.
 */
export async function explainCall(command: PolicyCommand, described: { file: string; text: string }): Promise<number> {
  const set = await compileDirectory(command)
  if (isProblems(set)) return printProblems(command, set)
  const explanation = runDescribed({ ...described, set, context: command.context })
  if (isProblems(explanation)) return printProblems(command, explanation)
  if (command.isJson) {
    const { verdict } = explanation
    const plain = verdict.effect === 'unsure' ? { ...verdict, needs: [...verdict.needs] } : verdict
    command.print(JSON.stringify({ ...explanation, verdict: plain }))
  } else for (const line of formatExplanation(explanation)) command.print(line)
  return 0
}
