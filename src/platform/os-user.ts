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

/** Postgres refuses to run as root: then it runs as the user `postgres`, which is created if there is none. */
export async function findPostgresUser(): Promise<OsUser> {
  const [uid, gid] = [process.getuid?.() ?? -1, process.getgid?.() ?? -1]
  if (uid !== 0) return { uid, gid }
  const found = await lookUp()
  if (found) return found
  try {
    await promisify(execFile)(
      'useradd',
      ['--system', '--user-group', '--no-create-home', '--shell', '/bin/false', NAME],
      {
        timeout: TIMEOUT_MS,
      },
    )
  } catch (cause) {
    // Another process may have created it in the meantime.
    const created = await lookUp()
    if (created) return created
    const message = 'as root, the embedded Postgres needs a user named postgres, and none could be created:'
    throw new GatewayError('config', `${message} add one, or run as an ordinary user, or set store.url`, { cause })
  }
  const created = await lookUp()
  if (created) return created
  throw new GatewayError('config', 'the user postgres was created, but is not in /etc/passwd: set store.url')
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
