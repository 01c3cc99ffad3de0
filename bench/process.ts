import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

const STOP_TIMEOUT_MS = 15_000
const READY_TIMEOUT_MS = 60_000

/** A program of its own beside this one, ended by its own process id. */
export interface Program {
  readonly pid: number
  readonly child: ChildProcess
  stop(): Promise<void>
}

export interface Launch {
  readonly command: string
  readonly args: readonly string[]
  /** In place of this process's own. */
  readonly env?: NodeJS.ProcessEnv
  /** Where its error output goes. */
  readonly logFile: string
  /** Whether it talks to this process by messages. */
  readonly hasChannel?: boolean
}

export function launch({ command, args, env, logFile, hasChannel = false }: Launch): Program {
  const log = openSync(logFile, 'a')
  const child = spawn(command, args, {
    ...(env && { env }),
    stdio: hasChannel ? ['ignore', 'pipe', log, 'ipc'] : ['ignore', 'pipe', log],
    serialization: 'advanced',
  })
  closeSync(log)
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()))
  return {
    pid: child.pid ?? -1,
    child,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      const deadline = sleep(STOP_TIMEOUT_MS, 'late' as const, { ref: false })
      if ((await Promise.race([exited, deadline])) === 'late') child.kill('SIGKILL')
      await exited
    },
  }
}

/** The first line of a program's output that `find` makes something of. Throws if the program ends before. */
export async function awaitLine<Found>(
  program: Program,
  find: (line: string) => Found | null,
  logFile: string,
): Promise<Found> {
  const { stdout } = program.child
  if (!stdout) throw new Error('the output of the program is not piped')
  const lines = createInterface({ input: stdout })
  const failed = () => new Error(`a program did not get ready: ${readFileSync(logFile, 'utf8').trim().slice(-1000)}`)
  try {
    return await new Promise<Found>((resolve, reject) => {
      const timer = setTimeout(() => reject(failed()), READY_TIMEOUT_MS)
      lines.on('line', (line) => {
        const found = find(line)
        if (found === null) return
        clearTimeout(timer)
        resolve(found)
      })
      program.child.once('exit', () => {
        clearTimeout(timer)
        reject(failed())
      })
      program.child.once('error', reject)
    })
  } finally {
    lines.close()
    // What it says later is of no interest, but must not fill the pipe.
    stdout.resume()
  }
}
