import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { AGENTS } from './gateway.ts'
import type { Issuer } from './issuer.ts'
import { awaitLine, launch, type Program } from './process.ts'

const UPSTREAM = fileURLToPath(new URL('./upstream.ts', import.meta.url))
const HTTP_PROXY = fileURLToPath(new URL('./peers/http-proxy.ts', import.meta.url))
const SQL_ALONE = fileURLToPath(new URL('./peers/sql-alone.ts', import.meta.url))
const HAPROXY_CONFIG = fileURLToPath(new URL('./peers/haproxy.cfg', import.meta.url))
const HAPROXY_PLACES = ['/usr/sbin/haproxy', '/usr/local/sbin/haproxy', '/usr/bin/haproxy', '/opt/homebrew/bin/haproxy']

export interface Server extends Program {
  readonly port: number
}

export async function startUpstream(directory: string): Promise<Server> {
  return startNode({ args: [UPSTREAM], logFile: join(directory, 'upstream.log'), hasChannel: true })
}

/** The Postgres protocol of Countersign by itself. */
export async function startSqlAlone(directory: string, url: string): Promise<Server> {
  return startNode({ args: [SQL_ALONE, url], logFile: join(directory, 'sql-alone.log') })
}

export async function startHttpProxy(directory: string, upstreamPort: number): Promise<Server> {
  const args = [HTTP_PROXY, `http://127.0.0.1:${upstreamPort}`]
  return startNode({ args, logFile: join(directory, 'http-proxy.log') })
}

async function startNode(how: { args: readonly string[]; logFile: string; hasChannel?: boolean }): Promise<Server> {
  const program = launch({ command: process.execPath, ...how })
  const port = await awaitLine(program, (line) => (/^\d+$/.test(line) ? Number(line) : null), how.logFile)
  return { ...program, port }
}

const PGBOUNCER_PLACES = [
  '/usr/sbin/pgbouncer',
  '/usr/local/bin/pgbouncer',
  '/usr/bin/pgbouncer',
  '/opt/homebrew/bin/pgbouncer',
]

export async function findPgbouncer(): Promise<string | null> {
  return PGBOUNCER_PLACES.find((path) => existsSync(path)) ?? null
}

/** PostgreSQL's own load generator; null if it is not installed. */
export async function findPgbench(): Promise<string | null> {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? (await readdir(root)).toSorted((a, b) => Number(b) - Number(a)) : []
  const places = [
    ...versions.map((version) => join(root, version, 'bin')),
    '/usr/local/bin',
    '/usr/bin',
    '/opt/homebrew/bin',
  ]
  return places.map((place) => join(place, 'pgbench')).find((path) => existsSync(path)) ?? null
}

/** pgbouncer in session mode, to which everybody is the upstream's own user. */
export async function startPgbouncer(
  path: string,
  { directory, url }: { directory: string; url: string },
): Promise<Server> {
  const port = await freePort()
  const { hostname, port: upstreamPort, pathname, username, password } = new URL(url)
  const [user, secret] = [username, password].map(decodeURIComponent)
  const config = join(directory, 'pgbouncer.ini')
  await writeFile(
    config,
    `[databases]
* = host=${hostname} port=${upstreamPort} dbname=${pathname.slice(1)} user=${user} password='${secret?.replaceAll("'", "''")}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = session
max_client_conn = 200
default_pool_size = 40
${process.getuid?.() === 0 ? 'user = nobody' : ''}
`,
  )
  const program = launch({ command: path, args: ['-q', config], logFile: join(directory, 'pgbouncer.log') })
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await accepts(port)) return { ...program, port }
    await sleep(50)
  }
  await program.stop()
  throw new Error('pgbouncer did not get ready')
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => resolve(true))
    socket.once('error', () => resolve(false)).once('connect', () => socket.destroy())
  })
}

/** What is installed, as `2.6.12`; null if nothing is. */
export async function findHaproxy(): Promise<{ path: string; version: string } | null> {
  for (const path of HAPROXY_PLACES) {
    try {
      const { stdout } = await promisify(execFile)(path, ['-v'])
      return { path, version: /version (\d+(?:\.\d+)*)/.exec(stdout)?.[1] ?? 'unknown' }
    } catch {
      // Not here; perhaps at the next place.
    }
  }
  return null
}

/** HAProxy that verifies the same token, with its key in a file. */
export async function startHaproxy(
  path: string,
  { directory, issuer, upstreamPort }: { directory: string; issuer: Issuer; upstreamPort: number },
): Promise<Server> {
  const port = await freePort()
  const keyFile = join(directory, 'issuer.pem')
  await writeFile(keyFile, issuer.publicKey)
  const program = launch({
    command: path,
    args: ['-db', '-f', HAPROXY_CONFIG],
    env: {
      PEER_PORT: String(port),
      PEER_UPSTREAM_PORT: String(upstreamPort),
      PEER_ISSUER: issuer.issuer,
      PEER_AUDIENCE: AGENTS,
      PEER_PUBLIC_KEY: keyFile,
    },
    logFile: join(directory, 'haproxy.log'),
  })
  await awaitAnswer(port, program)
  await rm(keyFile)
  return { ...program, port }
}

async function awaitAnswer(port: number, program: Program): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const status = await fetch(`http://127.0.0.1:${port}/`).then(
      (answer) => answer.status,
      () => 0,
    )
    if (status === 401) return
    await sleep(50)
  }
  await program.stop()
  throw new Error('HAProxy did not get ready')
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  // A server that listens on TCP has an address with a port.
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
