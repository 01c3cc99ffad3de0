// npm run bench [-- --quick] [-- --json FILE] [-- --only NAME]: everything in one run on one machine, so that ratios hold
// whatever else the machine does.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { headPath } from '../src/audit/open.ts'
import { createSessions } from '../src/identity/sessions.ts'
import { type Database, openDatabase } from '../src/platform/database.ts'
import { startEmbedded } from '../src/platform/embedded.ts'
import { generateKeys, readKeys } from '../src/platform/load-keys.ts'
import { createLogger } from '../src/platform/logger.ts'
import { migrate } from '../src/platform/migrations.ts'
import { measureAuditing } from './cases/auditing.ts'
import { measureDeciding } from './cases/deciding.ts'
import { measureHeldMemory } from './cases/held-memory.ts'
import { measureHolding } from './cases/holding.ts'
import { measureInbox } from './cases/inbox.ts'
import { measureLatency, measureThroughput, type Peer } from './cases/proxying.ts'
import { measureSql, type SqlPeer } from './cases/sql.ts'
import { measureSqlSessions } from './cases/sql-sessions.ts'
import { agentToken, startGateway } from './gateway.ts'
import { startIssuer } from './issuer.ts'
import {
  findHaproxy,
  findPgbench,
  findPgbouncer,
  type Server,
  startHaproxy,
  startHttpProxy,
  startPgbouncer,
  startSqlAlone,
  startUpstream,
} from './peers.ts'
import { formatTable, type Table } from './report.ts'

const CASES = ['proxying', 'deciding', 'holding', 'inbox', 'memory', 'audit', 'sql', 'sessions'] as const
const RULES = 50

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    only: { type: 'string', multiple: true },
  },
})
const unknown = values.only?.find((name) => !CASES.some((known) => known === name))
if (unknown !== undefined) {
  process.stderr.write(`bench: --only takes ${CASES.join(', ')}; there is no ${unknown}\n`)
  process.exit(2)
}
const wanted = new Set<string>(values.only ?? CASES)
const scale = values.quick
  ? { rounds: 2, seconds: 2, samples: 20, held: 1000 }
  : { rounds: 5, seconds: 4, samples: 200, held: 10_000 }
const log = createLogger({ level: 'warn', destination: process.stderr })
const tell = (line: string) => process.stderr.write(`${line}\n`)

/** What is started here is ended here, last first, also after a failure or Ctrl-C. */
await using started = new AsyncDisposableStack()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void started.disposeAsync().finally(() => process.exit(130)))
}

const directory = await mkdtemp(join(tmpdir(), 'countersign-bench-'))
// The embedded Postgres runs as another user, who has to pass through.
await chmod(directory, 0o711)
started.defer(() => rm(directory, { recursive: true, force: true }))
const issuer = await startIssuer()
started.defer(() => issuer.close())
const upstream = await startUpstream(directory)
started.defer(() => upstream.stop())

const haproxy = await findHaproxy()
const machine = {
  cpus: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
  memoryGib: Math.round(totalmem() / 1024 ** 3),
  system: `${process.platform} ${process.arch}`,
  node: process.version,
  haproxy: haproxy?.version ?? null,
}
const tables: Table[] = []
/** Each as soon as it is there: what fails later takes nothing of it away. */
function report(...made: readonly Table[]): void {
  tables.push(...made)
  process.stdout.write(`\n${made.map(formatTable).join('\n')}`)
}

process.stdout.write(
  `\n${machine.cpus}, ${machine.memoryGib} GiB, ${machine.system}, Node ${machine.node}, HAProxy ${machine.haproxy ?? 'not installed'}\n`,
)
if (wanted.has('proxying')) report(...(await runProxying()))
if (wanted.has('deciding')) report(measureDeciding(scale))
if (wanted.has('holding')) report(await runHolding())
if (wanted.has('inbox')) report(await runInbox())
if (wanted.has('memory')) report(await runMemory())
if (wanted.has('audit')) report(await runAudit())
if (wanted.has('sql')) report(...(await runSql()))
if (wanted.has('sessions')) report(await runSqlSessions())

