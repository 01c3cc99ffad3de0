import { execFile } from 'node:child_process'
import { readFile, realpath, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { GatewayError } from '../domain/error.ts'

/** A user of the machine, by its numbers. */
export interface OsUser {
  readonly uid: number
  readonly gid: number
}

const NAME = 'postgres'
const TIMEOUT_MS = 10_000

/** Whom Postgres runs as: this user, or, since it refuses to run as root, the user `postgres`. Null if there is none. */
export async function findPostgresUser(): Promise<OsUser | null> {
  const [uid, gid] = [process.getuid?.() ?? -1, process.getgid?.() ?? -1]
  return uid === 0 ? await lookUp() : { uid, gid }
}

/** The same, creating the user `postgres` if there is none. */
export async function ensurePostgresUser(): Promise<OsUser> {
  const found = await findPostgresUser()
  if (found) return found
  const args = ['--system', '--user-group', '--no-create-home', '--shell', '/bin/false', NAME]
  const failed: unknown = await promisify(execFile)('useradd', args, { timeout: TIMEOUT_MS }).then(
    () => null,
    (error: unknown) => error,
  )
  // Also if that failed: another process may have created it at the same moment.
  const created = await lookUp()
  if (created) return created
  const message = 'as root, the embedded Postgres needs a user named postgres, and none could be created:'
  throw new GatewayError('config', `${message} add one, or run as an ordinary user, or set store.url`, {
    cause: failed,
  })
}

async function lookUp(): Promise<OsUser | null> {
  const passwd = await readFile('/etc/passwd', 'utf8')
  for (const line of passwd.split('\n')) {
    const [name, , uid, gid] = line.split(':')
    if (name === NAME && Number(uid) > 0) return { uid: Number(uid), gid: Number(gid) }
  }
  return null
}

/** Whether a user may enter a directory and all that lead to it, by owner, group and other bits. */
export async function canEnter(user: OsUser, directory: string): Promise<boolean> {
  let path = await realpath(directory)
  for (;;) {
    const { mode, uid, gid } = await stat(path)
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if ((mode & bit) === 0) return false
    const parent = dirname(path)
    if (parent === path) return true
    path = parent
  }
}
