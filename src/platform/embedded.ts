import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, open, readdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type pg from 'pg'
import { GatewayError } from '../domain/error.ts'
import { type Binaries, findBinaries } from './binaries.ts'
import { StoreClient } from './client.ts'
import { assertNotWorldWritable, assertPrivate, isErrno, readFileIfAny, writeFileAtomically } from './files.ts'
import { type Lock, takeLock } from './lock.ts'
import type { Logger } from './logger.ts'
import { canEnter, ensurePostgresUser, findPostgresUser, type OsUser } from './os-user.ts'
import { endPostmaster, isPostmasterOf, type Postmaster, readPostmaster } from './postmaster.ts'

/** A Postgres of the gateway's own, on this machine. */
export interface Embedded {
  /** For the gateway: a login that owns nothing. */
  readonly url: string
  /** For migrations: the cluster's superuser. */
  readonly adminUrl: string
  /** Ends Postgres in order; if that takes longer than ten seconds, by force. */
  stop(): Promise<void>
}

export interface EmbeddedOptions {
  readonly dataDir: string
  readonly log: Logger
  /** Postgres settings that replace ours; for tests. */
  readonly settings?: Readonly<Record<string, string>>
}

const ADMIN = 'countersign_admin'
const GATEWAY = 'countersign_login'
const DATABASE = 'countersign'

// Where Postgres lives if its user cannot enter the data directory.
const SHARED_DIRECTORY = '/var/lib/countersign'

const INIT_TIMEOUT_MS = 60_000
// Recovery after a crash replays at most max_wal_size.
const READY_TIMEOUT_MS = 60_000
// After a kill of gateway and Postgres, shared memory stays in use for about a second.
const RETRY_MS = 10_000
const ANSWER_TIMEOUT_MS = 3_000
// One that does not answer is not given long to end either.
const DEAF_TIMEOUT_MS = 1_000
const STOP_TIMEOUT_MS = 10_000
const POLL_MS = 10

const SETTINGS: Readonly<Record<string, string>> = {
  // Loopback only, and no socket in a directory that others share.
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  // One gateway with its pool, and the command line beside it; each idle connection costs memory.
  max_connections: '50',
  // The log is written once and rarely read: a larger cache would only take memory from the gateway.
  shared_buffers: '64MB',
  // Nobody replicates this cluster, so the log need not carry what a replica would need.
  wal_level: 'minimal',
  max_wal_senders: '0',
  // Bounds the disk it takes, and how long recovery after a crash can last.
  max_wal_size: '256MB',
  min_wal_size: '64MB',
  // Three processes fewer; reads mostly come from the cache.
  io_method: 'sync',
  // Statements here are short: compiling one costs more than running it.
  jit: 'off',
  password_encryption: 'scram-sha-256',
  // A statement that failed is not copied to a file: it may quote personal data.
  log_min_error_statement: 'panic',
  log_min_messages: 'warning',
  timezone: 'UTC',
  log_timezone: 'UTC',
}

interface Passwords {
  readonly admin: string
  readonly gateway: string
}

interface Place {
  readonly user: OsUser
  readonly binaries: Binaries
  /** Postgres' own data directory. */
  readonly directory: string
  readonly passwords: Passwords
}

/**
 * Starts a real Postgres under the data directory, creates its cluster the first time, adopts one that a killed
 * gateway left running. It does not end with this process: only `stop` ends it, after the gateway has drained.
 * @throws GatewayError `config` if this system cannot run one, or if another gateway uses the directory
 */