if (values.json !== undefined) {
  const written = { at: new Date().toISOString(), machine, quick: values.quick, scale, tables }
  await writeFile(values.json, `${JSON.stringify(written, null, 2)}\n`)
}

async function runProxying(): Promise<Table[]> {
  await using own = new AsyncDisposableStack()
  const keep = <Each extends Server>(server: Each): Each => {
    own.defer(() => server.stop())
    return server
  }
  const { port: upstreamPort } = upstream
  const peers: Peer[] = [{ name: 'upstream', label: 'the upstream itself (node:http)', port: upstreamPort }]
  if (haproxy) {
    const server = keep(await startHaproxy(haproxy.path, { directory, issuer, upstreamPort }))
    const label = `HAProxy ${haproxy.version}, token verified, 2 rules, no record`
    peers.push({ name: 'haproxy', label, port: server.port })
  } else tell('HAProxy is not installed (apt-get install haproxy); it is left out')
  const bare = keep(await startHttpProxy(directory, upstreamPort))
  peers.push({ name: 'http-proxy', label: '@fastify/http-proxy, nothing else', port: bare.port })
  const gateway = keep(
    await startGateway({ directory: join(directory, 'proxying'), issuer, upstreamPort, rules: RULES }),
  )
  const label = `Countersign, token verified, ${RULES} rules, chained record`
  peers.push({ name: 'countersign', label, port: gateway.port })

  const options = { ...scale, peers, token: await agentToken(issuer, 'support-7'), tell }
  const { table, perSecond } = await measureThroughput(options)
  return [table, await measureLatency(options, perSecond)]
}

/** Two gateways on one store. */
async function runHolding(): Promise<Table> {
  await using own = new AsyncDisposableStack()
  const { embedded, keys } = await startStore(own, 'holding')
  const common = { issuer, upstreamPort: upstream.port, rules: RULES, shared: { url: embedded.url, keys } }
  const first = await startGateway({ ...common, directory: join(directory, 'first') })
  own.defer(() => first.stop())
  // A new replica of a store with entries is given a record of how far it had come.
  const data = join(directory, 'second', 'data')
  await mkdir(data, { recursive: true, mode: 0o700 })
  await copyWhenWritten(headPath(join(first.directory, 'data')), headPath(data))
  const second = await startGateway({ ...common, directory: join(directory, 'second') })
  own.defer(() => second.stop())
  return await measureHolding({ issuer, upstream, first, second, samples: scale.samples, tell })
}

async function runInbox(): Promise<Table> {
  await using own = new AsyncDisposableStack()
  const { embedded, keys } = await startStore(own, 'inbox')
  const database = openDatabase({ url: embedded.url, log, maxConnections: 2 })
  own.defer(() => database.close())
  const gateway = await startGateway({
    directory: join(directory, 'inbox'),
    issuer,
    upstreamPort: upstream.port,
    rules: RULES,
    shared: { url: embedded.url, keys },
  })
  own.defer(() => gateway.stop())
  const limits = { lifetimeMs: 3_600_000, idleMs: 3_600_000 }
  const sessions = createSessions({ database, keys: readKeys(keys).cookie, limits })
  return await measureInbox({ ...scale, issuer, gateway, sessions, countPending: () => countPendingIn(database), tell })
}

async function countPendingIn(database: Database): Promise<number> {
  const text = "SELECT count(*) AS pending FROM countersign.approval WHERE state = 'pending'"
  return (await database.query<{ pending: number }>(text)).rows[0]?.pending ?? 0
}

async function runMemory(): Promise<Table> {
  await using own = new AsyncDisposableStack()
  const { embedded, keys } = await startStore(own, 'memory')
  const database = openDatabase({ url: embedded.adminUrl, log, maxConnections: 1 })
  own.defer(() => database.close())
  const gateway = await startGateway({
    directory: join(directory, 'memory'),
    issuer,
    upstreamPort: upstream.port,
    rules: RULES,
    shared: { url: embedded.url, keys },
    isProbed: true,
  })
  own.defer(() => gateway.stop())
  const countPending = () => countPendingIn(database)
  return await measureHeldMemory({ issuer, gateway, calls: scale.held, countPending, tell })
}

