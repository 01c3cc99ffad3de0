import { randomUUID } from 'node:crypto'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { readFileIfAny } from './files.ts'

/** Who holds a lock file. The start time tells a process from a later one that was given the same id. */
interface Holder {
  readonly pid: number
  readonly startedAt: string | null
}

export interface Lock {
  release(): Promise<void>
}

const ATTEMPTS = 5

/**
 * Takes a lock file for this process, or says which process has it. A lock whose process is gone is taken over.
 * It binds processes of one machine (one PID namespace).
 */
export async function takeLock(path: string): Promise<Lock | { readonly heldBy: number }> {
  const mine = JSON.stringify({ pid: process.pid, startedAt: await startTimeOf(process.pid) } satisfies Holder)
  const beside = `${path}.${randomUUID()}`
  await writeFile(beside, mine, { mode: 0o600, flag: 'wx' })
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      // A link appears whole or not at all, and only one of several wins.
      const isMine = await link(beside, path).then(
        () => true,
        () => false,
      )
      if (isMine) return { release: () => release(path, mine) }
      const theirs = await readFileIfAny(path)
      if (theirs === null) continue
      const holder = parseHolder(theirs)
      if (holder && (await isRunning(holder))) return { heldBy: holder.pid }
      await removeStale(path, theirs)
    }
  } finally {
    await rm(beside, { force: true })
  }
  throw new Error(`the lock file ${path} can neither be taken nor removed`)
}

/** Moves the lock away before looking at it once more: another process may have taken it over in the meantime. */
async function removeStale(path: string, seen: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  const isMoved = await rename(path, aside).then(
    () => true,
    () => false,
  )
  if (!isMoved) return
  if ((await readFile(aside, 'utf8')) !== seen) await link(aside, path).catch(() => undefined)
  await rm(aside, { force: true })
}

async function release(path: string, mine: string): Promise<void> {
  if ((await readFileIfAny(path)) === mine) await rm(path, { force: true })
}

function parseHolder(text: string): Holder | null {
  try {
    const { pid, startedAt } = JSON.parse(text)
    return Number.isSafeInteger(pid) && pid > 0 ? { pid, startedAt: startedAt ?? null } : null
  } catch {
    // Half written by something that is not us: nobody holds it.
    return null
  }
}

async function isRunning({ pid, startedAt }: Holder): Promise<boolean> {
  if (!isAlive(pid)) return false
  const now = await startTimeOf(pid)
  return startedAt === null || now === null || now === startedAt
}

/** Whether a process of that id exists, be it another user's. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** When a process began, in ticks since the boot (proc(5), field 22 of stat); null where there is no /proc. */
async function startTimeOf(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null)
  if (stat === null) return null
  // The second field, the name, may hold blanks and parentheses: count from its end.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
}