export async function startEmbedded({ dataDir, log, settings = {} }: EmbeddedOptions): Promise<Embedded> {
  const lock = await claim(dataDir)
  try {
    // One name for it, however it was given: a Postgres is recognised by the path it was started with.
    const place = await prepare(await realpath(dataDir), log)
    // Where one was killed, a part of it may linger: starting may need more than one attempt.
    const wasKilled = (await readPostmaster(place.directory)) !== null
    const adopted = await adopt(place, log)
    const postmaster =
      adopted ?? (await startPostmaster(place, { log, settings: { ...SETTINGS, ...settings }, isPatient: wasKilled }))
    await ensureDatabase(urlOf(place.passwords, postmaster.port), place.passwords)
    return running({ place, postmaster, lock, log })
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** The URLs of the embedded Postgres that a gateway is running, for commands beside it; null if none is. */
export async function findRunning(dataDir: string): Promise<{ url: string; adminUrl: string } | null> {
  const user = await findPostgresUser()
  const real = await realpath(dataDir).catch(() => null)
  if (!user || real === null) return null
  const passwords = await readPasswords(passwordsPath(real, user))
  for (const directory of [directoryIn(real, user), sharedDirectory(real, user)]) {
    const postmaster = await readPostmaster(directory).catch(() => null)
    if (!passwords || !postmaster?.isReady || !(await isPostmasterOf(directory, postmaster.pid))) continue
    const { port } = postmaster
    return { url: gatewayUrlOf(passwords, port), adminUrl: urlOf(passwords, port) }
  }
  return null
}

function running(args: { place: Place; postmaster: Postmaster; lock: Lock; log: Logger }): Embedded {
  const { place, postmaster, lock, log } = args
  let stopping: Promise<void> | null = null

  async function stop(): Promise<void> {
    const hasEnded = await endPostmaster(place.directory, { pid: postmaster.pid, waitMs: STOP_TIMEOUT_MS })
    if (!hasEnded) log.error({ pid: postmaster.pid }, 'the embedded Postgres did not end')
    await lock.release()
  }

  return {
    url: gatewayUrlOf(place.passwords, postmaster.port),
    adminUrl: urlOf(place.passwords, postmaster.port),
    stop: () => {
      stopping ??= stop()
      return stopping
    },
  }
}

async function claim(dataDir: string): Promise<Lock> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await assertNotWorldWritable(dataDir)
    const lock = await takeLock(join(dataDir, 'postgres.lock'))
    if (!('heldBy' in lock)) return lock
    const message = `another gateway (process ${lock.heldBy}) is using ${dataDir}`
    throw new GatewayError('config', `${message}: end it, or give this one a data_dir of its own`)
  } catch (cause) {
    if (!isErrno(cause, 'EACCES', 'EPERM', 'EROFS')) throw cause
    throw new GatewayError('config', `this user cannot write to data_dir, ${dataDir}`, { cause })
  }
}

async function prepare(dataDir: string, log: Logger): Promise<Place> {
  const user = await ensurePostgresUser()
  const binaries = await findBinaries(user, { elsewhere: SHARED_DIRECTORY, log })
  const directory = await chooseDirectory(dataDir, { user, log })
  const isNew = (await readFileIfAny(join(directory, 'PG_VERSION'))) === null
  const path = passwordsPath(dataDir, user)
  const known = await readPasswords(path)
  if (!known && !isNew)
    throw new GatewayError('config', `${path} is missing, and ${directory} cannot be opened without`)
  const passwords = known ?? { admin: newPassword(), gateway: newPassword() }
  if (!known) await writeFileAtomically(path, `${JSON.stringify(passwords)}\n`, 0o600)
  const place = { user, binaries, directory, passwords }
  if (isNew) await initialise(place)
  return place
}

/** Each user that Postgres runs as has a cluster of its own: none could open another's. */
function directoryIn(dataDir: string, user: OsUser): string {
  return join(dataDir, `postgres-${user.uid}`)
}

function passwordsPath(dataDir: string, user: OsUser): string {
  return join(dataDir, `postgres-${user.uid}.json`)
}

function sharedDirectory(dataDir: string, user: OsUser): string {
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 16)
  return join(SHARED_DIRECTORY, `${name}-${user.uid}`)
}

async function chooseDirectory(dataDir: string, { user, log }: { user: OsUser; log: Logger }): Promise<string> {
  const inside = directoryIn(dataDir, user)
  const own = process.getuid?.()
  if (user.uid === own) return inside
  // Our own directory may be passed through, though not listed: what lies in it is for its owner alone.
  const { uid, mode } = await stat(dataDir)
  if (uid === own) await chmod(dataDir, (mode & 0o7777) | 0o011)
  if (await canEnter(user, dataDir)) return inside
  const shared = sharedDirectory(dataDir, user)
  await mkdir(SHARED_DIRECTORY, { recursive: true, mode: 0o755 })
  log.info(
    { directory: shared },
    `Postgres does not run as root, and its user cannot enter ${dataDir}: its files are here`,
  )
  return shared
}

