import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { findPostgresUser } from '../../../../src/platform/os-user.ts'
import { readPostmaster } from '../../../../src/platform/postmaster.ts'

/** Where Debian has the programs of one release of Postgres: server, pg_dump and pgbench. */
const RELEASES = '/usr/lib/postgresql'

/** The programs of the newest release that is installed whole; null if none is. */
export function findRelease(): string | null {
  if (!existsSync(RELEASES)) return null
  const found = readdirSync(RELEASES)
    .sort((a, b) => Number(b) - Number(a))
    .map((release) => join(RELEASES, release, 'bin'))
    .find((bin) => ['initdb', 'postgres', 'pg_dump', 'pgbench'].every((name) => existsSync(join(bin, name))))
  return found ?? null
}

export interface Server {
  /** As the superuser, in the database `postgres`. */
  readonly adminUrl: string
  close(): Promise<void>
}

/** A server of that release, for programs that refuse one which is newer than themselves. */
export async function startServer(bin: string): Promise<Server> {
  const user = await findPostgresUser()
  if (!user) throw new Error('there is no user that Postgres could run as')
  // Named as those that a later run ends, should this one be killed.
  const home = await mkdtemp(join(tmpdir(), `countersign-test-${process.pid}-`))
  const directory = join(home, 'postgres')
  const password = join(home, 'password')
  await mkdir(directory, { mode: 0o700 })
  await writeFile(password, 'secret\n')
  for (const path of [home, directory, password]) await chown(path, user.uid, user.gid)
  const how = { ...user, cwd: directory, env: { LC_ALL: 'C' } }
  const access = ['-U', 'postgres', '--pwfile', password, '--auth', 'scram-sha-256']
  await promisify(execFile)(
    join(bin, 'initdb'),
    ['-D', directory, ...access, '--encoding', 'UTF8', '--locale', 'C', '--no-sync'],
    how,
  )
  const port = await freePort()
  const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off', 'timezone=UTC']
  const server = spawn(
    join(bin, 'postgres'),
    ['-D', directory, '-p', `${port}`, ...settings.flatMap((each) => ['-c', each])],
    { ...how, stdio: 'ignore' },
  )
  await ready(server, directory)
  return {
    adminUrl: `postgres://postgres:secret@127.0.0.1:${port}/postgres`,
    async close() {
      const ended = once(server, 'exit')
      server.kill('SIGINT')
      await ended
      await rm(home, { recursive: true })
    },
  }
}

async function ready(server: ChildProcess, directory: string): Promise<void> {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`the server ended with ${server.exitCode}`)
    if ((await readPostmaster(directory))?.isReady) return
    await sleep(10)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
