import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { readFileIfAny } from '../platform/files.ts'
import { isAlive } from '../platform/lock.ts'

const END_TIMEOUT_MS = 15_000
const POLL_MS = 50

/**
 * Ends the gateway that an earlier run, which was killed, left running on the same data. Its id may be another process's
 * by now, so that it counts only if that one was started with the same configuration. Without /proc none is found, and
 * the gateway itself says which process is in its way.
 */
export async function endLeftover(pidFile: string, configFile: string): Promise<void> {
  const pid = Number((await readFileIfAny(pidFile)) ?? Number.NaN)
  if (!Number.isSafeInteger(pid) || pid <= 0) return
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  if (!commandLine.split('\0').includes(configFile)) return
  process.kill(pid, 'SIGTERM')
  for (const deadline = performance.now() + END_TIMEOUT_MS; isAlive(pid) && performance.now() < deadline; ) {
    await sleep(POLL_MS)
  }
}
