import { randomUUID } from 'node:crypto'
import { link, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { isErrno, readFileIfAny } from './files.ts'

/** Who holds a lock file. The start time tells a process from a later one that was given the same id. */
interface Holder {
  readonly pid: number
  readonly startedAt: string | null
}

export interface Lock {
  release(): Promise<void>
}

const ATTEMPTS = 10

/**
 * Takes a lock for this process, or says which process has it. A lock whose process is gone is taken over. It binds
 * processes of one machine (one PID namespace).
 *
 * The lock is the file of the highest number, `path.7`. Taking over creates the next one: a file that is there is
 * never replaced, and the highest is never removed, so that of many who find a stale lock only one gets it.
 */
export async function takeLock(path: string): Promise<Lock | { readonly heldBy: number }> {
  const mine = JSON.stringify({ pid: process.pid, startedAt: await startTimeOf(process.pid) } satisfies Holder)
  const beside = `${path}.${randomUUID()}.tmp`
  await writeFile(beside, mine, { mode: 0o600, flag: 'wx' })
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const newest = (await generationsOf(path)).at(-1) ?? 0
      const holder = parseHolder((await readFileIfAny(`${path}.${newest}`)) ?? '')
      if (holder && (await isRunning(holder))) return { heldBy: holder.pid }
      if (await claim(path, { beside, generation: newest + 1 })) return { release: () => release(path, newest + 1) }
    }
  } finally {
    await rm(beside, { force: true })
  }
  throw new Error(`the lock ${path} can be neither taken nor read`)
}

async function claim(path: string, { beside, generation }: { beside: string; generation: number }): Promise<boolean> {
  const own = `${path}.${generation}`
  try {
    // A link appears whole or not at all.
    await link(beside, own)
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  }
  const known = await generationsOf(path)
  // Whoever was slow may have created a number that was passed and cleared away already.
  const isNewest = known.at(-1) === generation
  const passed = isNewest ? known.slice(0, -1) : [generation]
  for (const each of passed) await rm(`${path}.${each}`, { force: true })
  return isNewest
}

/** Ascending. */
async function generationsOf(path: string): Promise<readonly number[]> {
  const prefix = `${basename(path)}.`
  const names = (await readdir(dirname(path))).filter((name) => name.startsWith(prefix))
  const numbers = names.map((name) => name.slice(prefix.length)).filter((rest) => /^[1-9][0-9]{0,14}$/.test(rest))
  return numbers.map(Number).sort((one, other) => one - other)
}

/** An empty file is a lock that nobody holds. */
async function release(path: string, generation: number): Promise<void> {
  try {
    await truncate(`${path}.${generation}`)
  } catch (error) {
    // The directory was removed meanwhile, and the lock with it.
    if (!isErrno(error, 'ENOENT')) throw error
  }
}

function parseHolder(text: string): Holder | null {
  try {
    const { pid, startedAt } = JSON.parse(text)
    return Number.isSafeInteger(pid) && pid > 0 ? { pid, startedAt: startedAt ?? null } : null
  } catch {
    // Released, or no lock of ours: nobody holds it.
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
    return isErrno(error, 'EPERM')
  }
}

/** When a process began, in ticks since the boot (proc(5), field 22 of stat); null where there is no /proc. */
async function startTimeOf(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null)
  if (stat === null) return null
  // The second field, the name, may hold blanks and parentheses: count from its end.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
}
