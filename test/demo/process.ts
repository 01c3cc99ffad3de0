import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isAlive } from '../../src/platform/lock.ts'

const PATIENCE_MS = 100_000

/** A process under test, and what it wrote so far to either stream. */
export interface Running {
  readonly child: ChildProcess
  output(): string
  /** Waits until its output matches; throws if it ends without, or takes too long. */
  says(pattern: RegExp): Promise<RegExpExecArray>
  exit(): Promise<number | null>
  /** Ends it in order, if it still runs. */
  end(): Promise<void>
}

export function start(program: string, args: readonly string[], cwd: string): Running {
  const child = spawn(program, [...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      child.emit('said')
    })
  }
  const closed = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  return {
    child,
    output: () => output,
    async says(pattern) {
      const signal = AbortSignal.timeout(PATIENCE_MS)
      const heard = () => once(child, 'said', { signal }).then(() => true)
      for (;;) {
        const found = pattern.exec(output)
        if (found) return found
        const goesOn = await Promise.race([heard(), closed.then(() => false)]).catch(() => false)
        if (!goesOn) throw new Error(`it ended, or went on, without saying ${pattern}: ${output}`)
      }
    },
    exit: () => closed,
    async end() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      await closed
    },
  }
}

/** Those of a demo's children that still run: the gateway, and its Postgres. `data` is where the demo keeps its files. */
export async function startedProcesses(data: string): Promise<readonly number[]> {
  const store = join(data, 'store')
  const gateway = Number(await readFile(join(data, 'gateway.pid'), 'utf8'))
  const pids = [gateway]
  for (const name of await readdir(store)) {
    const pid = await readFile(join(store, name, 'postmaster.pid'), 'utf8').catch(() => null)
    if (pid !== null) pids.push(Number(pid.split('\n')[0]))
  }
  return pids.filter(isAlive)
}