async function runAudit(): Promise<Table> {
  await using own = new AsyncDisposableStack()
  const { embedded, keys } = await startStore(own, 'audit')
  return await measureAuditing({ ...scale, ...embedded, keys: readKeys(keys), directory, log })
}

async function runSql(): Promise<Table[]> {
  const pgbench = await findPgbench()
  if (pgbench === null) {
    tell('pgbench is not installed (apt-get install postgresql); SQL is left out')
    return []
  }
  await using own = new AsyncDisposableStack()
  const keep = <Each extends Server>(server: Each): Each => {
    own.defer(() => server.stop())
    return server
  }
  const dataDir = join(directory, 'sql-upstream')
  await mkdir(dataDir, { mode: 0o711 })
  const settings = { max_connections: '200', shared_buffers: '256MB' }
  const database = await startEmbedded({ dataDir, log, settings })
  own.defer(() => database.stop())
  const url = database.adminUrl
  const to = new URL(url)
  const common = { host: '127.0.0.1', database: to.pathname.slice(1) }
  const login = { user: decodeURIComponent(to.username), password: decodeURIComponent(to.password) }
  await promisify(execFile)(pgbench, ['-i', '-q', '-s', '4'], {
    env: {
      PGHOST: common.host,
      PGPORT: to.port,
      PGUSER: login.user,
      PGPASSWORD: login.password,
      PGDATABASE: common.database,
    },
  })
  const peers: SqlPeer[] = [
    { name: 'direct', label: 'the upstream itself', ...common, ...login, port: Number(to.port) },
  ]
  const pgbouncer = await findPgbouncer()
  if (pgbouncer === null) tell('pgbouncer is not installed (apt-get install pgbouncer); it is left out')
  else {
    const { port } = keep(await startPgbouncer(pgbouncer, { directory, url }))
    peers.push({ name: 'pgbouncer', label: 'pgbouncer, session mode', ...common, ...login, port })
  }
  const token = await agentToken(issuer, 'support-7')
  const { port } = keep(await startSqlAlone(directory, url))
  peers.push({ name: 'alone', label: 'the protocol alone', ...common, user: 'agent', password: token, port })
  const gateway = keep(
    await startGateway({
      directory: join(directory, 'sql'),
      issuer,
      upstreamPort: upstream.port,
      rules: RULES,
      sqlUrl: url,
    }),
  )
  const as = { user: 'agent', password: token, port: gateway.sqlPort ?? 0 }
  peers.push({ name: 'countersign', label: 'Countersign', ...common, ...as })
  // Four loads on seven ways: shorter rounds, and fewer.
  const rounds = Math.min(scale.rounds, 3)
  return await measureSql({ pgbench, peers, directory, rounds, seconds: rounds, tell })
}

async function runSqlSessions(): Promise<Table> {
  await using own = new AsyncDisposableStack()
  const sessions = values.quick ? 200 : 1000
  const dataDir = join(directory, 'sessions-upstream')
  await mkdir(dataDir, { mode: 0o711 })
  const database = await startEmbedded({ dataDir, log, settings: { max_connections: String(sessions + 100) } })
  own.defer(() => database.stop())
  const { embedded, keys } = await startStore(own, 'sessions')
  const gateway = await startGateway({
    directory: join(directory, 'sessions'),
    issuer,
    upstreamPort: upstream.port,
    rules: RULES,
    sqlUrl: database.adminUrl,
    shared: { url: embedded.url, keys },
    isProbed: true,
  })
  own.defer(() => gateway.stop())
  const { pathname } = new URL(database.adminUrl)
  return await measureSqlSessions({ issuer, gateway, database: pathname.slice(1), sessions, tell })
}

async function startStore(own: AsyncDisposableStack, name: string) {
  const dataDir = join(directory, `${name}-store`)
  await mkdir(dataDir, { mode: 0o711 })
  const embedded = await startEmbedded({ dataDir, log })
  own.defer(() => embedded.stop())
  await migrate({ adminUrl: embedded.adminUrl, gatewayUrl: embedded.url, log })
  return { embedded, keys: generateKeys() }
}

async function copyWhenWritten(from: string, to: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (existsSync(from)) return copyFile(from, to)
    await sleep(100)
  }
  throw new Error(`${from} was not written`)
}
