import { randomUUID } from 'node:crypto'
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { GatewayError } from '../domain/error.ts'

const OTHER_WRITE = 0o002
const GROUP_OR_OTHER = 0o077

/**
 * Writes a file so that after a crash there is the old one or the new one, never a part: beside it, synced, renamed.
 * @param mode permission bits, whatever the umask
 */
export async function writeFileAtomically(path: string, data: string | Uint8Array, mode: number): Promise<void> {
  await writeBeside(path, { data, mode, place: (beside) => rename(beside, path) })
}

/** The same for a file that must not be there yet. False if it is: of several that try at once, one creates it. */
export async function createFileAtomically(path: string, data: string | Uint8Array, mode: number): Promise<boolean> {
  try {
    await writeBeside(path, { data, mode, place: (beside) => link(beside, path) })
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false
    throw error
  }
}

async function writeBeside(
  path: string,
  how: { data: string | Uint8Array; mode: number; place: (beside: string) => Promise<void> },
): Promise<void> {
  const beside = `${path}.${randomUUID()}.tmp`
  try {
    const file = await open(beside, 'wx', how.mode)
    try {
      await file.chmod(how.mode)
      await file.writeFile(how.data)
      await file.sync()
    } finally {
      await file.close()
    }
    await how.place(beside)
  } finally {
    await rm(beside, { force: true })
  }
  // The new name itself is durable once the directory is.
  const directory = await open(dirname(path), 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** Null if there is no such file. */
export async function readFileIfAny(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null
    throw error
  }
}

/** Refuses what any user of the machine could have changed: a configuration, a policy, the directory they lie in. */
export async function assertNotWorldWritable(path: string): Promise<void> {
  const { mode } = await stat(path)
  // In a sticky directory (/tmp) others can add names, but neither replace nor remove ours.
  const isSticky = (mode & 0o1000) !== 0
  if ((mode & OTHER_WRITE) !== 0 && !isSticky) {
    throw new GatewayError('config', `${path} can be written by every user of this machine: chmod o-w ${path}`)
  }
}

/**
 * Refuses a file of secrets that anyone but its owner may read or write, or that another user has put there: whoever made
 * the keys has them. The administrator may.
 */
export async function assertPrivate(path: string): Promise<void> {
  const { mode, uid } = await stat(path)
  if ((mode & GROUP_OR_OTHER) !== 0) {
    throw new GatewayError('config', `${path} holds secrets, and others than its owner may open it: chmod 600 ${path}`)
  }
  // Without user ids (Windows) every file says 0.
  if (uid !== 0 && uid !== process.getuid?.()) {
    throw new GatewayError('config', `${path} holds secrets, and belongs to another user of this machine (${uid})`)
  }
}

export function isErrno(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code)
}
