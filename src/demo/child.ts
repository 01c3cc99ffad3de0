import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** A process of the demo's, ended by its own id. */
export interface Child {
  /** Undefined if it could not be started. */
  readonly pid: number | undefined
  /** Waits until `isReady`, or throws with the end of its log if it ends before, or is not ready in time. */
  ready(isReady: () => Promise<boolean>, signal: AbortSignal): Promise<void>
  /** Ends it in order, or by force if that takes too long. */
  end(): Promise<void>
}

const READY_TIMEOUT_MS = 60_000
const POLL_MS = 50
// A gateway lets calls finish and ends its Postgres, which may take ten seconds.
const END_TIMEOUT_MS = 15_000

/**
 * Starts a program of ours on the Node that runs this, its output in a log file. It is in a session of its own: Ctrl-C
 * in the terminal reaches the demo alone, which ends its children in order.
 */
export async function startChild({
  name,
  args,
  logPath,
  hasChannel = false,
}: {
  name: string
  args: readonly string[]
  logPath: string
  /** Lets the child notice, by its channel, that this process was killed. */
  hasChannel?: boolean
}): Promise<Child> {
  const log = await open(logPath, 'w', 0o600)
  const child = spawn(process.execPath, [...args], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd, ...(hasChannel ? (['ipc'] as const) : [])],
  })
  await log.close()
  const failures: Error[] = []
  child.once('error', (error) => failures.push(error))
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()).once('error', () => resolve()))
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null || failures.length > 0

  return {
    pid: child.pid,
    async ready(isReady, signal) {
      const deadline = performance.now() + READY_TIMEOUT_MS
      while (!(await isReady().catch(() => false))) {
        if (hasEnded()) throw new Error(`${name} ended instead of starting: ${await tail(logPath)}`)
        if (performance.now() > deadline) throw new Error(`${name} is not ready in time: ${await tail(logPath)}`)
        await sleep(POLL_MS, undefined, { signal })
      }
    },
    async end() {
      if (hasEnded()) return
      child.kill('SIGTERM')
      const isInTime = await Promise.race([ended.then(() => true), sleep(END_TIMEOUT_MS, false, { ref: false })])
      if (isInTime) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

/** The last thing that was logged: its message alone, if it is a line of the gateway's. */
async function tail(logPath: string): Promise<string> {
  const last = (await readFile(logPath, 'utf8')).trim().split('\n').at(-1) ?? ''
  return `${last.slice(0, 500)} (${logPath})`
}
