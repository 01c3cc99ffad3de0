import { type ASTNode, Environment } from '@marcbachmann/cel-js'
import { RE2JS } from 're2js'
import type { FactSchema, Needs } from '../domain/action.ts'
import { exponentOf, isAffordable, STEEPEST } from './cost.ts'
import { type FactNames, factsRead, needsOf } from './needs.ts'
import type { Scope } from './scope.ts'
import { suggest } from './suggest.ts'
import { asComprehension, childrenOf, type Read, readsOf, variableOf } from './syntax.ts'

/** A condition that was checked against the facts of one protocol. */
export interface Program {
  readonly needs: Needs
  /** Throws if it cannot be told: a missing field, a wrong type, data too large to walk. The caller denies then. */
  isTrue(scope: Scope): boolean
}

/** What is wrong with an expression; `offset` counts characters from its start. */
export interface Fault {
  readonly offset: number
  readonly message: string
}

export interface Language {
  compile(text: string): Program | readonly Fault[]
}

type Shape = string | { readonly [field: string]: Shape }

const PARTY = { issuer: 'string', subject: 'string' } as const
const LIMITS = { maxAstNodes: 2000, maxDepth: 32, maxListElements: 500, maxMapEntries: 100, maxCallArguments: 8 }
const LONGEST_PATTERN = 200
/** Characters times instructions of the compiled pattern: at most some tens of milliseconds. */
const MOST_PATTERN_STEPS = 5_000_000
/** Names the language itself binds. */
const BUILT_IN = ['string', 'int', 'double', 'bool', 'list', 'map', 'type']

/**
 * Functions that a condition may call. `matches` is missing on purpose: it backtracks, so that one pattern can stop the
 * gateway; `re2Matches` takes its place. So are those that read numbers or JSON out of text more loosely than CEL says.
 */
const FUNCTIONS: readonly string[] = [
  ...['has', 'size', 'all', 'exists', 'exists_one', 'map', 'filter', 'dyn', 'int', 'double', 'string', 'bool', 'type'],
  ...['contains', 'startsWith', 'endsWith', 're2Matches', 'lowerAscii', 'upperAscii', 'trim', 'indexOf', 'lastIndexOf'],
  ...['substring', 'split', 'join', 'timestamp', 'duration', 'getFullYear', 'getMonth', 'getDate', 'getDayOfMonth'],
  ...['getDayOfWeek', 'getDayOfYear', 'getHours', 'getMinutes', 'getSeconds', 'getMilliseconds'],
]

/** CEL, with the variables of a decision and the declared facts of one protocol. */
export function createLanguage(facts: FactSchema): Language {
  const shapes: Readonly<Record<string, Shape>> = {
    principal: {
      ...PARTY,
      on_behalf_of: PARTY,
      owner: PARTY,
      actors: 'list<map<string, string>>',
      groups: 'list<string>',
      client: 'string',
    },
    action: {
      upstream: 'string',
      protocol: 'string',
      verb: 'string',
      resource: 'string',
      facts: Object.fromEntries(Object.entries(facts).map(([name, { type }]) => [name, type])),
    },
    upstream: { name: 'string', labels: 'map<string, string>' },
    call: { id: 'string' },
    now: 'google.protobuf.Timestamp',
  }
  const patterns = new Map<string, RE2JS>()
  const environment = createEnvironment(shapes, patterns)

  function compile(text: string): Program | readonly Fault[] {
    let parsed: ReturnType<Environment['parse']>
    try {
      parsed = environment.parse(text)
    } catch (error) {
      const { offset, message } = toFault(error)
      const column = offset - text.lastIndexOf('\n', offset - 1)
      return [{ offset, message: `${message} (column ${column})` }]
    }
    const reads = readsOf(parsed.ast)
    const faults = [...checkCalls(parsed.ast, patterns), ...reads.flatMap((read) => checkRead(read, shapes))]
    if (faults.length > 0) return faults

    const { valid, type, error } = parsed.check()
    if (!valid) return [toFault(error)]
    if (type !== 'bool' && type !== 'dyn') return [{ offset: 0, message: `must be true or false, not ${type}` }]
    const exponent = exponentOf(parsed.ast)
    if (exponent > STEEPEST) return [{ offset: 0, message: 'has too many loops inside each other' }]

    return createProgram({ evaluate: parsed, facts: factsRead(reads), schema: facts, exponent })
  }

  return { compile }
}

function createProgram(parts: {
  evaluate: (variables: Record<string, unknown>) => unknown
  facts: FactNames
  schema: FactSchema
  exponent: number
}): Program {
  const { evaluate, facts, schema, exponent } = parts
  const names = facts === 'all' ? Object.keys(schema) : [...facts]
  return {
    needs: needsOf(facts, schema),
    isTrue(scope) {
      if (!isAffordable(scope.load(names, schema), exponent)) throw new RangeError('the call is too large to be judged')
      const result = evaluate(scope.variables)
      if (typeof result !== 'boolean') throw new TypeError('the condition is neither true nor false')
      return result
    },
  }
}

