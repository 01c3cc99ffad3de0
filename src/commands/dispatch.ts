import { GatewayError } from '../domain/error.ts'
import { nearestName } from '../domain/nearest.ts'
import type { Command, Group, Printer } from './cli.ts'
import { commandHelp, groupHelp } from './cli-help.ts'
import { parseArguments, UsageError } from './cli-parse.ts'

/**
 * Runs the command that `argv` names, and returns the exit code: 0 if it was done, 1 with one line on the error output
 * if it could not be, 2 with one line if it was asked for in a way that is not understood.
 */
export async function dispatch<Context extends Printer>(
  root: { readonly name: string; readonly group: Group<Context> },
  argv: readonly string[],
  context: Context,
): Promise<number> {
  let at: Command<Context> | Group<Context> = root.group
  let path = root.name
  let rest = argv
  try {
    while (at.kind === 'group') {
      const [word] = rest
      if (word === '--help' || word === '-h' || word === 'help') {
        context.out(groupHelp(path, at))
        return 0
      }
      if (word === undefined) {
        context.err(groupHelp(path, at))
        return 2
      }
      at = pick(at, word)
      path = `${path} ${word}`
      rest = rest.slice(1)
    }
    const input = parseArguments(at, rest)
    if (input === 'help') {
      context.out(commandHelp(path, at))
      return 0
    }
    return await at.run(input, context)
  } catch (error) {
    return report(error, path, context)
  }
}

function pick<Context>(group: Group<Context>, word: string): Command<Context> | Group<Context> {
  const found = Object.hasOwn(group.commands, word) ? group.commands[word] : undefined
  if (found) return found
  const near = nearestName(word, Object.keys(group.commands))
  const kind = word.startsWith('-') ? 'option' : 'command'
  throw new UsageError(`unknown ${kind} ${word}${near === null ? '; --help lists them' : `; did you mean ${near}?`}`)
}

function report(error: unknown, path: string, context: Printer): number {
  if (error instanceof UsageError) {
    context.err(`${path}: ${error.message}`)
    return 2
  }
  const isExpected = error instanceof GatewayError && error.code !== 'internal'
  const message = error instanceof Error ? error.message : String(error)
  context.err(isExpected ? `${path}: ${message}` : `${path}: unexpected failure: ${message}`)
  return 1
}
