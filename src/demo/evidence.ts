import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { runCountersign } from './command-line.ts'
import type { Narrator } from './narrator.ts'
import { prove } from './story.ts'

/** The exit code of `audit verify` for an entry that is not what was chained. */
const ALTERED = 10

const lineSchema = z.object({ seq: z.int(), body: z.string() })

/** The log over what just happened is verified as an auditor would, and then a copy of it that was tampered with. */
export async function showEvidence(where: {
  configFile: string
  directory: string
  tell: Narrator
  signal: AbortSignal
}): Promise<void> {
  const { configFile, directory, tell, signal } = where
  const run = (...args: string[]) => runCountersign([...args, '--config', configFile], signal)
  tell.chapter('Every step left an entry, each chained to the one before')
  tell.line('auditor', 'countersign audit verify')
  const whole = await run('audit', 'verify')
  tell.quote(whole.output)
  prove(tell, whole.exitCode === 0, 'The log is as it was written.')

  const copy = join(directory, 'audit-copy.jsonl')
  await rm(copy, { force: true })
  const exported = await run('audit', 'export', copy)
  prove(tell, exported.exitCode === 0, `A copy for somebody without access to the database: ${exported.output}.`)
  const seq = await damage(copy)
  tell.line(
    'auditor',
    `is given a copy in which one byte of entry ${seq} was changed: countersign audit verify --file …`,
  )
  const damaged = await run('audit', 'verify', '--file', copy)
  tell.quote(damaged.output)
  const isFound = damaged.exitCode === ALTERED && damaged.output.includes(`entry ${seq}: altered`)
  prove(tell, isFound, 'It is found, and named.')
}

/** Has the agent try to delete another customer than it did. Returns the entry's number. */
async function damage(file: string): Promise<number> {
  const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
  const at = lines.findLastIndex((line) => line.includes('/customers/c-3'))
  const line = lines[at]
  if (line === undefined) throw new Error('the log has no entry of the refused deletion')
  lines[at] = line.replace('/customers/c-3', '/customers/c-2')
  await writeFile(file, `${lines.join('\n')}\n`)
  return lineSchema.parse(JSON.parse(line)).seq
}