function createEnvironment(shapes: Readonly<Record<string, Shape>>, patterns: ReadonlyMap<string, RE2JS>): Environment {
  const environment = new Environment({ homogeneousAggregateLiterals: false, limits: LIMITS })
  for (const [name, shape] of Object.entries(shapes)) {
    if (typeof shape === 'string') environment.registerVariable(name, shape)
    else environment.registerVariable(name, { schema: toSchema(shape) })
  }
  return environment.registerFunction('string.re2Matches(string): bool', {
    handler: (text: string, pattern: string) => {
      const compiled = patterns.get(pattern)
      if (!compiled) throw new TypeError('the pattern was not compiled')
      if (text.length * compiled.programSize() > MOST_PATTERN_STEPS)
        throw new RangeError('the text is too long to match')
      return compiled.test(text)
    },
    async: false,
  })
}

interface Schema {
  [field: string]: string | Schema
}

function toSchema(shape: { readonly [field: string]: Shape }): Schema {
  return Object.fromEntries(
    Object.entries(shape).map(([key, part]) => [key, typeof part === 'string' ? part : toSchema(part)]),
  )
}

/** `has()` and `dyn` values are not type-checked by the language: unknown names are found here, with the nearest one. */
function checkRead({ root, fields, node }: Read, shapes: Readonly<Record<string, Shape>>): readonly Fault[] {
  let shape: Shape | undefined = Object.hasOwn(shapes, root) ? shapes[root] : undefined
  const offset = node.range.start
  if (shape === undefined) {
    if (BUILT_IN.includes(root)) return []
    return [{ offset, message: `unknown variable "${root}"${suggest(root, Object.keys(shapes))}` }]
  }
  const path = [root]
  for (const field of fields) {
    if (typeof shape === 'string') {
      if (shape === 'dyn' || shape.startsWith('map<')) return []
      return [{ offset, message: `"${path.join('.')}" is a ${shape}: it has no field "${field}"` }]
    }
    const known: readonly string[] = Object.keys(shape)
    shape = Object.hasOwn(shape, field) ? shape[field] : undefined
    if (shape === undefined) {
      return [{ offset, message: `"${path.join('.')}" has no field "${field}"${suggest(field, known)}` }]
    }
    path.push(field)
  }
  return []
}

function checkCalls(root: ASTNode, patterns: Map<string, RE2JS>): readonly Fault[] {
  const faults: Fault[] = []

  function visit(node: ASTNode): void {
    const offset = node.range.start
    if (node.op === 'call' || node.op === 'rcall') {
      const name = node.args[0]
      if (name === 'matches') {
        faults.push({
          offset,
          message: '"matches" can take exponential time: use re2Matches("pattern"), which is linear',
        })
      } else if (!FUNCTIONS.includes(name)) {
        faults.push({ offset, message: `unknown function "${name}"${suggest(name, FUNCTIONS)}` })
      }
      if (name === 're2Matches') faults.push(...learnPattern(node, patterns))
    }
    const loop = asComprehension(node)
    if (loop && ['principal', 'action', 'upstream', 'call', 'now'].includes(variableOf(loop))) {
      faults.push({
        offset,
        message: `"${variableOf(loop)}" names something else already: choose another name in ${loop.name}()`,
      })
    }
    for (const child of childrenOf(node)) visit(child)
  }

  visit(root)
  return faults
}

function learnPattern(node: ASTNode, patterns: Map<string, RE2JS>): readonly Fault[] {
  const offset = node.range.start
  const pattern = node.op === 'rcall' ? node.args[2][0] : undefined
  if (pattern?.op !== 'value' || typeof pattern.args !== 'string') {
    return [{ offset, message: 're2Matches takes one pattern, written out as a text' }]
  }
  if (pattern.args.length > LONGEST_PATTERN) {
    return [{ offset, message: `the pattern is longer than ${LONGEST_PATTERN} characters` }]
  }
  try {
    patterns.set(pattern.args, RE2JS.compile(pattern.args))
    return []
  } catch (error) {
    return [
      {
        offset,
        message: `the pattern cannot be read: ${error instanceof Error ? error.message : 'it is no RE2 pattern'}`,
      },
    ]
  }
}

/** What the language says of a fault, without the picture of the source that its message carries. */
function toFault(error: unknown): Fault {
  return { offset: startOf(error), message: explainFault(error) }
}

function startOf(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('range' in error)) return 0
  const { range } = error
  if (typeof range !== 'object' || range === null || !('start' in range)) return 0
  return typeof range.start === 'number' ? range.start : 0
}

/** Why an expression failed, in one line. May quote what the agent sent: for people, never for logs. */
export function explainFault(error: unknown): string {
  if (!(error instanceof Error)) return 'it failed'
  return 'summary' in error && typeof error.summary === 'string' ? error.summary : error.message
}
