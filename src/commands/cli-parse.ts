import { parseArgs } from 'node:util'
import { nearestName } from '../domain/nearest.ts'
import type { ArgumentSpecs, Input, OptionSpecs } from './cli.ts'

/** The command line is not understood. Its message is one line for a person. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export interface Syntax {
  readonly options: OptionSpecs
  readonly args: ArgumentSpecs
  readonly rest: { readonly name: string } | null
}

type Parsed = Input<OptionSpecs, ArgumentSpecs>

/**
 * Reads the words after a command's name. `parseArgs` takes them apart; what they may be is decided here, since its
 * own messages say neither which option is near nor fit on a line.
 *
 * @throws UsageError
 */
export function parseArguments(syntax: Syntax, words: readonly string[]): Parsed | 'help' {
  const { options } = syntax
  const { tokens } = parseArgs({
    args: [...words],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: {
      ...Object.fromEntries(Object.entries(options).map(([name, { type }]) => [name, { type }])),
      help: { type: 'boolean', short: 'h' },
    },
  })
  const given = new Map<string, string[]>()
  const positionals: string[] = []
  const rest: string[] = []
  let isOver = false
  for (const token of tokens) {
    if (token.kind === 'option-terminator') isOver = true
    else if (token.kind === 'positional') (isOver && syntax.rest ? rest : positionals).push(token.value)
    else if (token.name === 'help') return 'help'
    else note(given, options, token)
  }
  return { options: readOptions(options, given), args: readPositionals(syntax.args, positionals), rest }
}

interface OptionToken {
  readonly name: string
  readonly rawName: string
  readonly value?: string | undefined
  readonly inlineValue?: boolean | undefined
}

function note(given: Map<string, string[]>, options: OptionSpecs, token: OptionToken): void {
  const { name, rawName, value, inlineValue } = token
  const spec = Object.hasOwn(options, name) && rawName === `--${name}` ? options[name] : undefined
  if (!spec) {
    const near = rawName.startsWith('--') ? nearestName(name, [...Object.keys(options), 'help']) : null
    throw new UsageError(
      `unknown option ${rawName}${near === null ? '; --help lists them' : `; did you mean --${near}?`}`,
    )
  }
  if (spec.type === 'boolean') {
    if (value !== undefined) throw new UsageError(`${rawName} takes no value`)
  } else if (value === undefined || (!inlineValue && value.startsWith('-') && value !== '-')) {
    throw new UsageError(`${rawName} needs a value`)
  }
  const values = given.get(name) ?? []
  if (values.length > 0 && !spec.multiple) throw new UsageError(`${rawName} is given twice`)
  given.set(name, [...values, value ?? ''])
}

function readOptions(options: OptionSpecs, given: ReadonlyMap<string, readonly string[]>): Parsed['options'] {
  const read: Record<string, boolean | string | undefined | readonly string[]> = {}
  for (const [name, spec] of Object.entries(options)) {
    const values = given.get(name) ?? []
    if (spec.required && values.length === 0) throw new UsageError(`--${name} is missing`)
    if (spec.type === 'boolean') read[name] = values.length > 0
    else read[name] = spec.multiple ? values : values[0]
  }
  // Each value has the type that its spec says; the record forgot which.
  return read as Parsed['options']
}

function readPositionals(args: ArgumentSpecs, positionals: readonly string[]): Parsed['args'] {
  const names = Object.keys(args)
  const extra = positionals[names.length]
  if (extra !== undefined) throw new UsageError(`unexpected argument ${extra}`)
  return Object.fromEntries(
    Object.entries(args).map(([name, { optional }], index) => {
      const value = positionals[index]
      if (value === undefined && !optional) throw new UsageError(`<${name}> is missing`)
      return [name, value]
    }),
  ) as Parsed['args'] // undefined only where it is optional
}
