import { chmod, lstat, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { isErrno } from '../platform/files.ts'
import { type Lock, takeLock } from '../platform/lock.ts'

/** Others may pass through, as Postgres' own user has to when root plays the demo; what lies in it is private. */
const MODE = 0o711

/** Where a run of the demo keeps its files. */
export interface Place {
  readonly directory: string
  /** Gives the directory free; removes it if no later run could find it. */
  leave(): Promise<void>
}

/**
 * A directory that only this run uses: `.countersign/demo-<uid>` in the checkout if this user can write there, so that a
 * second run finds the data of the first, or else one of that name in the directory for temporary files. If another run
 * is using it, one of its own.
 */
export async function findPlace(root: string): Promise<Place> {
  const { uid } = userInfo()
  const candidates = [join(root, '.countersign', `demo-${uid}`), join(tmpdir(), `countersign-demo-${uid}`)]
  for (const directory of candidates) {
    if (!(await isUsable(directory, uid))) continue
    const lock = await takeLock(join(directory, 'demo.lock'))
    if ('heldBy' in lock) break
    return occupy(directory, lock)
  }
  const directory = await mkdtemp(join(tmpdir(), 'countersign-demo-'))
  await chmod(directory, MODE)
  return { directory, leave: () => rm(directory, { recursive: true, force: true }) }
}

/** The directory that was asked for, kept afterwards. Throws if it cannot be written, or if another run is using it. */
export async function usePlace(path: string): Promise<Place> {
  const directory = resolve(path)
  await mkdir(directory, { recursive: true, mode: MODE })
  await chmod(directory, MODE)
  const lock = await takeLock(join(directory, 'demo.lock'))
  if ('heldBy' in lock) throw new Error(`another demo (process ${lock.heldBy}) is using ${directory}`)
  return occupy(directory, lock)
}

function occupy(directory: string, lock: Lock): Place {
  return { directory, leave: () => lock.release() }
}

/** In a directory for everybody a name may be taken by somebody else: then it is not ours, nor anything in it. */
async function isUsable(directory: string, uid: number): Promise<boolean> {
  try {
    await mkdir(directory, { recursive: true, mode: MODE })
    const found = await lstat(directory)
    if (!found.isDirectory() || found.uid !== uid) return false
    await chmod(directory, MODE)
    return true
  } catch (error) {
    if (isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'EEXIST', 'ENOTDIR')) return false
    throw error
  }
}
