import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Table } from '../report.ts'
import { median, quantile } from '../statistics.ts'

/** Somewhere pgbench can connect to. */
export interface SqlPeer {
  readonly name: 'direct' | 'pgbouncer' | 'alone' | 'countersign'
  readonly label: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

interface Load {
  readonly label: string
  readonly args: readonly string[]
  /** In one transaction of it. */
  readonly statements: number
}

const SELECT_ONLY = ['-S']
const LOADS: readonly Load[] = [
  { label: 'select-only, simple', args: [...SELECT_ONLY, '-M', 'simple'], statements: 1 },
  { label: 'select-only, prepared', args: [...SELECT_ONLY, '-M', 'prepared'], statements: 1 },
  { label: 'tpcb-like, simple', args: ['-M', 'simple'], statements: 7 },
  { label: 'tpcb-like, prepared', args: ['-M', 'prepared'], statements: 7 },
]
const MANY = 32
const TARGET = { ownMs: 0.15, intentMs: 1, toPgbouncer: 0.5 }

interface Options {
  /** Of PostgreSQL's own load generator. */
  readonly pgbench: string
  readonly peers: readonly SqlPeer[]
  readonly directory: string
  readonly rounds: number
  readonly seconds: number
  tell(line: string): void
}

interface Result {
  readonly perSecond: number
  /** Of one statement, in milliseconds. */
  readonly p50: number
}

/** What a statement takes longer than without anything between, one at a time; and how many pass with 32 clients. */
export async function measureSql(options: Options): Promise<Table[]> {
  const { peers, rounds, seconds } = options
  const alone = await interleave({ ...options, clients: 1 })
  const commitMs = await measureCommit(options)
  const many = await interleave({ ...options, peers: peers.filter(({ name }) => name !== 'alone'), clients: MANY })
  const p50 = (load: Load, name: SqlPeer['name']) => median((of(alone, load, name) ?? []).map((one) => one.p50))
  const perSecond = (load: Load, name: SqlPeer['name']) =>
    median((of(many, load, name) ?? []).map((one) => one.perSecond))

  return [
    {
      title: 'A statement of Postgres, one at a time',
      about: `pgbench with one client; milliseconds a statement at p50, medians of ${rounds} interleaved rounds of ${seconds} s. Own work is the protocol with a gate that writes nothing down, less direct; the intent is the whole gateway, less that. By itself, a durable commit takes ${commitMs.toFixed(2)} ms here: an UPDATE of one row, sent to the database directly. Targets: own work ≤ ${TARGET.ownMs} ms, the intent ≤ ${TARGET.intentMs} ms.`,
      columns: ['direct', 'pgbouncer', 'Countersign', 'own work', 'the intent'],
      rows: LOADS.map((load) => {
        const own = p50(load, 'alone') - p50(load, 'direct')
        const intent = p50(load, 'countersign') - p50(load, 'alone')
        return {
          label: load.label,
          values: {
            direct: p50(load, 'direct'),
            pgbouncer: p50(load, 'pgbouncer'),
            Countersign: p50(load, 'countersign'),
            'own work': own,
            'the intent': intent,
          },
          isMet: own <= TARGET.ownMs && intent <= TARGET.intentMs,
        }
      }),
    },
    {
      title: `Transactions of Postgres per second, ${MANY} clients`,
      about: `pgbench; medians of ${rounds} interleaved rounds of ${seconds} s. Target: at least ${TARGET.toPgbouncer} of pgbouncer in session mode.`,
      columns: ['direct', 'pgbouncer', 'Countersign', 'to pgbouncer'],
      rows: LOADS.map((load) => {
        const ratio = perSecond(load, 'countersign') / perSecond(load, 'pgbouncer')
        return {
          label: load.label,
          values: {
            direct: perSecond(load, 'direct'),
            pgbouncer: perSecond(load, 'pgbouncer'),
            Countersign: perSecond(load, 'countersign'),
            'to pgbouncer': ratio,
          },
          isMet: Number.isNaN(ratio) ? null : ratio >= TARGET.toPgbouncer,
        }
      }),
    },
  ]
}

/** What nobody who writes something down before it goes on can be faster than, in milliseconds. */
async function measureCommit(options: Options): Promise<number> {
  const direct = options.peers.find(({ name }) => name === 'direct')
  if (!direct) throw new Error('there is no database to commit to')
  const script = join(options.directory, 'commit.sql')
  await writeFile(script, 'UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = 1;\n')
  const load: Load = { label: 'one commit', args: ['-f', script, '-M', 'prepared'], statements: 1 }
  const results: number[] = []
  for (let round = 0; round < options.rounds; round++) {
    results.push((await run(load, direct, { ...options, clients: 1 })).p50)
  }
  return median(results)
}

type Results = ReadonlyMap<string, readonly Result[]>

function of(results: Results, load: Load, name: SqlPeer['name']): readonly Result[] | undefined {
  return results.get(`${load.label} ${name}`)
}

/** A round is every load on every peer once; the first round warms up and does not count. */
async function interleave(options: Options & { readonly clients: number }): Promise<Results> {
  const { peers, rounds, clients, tell } = options
  const results = new Map<string, Result[]>()
  for (let round = 0; round <= rounds; round++) {
    for (const load of LOADS) {
      for (const peer of peers) {
        const result = await run(load, peer, options)
        tell(
          `${round === 0 ? 'warm-up' : `round ${round}`}, ${clients} × ${load.label}, ${peer.name}: ${Math.round(result.perSecond)}/s, p50 ${result.p50.toFixed(3)} ms`,
        )
        if (round === 0) continue
        const key = `${load.label} ${peer.name}`
        results.set(key, [...(results.get(key) ?? []), result])
      }
    }
  }
  return results
}

async function run(
  { args, statements }: Load,
  { host, port, user, password, database }: SqlPeer,
  { pgbench, directory, seconds, clients }: Options & { readonly clients: number },
): Promise<Result> {
  const logs = await mkdtemp(join(directory, 'pgbench-'))
  try {
    const { stdout } = await promisify(execFile)(
      pgbench,
      [...args, '-n', '-c', String(clients), '-j', '1', '-T', String(seconds), '-l', '--log-prefix', join(logs, 'log')],
      {
        env: { PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password, PGDATABASE: database },
        timeout: (seconds + 60) * 1000,
        maxBuffer: 1024 * 1024,
      },
    )
    const perSecond = Number(/tps = ([0-9.]+)/.exec(stdout)?.[1])
    if (!/number of failed transactions: 0 /.test(stdout)) throw new Error(`pgbench: ${stdout}`)
    const latencies: number[] = []
    for (const file of await readdir(logs)) {
      // Its third column is what a transaction took, in microseconds (pgbench, "Per-Transaction Logging").
      for (const line of (await readFile(join(logs, file), 'utf8')).split('\n')) {
        const took = Number(line.split(' ')[2])
        if (took > 0) latencies.push(took)
      }
    }
    return { perSecond, p50: quantile(latencies, 0.5) / 1000 / statements }
  } finally {
    await rm(logs, { recursive: true, force: true })
  }
}
