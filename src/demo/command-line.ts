import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The real command line's entry. */
export const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url))

const MAX_OUTPUT_CHARACTERS = 1_000_000
const TIMEOUT_MS = 60_000

/** What a command answered. `output` is what it wrote, to whichever stream. */
export interface CommandResult {
  readonly exitCode: number | null
  readonly output: string
}

/** Runs `countersign` as a person would type it. */
export async function runCountersign(args: readonly string[], signal: AbortSignal): Promise<CommandResult> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
    timeout: TIMEOUT_MS,
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-MAX_OUTPUT_CHARACTERS)
    })
  }
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exitCode) => resolve({ exitCode, output: output.trim() }))
  })
}
