import { lstat, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Problem, parseYaml } from '../platform/yaml.ts'
import { isProblems } from './problem.ts'
import { type Policy, policySchema } from './schema.ts'
import { createSource, type PolicySource } from './source.ts'

const LARGEST_FILE_BYTES = 256 * 1024
const MOST_FILES = 1000
const DEEPEST_FOLDER = 8
const OTHERS_MAY_WRITE = 0o002

/** The policy files of a directory and the test files beside them, as paths. */
export interface PolicyFiles {
  readonly policies: readonly string[]
  readonly tests: readonly string[]
}

/**
 * Reads every `*.yaml` below a directory, except `*.test.yaml` and names that begin with a dot, as policies. All
 * problems are told at once. What other users of the machine may write to is refused, and so is a `*.yml`, which would
 * otherwise be left out in silence.
 */
export async function loadPolicies(directory: string): Promise<PolicySource | readonly Problem[]> {
  const files = await findPolicyFiles(directory)
  if (isProblems(files)) return files
  if (files.policies.length === 0) {
    return [{ file: directory, line: 0, message: 'holds no policy (*.yaml); without one every call is denied' }]
  }

  const problems: Problem[] = []
  const read = new Map<string, Loaded>()
  for (const path of files.policies) {
    const loaded = await loadPolicy(path)
    if (isProblems(loaded)) {
      problems.push(...loaded)
      continue
    }
    const { file, policy } = loaded
    const other = read.get(policy.name)
    if (other) {
      const message = `"${policy.name}" names the policy of ${other.file} already`
      problems.push({ file, line: loaded.lineOf(['name']), message })
    }
    read.set(policy.name, loaded)
  }
  if (problems.length > 0) return problems

  const policies = [...read.values()].map(({ policy }) => policy)
  return createSource(policies, (name, rule, path) => {
    const known = read.get(name)
    if (!known) return { file: directory, line: 0 }
    return { file: known.file, line: known.lineOf([...placeIn(known.policy, rule), ...path]) }
  })
}

/** The path of a rule, or of a breaker: no two of one policy have the same name. */
function placeIn({ rules, breakers = [] }: Policy, name: string): readonly PropertyKey[] {
  const index = rules.findIndex((rule) => rule.name === name)
  return index !== -1 ? ['rules', index] : ['breakers', breakers.findIndex((breaker) => breaker.name === name)]
}

/** Finds the files of a directory and of the folders in it, in order of their paths. */
export async function findPolicyFiles(directory: string): Promise<PolicyFiles | readonly Problem[]> {
  const policies: string[] = []
  const tests: string[] = []
  const problems: Problem[] = []

  async function visit(path: string, depth: number): Promise<void> {
    if (policies.length + tests.length > MOST_FILES) return
    const fault = await refuseAccess(path)
    if (fault) {
      problems.push(fault)
      return
    }
    // Kubernetes mounts a ConfigMap as links to files in a folder "..data".
    const names = (await readdir(path)).filter((name) => !name.startsWith('.')).sort()
    for (const name of names) {
      const inner = join(path, name)
      if ((await lstat(inner)).isDirectory()) {
        if (depth >= DEEPEST_FOLDER) problems.push({ file: inner, line: 0, message: 'lies too deep' })
        else await visit(inner, depth + 1)
      } else if (name.endsWith('.yml')) {
        problems.push({ file: inner, line: 0, message: 'is not read: policies end in ".yaml"' })
      } else if (name.endsWith('.test.yaml')) tests.push(inner)
      else if (name.endsWith('.yaml')) policies.push(inner)
    }
  }

  await visit(directory, 0)
  if (policies.length + tests.length > MOST_FILES) {
    problems.push({ file: directory, line: 0, message: `holds more than ${MOST_FILES} files` })
  }
  return problems.length > 0 ? problems : { policies, tests }
}

/** The text of a file that may be trusted as far as its directory may be. */
export async function readText(file: string): Promise<string | readonly Problem[]> {
  const fault = await refuseAccess(file)
  if (fault) return [fault]
  const bytes = await readFile(file)
  if (bytes.length > LARGEST_FILE_BYTES) {
    return [{ file, line: 0, message: `is larger than ${LARGEST_FILE_BYTES / 1024} KiB` }]
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return [{ file, line: 0, message: 'is not UTF-8' }]
  }
}

interface Loaded {
  readonly policy: Policy
  readonly file: string
  lineOf(path: readonly PropertyKey[]): number
}

async function loadPolicy(file: string): Promise<Loaded | readonly Problem[]> {
  const text = await readText(file)
  if (isProblems(text)) return text
  try {
    const parsed = parseYaml(text, { file, schema: policySchema })
    return parsed.ok ? { policy: parsed.value, file, lineOf: parsed.lineOf } : parsed.problems
  } catch (error) {
    // The parser recurses: a file that is nested deep enough exhausts the stack.
    if (error instanceof RangeError) return [{ file, line: 0, message: 'is nested too deeply' }]
    throw error
  }
}

/** Whoever may write a policy decides what agents may do. */
async function refuseAccess(path: string): Promise<Problem | null> {
  let mode: number
  try {
    mode = (await stat(path)).mode
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'it fails'
    return { file: path, line: 0, message: `cannot be read (${code})` }
  }
  if ((mode & OTHERS_MAY_WRITE) === 0) return null
  return { file: path, line: 0, message: 'may be written by every user of this machine: chmod o-w' }
}