/** Beside its place first, so that an end in the middle leaves nothing that looks like a cluster. */
async function initialise({ user, binaries, directory, passwords }: Place): Promise<void> {
  const parent = dirname(directory)
  for (const name of await readdir(parent)) {
    // An earlier attempt that was killed; its initdb may still be at work, so that the name is not used again.
    if (name.startsWith(`${basename(directory)}.new-`)) await rm(join(parent, name), { recursive: true, force: true })
  }
  const beside = `${directory}.new-${randomBytes(6).toString('hex')}`
  const passwordFile = `${beside}.password`
  await mkdir(beside, { mode: 0o700 })
  try {
    await writeFile(passwordFile, `${passwords.admin}\n`, { mode: 0o600, flag: 'wx' })
    if (user.uid !== process.getuid?.()) {
      for (const path of [beside, passwordFile]) await chown(path, user.uid, user.gid)
    }
    const args = ['-D', beside, '-U', ADMIN, '--pwfile', passwordFile, '--auth', 'scram-sha-256']
    const locale = ['--encoding', 'UTF8', '--locale', 'C', '--no-instructions']
    const how = { ...user, env: { LC_ALL: 'C' }, cwd: beside, timeout: INIT_TIMEOUT_MS }
    await promisify(execFile)(binaries.initdb, [...args, ...locale], how)
    await rename(beside, directory)
  } catch (cause) {
    await rm(beside, { recursive: true, force: true })
    throw unusable('the embedded Postgres could not be created', cause)
  } finally {
    await rm(passwordFile, { force: true })
  }
}

/** A missing interpreter (musl) shows as ENOENT on a program that is there. */
function unusable(what: string, cause: unknown): GatewayError {
  const stderr = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : ''
  const why = isErrno(cause, 'ENOENT', 'EACCES', 'ENOEXEC') ? 'it does not run on this system' : lastLines(stderr)
  return new GatewayError('config', `${what} (${why || 'it gave no reason'}): set store.url to use another`, { cause })
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-3).join(' ').slice(-500)
}

/** Goes on with the Postgres that a killed gateway left running, or ends it if it does not answer. */
async function adopt(place: Place, log: Logger): Promise<Postmaster | null> {
  const { directory, passwords } = place
  const found = await readPostmaster(directory)
  if (!found) return null
  if (!(await isPostmasterOf(directory, found.pid))) {
    // Its id may belong to another process of that user by now, and Postgres would then refuse to start for ever.
    // Backends that outlived it still keep its shared memory, by which Postgres notices them.
    await rm(join(directory, 'postmaster.pid'), { force: true })
    return null
  }
  if (await answers(urlOf(passwords, found.port, 'postgres'), directory)) {
    log.info({ pid: found.pid }, 'went on with the embedded Postgres that was still running')
    return found
  }
  log.warn({ pid: found.pid }, 'an embedded Postgres was still running, but did not answer: it is started afresh')
  if (await endPostmaster(directory, { pid: found.pid, waitMs: DEAF_TIMEOUT_MS })) return null
  throw new GatewayError('store', `the embedded Postgres (process ${found.pid}) neither answers nor ends`)
}

async function answers(url: string, directory: string): Promise<boolean> {
  for (
    const deadline = performance.now() + ANSWER_TIMEOUT_MS;
    performance.now() < deadline;
    await sleep(10 * POLL_MS)
  ) {
    const isOurs = await withClient(url, async (client) => {
      const { rows } = await client.query<{ directory: string }>(
        "SELECT current_setting('data_directory') AS directory",
      )
      return rows[0]?.directory === directory
    }).catch(() => null)
    if (isOurs !== null) return isOurs
  }
  return false
}

/** Starts it on a free port. Tries once more, since that port may be taken in the meantime; patiently, for a while. */
async function startPostmaster(
  place: Place,
  how: { log: Logger; settings: Readonly<Record<string, string>>; isPatient: boolean },
): Promise<Postmaster> {
  const giveUpAt = performance.now() + RETRY_MS
  for (let attempt = 1; ; attempt++) {
    const result = await tryStart(place, how.settings)
    if ('postmaster' in result) {
      const { postmaster, child } = result
      child.once('exit', (code, signal) => {
        if (code !== 0) how.log.error({ pid: postmaster.pid, code, signal }, 'the embedded Postgres ended by itself')
      })
      return postmaster
    }
    const isOver = how.isPatient ? performance.now() > giveUpAt : attempt > 1
    if (isOver) throw unusable('the embedded Postgres did not start', result.failed)
    await sleep(20 * POLL_MS)
  }
}

