import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { readFileIfAny } from './files.ts'
import { isAlive } from './lock.ts'

/** What a running Postgres says of itself in its data directory. */
export interface Postmaster {
  readonly pid: number
  readonly port: number
  readonly isReady: boolean
}

const POLL_MS = 10
const PS_TIMEOUT_MS = 2_000

/** Reads `postmaster.pid`; null if there is none, or if it is still being written. */
export async function readPostmaster(directory: string): Promise<Postmaster | null> {
  const text = await readFileIfAny(join(directory, 'postmaster.pid'))
  // One item a line: pid, data directory, start time, port, socket directory, address, shared memory, status.
  const lines = text?.split('\n') ?? []
  const [pid, port] = [Number(lines[0]), Number(lines[3])]
  if (!Number.isSafeInteger(pid) || pid <= 0 || !Number.isSafeInteger(port)) return null
  return { pid, port, isReady: lines[7]?.trim() === 'ready' }
}

/** Whether a process is alive and is the Postgres of this data directory, not a later process with its id. */
export async function isPostmasterOf(directory: string, pid: number): Promise<boolean> {
  if (!isAlive(pid)) return false
  const command = await commandOf(pid)
  return command.includes('postgres') && command.includes(directory)
}

async function commandOf(pid: number): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    // No /proc, as on macOS.
    const ps = promisify(execFile)('ps', ['-o', 'command=', '-p', `${pid}`], { timeout: PS_TIMEOUT_MS })
    return await ps.then(({ stdout }) => stdout).catch(() => '')
  }
}

/**
 * Ends a Postgres: SIGINT rolls back open transactions and leaves nothing to recover; if that takes too long, SIGQUIT,
 * then SIGKILL end it at once, and the next start recovers. False if it is still there afterwards.
 * @param waitMs how long each of the three may take
 */
export async function endPostmaster(
  directory: string,
  { pid, waitMs }: { pid: number; waitMs: number },
): Promise<boolean> {
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    trySignal(pid, signal)
    for (const deadline = performance.now() + waitMs; performance.now() < deadline; await sleep(POLL_MS)) {
      if (!(await isPostmasterOf(directory, pid))) return true
    }
  }
  return false
}

function trySignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended between two looks at it.
  }
}