async function tryStart(
  { user, binaries, directory }: Place,
  settings: Readonly<Record<string, string>>,
): Promise<{ postmaster: Postmaster; child: ChildProcess } | { failed: Error }> {
  const port = await freePort()
  const logPath = `${directory}.log`
  const output = await open(logPath, 'w', 0o600)
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  // A session of its own: Ctrl-C in the terminal reaches the gateway alone, which ends Postgres after it has drained.
  const child = spawn(binaries.postgres, ['-D', directory, '-p', `${port}`, ...flags], {
    ...user,
    cwd: directory,
    env: { LC_ALL: 'C' },
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
  })
  const failed: Error[] = []
  child.once('error', (error) => failed.push(error))
  child.once('exit', (code, signal) => failed.push(new Error(`it ended with ${code ?? signal}`)))
  child.unref()
  await output.close()

  for (const deadline = performance.now() + READY_TIMEOUT_MS; performance.now() < deadline; await sleep(POLL_MS)) {
    if (failed[0]) {
      return { failed: Object.assign(failed[0], { stderr: await readFile(logPath, 'utf8').catch(() => '') }) }
    }
    const postmaster = await readPostmaster(directory)
    if (postmaster?.isReady && postmaster.pid === child.pid) return { postmaster, child }
  }
  if (child.pid) await endPostmaster(directory, { pid: child.pid, waitMs: STOP_TIMEOUT_MS })
  return { failed: new Error('it was not ready in time') }
}

/** Chosen anew at each start: what was free at the last one may be taken. */
async function freePort(): Promise<number> {
  const { promise, resolve: found, reject } = Promise.withResolvers<number>()
  const server = createServer()
  server.once('error', reject)
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    server.close(() => found(typeof address === 'object' && address ? address.port : 0))
  })
  return await promise
}

/** The database and the gateway's login; its password is set anew, so that the file is always right. */
async function ensureDatabase(adminUrl: string, passwords: Passwords): Promise<void> {
  await withClient(databaseUrl(adminUrl, 'postgres'), async (client) => {
    const { rows } = await client.query<{ database: boolean; login: boolean }>(
      `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS database,
              EXISTS (SELECT FROM pg_roles WHERE rolname = $2) AS login`,
      [DATABASE, GATEWAY],
    )
    if (!rows[0]?.login) await client.query(`CREATE ROLE ${GATEWAY} LOGIN`)
    await client.query(`ALTER ROLE ${GATEWAY} PASSWORD ${client.escapeLiteral(passwords.gateway)}`)
    if (!rows[0]?.database) await client.query(`CREATE DATABASE ${DATABASE}`)
    // Temporary tables are what a login would need to shadow one of ours; none is needed.
    await client.query(`REVOKE TEMPORARY ON DATABASE ${DATABASE} FROM PUBLIC`)
  })
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new StoreClient({
    connectionString: url,
    connectionTimeoutMillis: ANSWER_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
  })
  // What goes wrong between two statements shows at the next one.
  client.on('error', () => undefined)
  try {
    await client.connect()
    return await work(client)
  } finally {
    await client.end().catch(() => undefined)
  }
}

function newPassword(): string {
  return randomBytes(24).toString('base64url')
}

async function readPasswords(path: string): Promise<Passwords | null> {
  const text = await readFileIfAny(path)
  if (text === null) return null
  await assertPrivate(path)
  const passwords = parsePasswords(text)
  if (passwords) return passwords
  throw new GatewayError('config', `${path} does not hold the passwords of the embedded Postgres`)
}

function parsePasswords(text: string): Passwords | null {
  try {
    const { admin, gateway } = JSON.parse(text)
    return typeof admin === 'string' && typeof gateway === 'string' ? { admin, gateway } : null
  } catch {
    // Not passed on: the parser's message quotes what it read.
    return null
  }
}

// Anyone on this machine may take its port once it is gone: nobody is told the password who does not know it.
const MUTUAL = '?require_auth=scram-sha-256'

function urlOf(passwords: Passwords, port: number, database = DATABASE): string {
  return `postgres://${ADMIN}:${passwords.admin}@127.0.0.1:${port}/${database}${MUTUAL}`
}

function gatewayUrlOf(passwords: Passwords, port: number): string {
  return `postgres://${GATEWAY}:${passwords.gateway}@127.0.0.1:${port}/${DATABASE}${MUTUAL}`
}

function databaseUrl(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}
