import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEmptyDatabase } from '../../../postgres.ts'
import { startWorld, type World } from '../world.ts'
import { lacks, PATIENT, run, same, succeed } from './programs.ts'
import { findRelease } from './server.ts'

const PIPELINE = fileURLToPath(new URL('./pipeline.sql', import.meta.url))
// The same numbers each time; two clients, so that sessions run beside each other.
const RUN = ['--no-vacuum', '--random-seed', '7', '--client', '2', '--transactions', '5']
const SCRIPTS = {
  'select-only': ['--builtin', 'select-only'],
  'tpcb-like': ['--builtin', 'tpcb-like'],
  pipelined: ['--file', PIPELINE],
}

const bin = findRelease()
const pgbench = join(bin ?? '', 'pgbench')

describe.skipIf(lacks(bin))('pgbench', () => {
  let world: World
  beforeAll(async () => {
    world = await startWorld(createEmptyDatabase())
  })
  afterAll(() => world?.close())

  test('fills its tables (needs postgresql)', PATIENT, async () => {
    await same(world, async (url) => {
      // By CREATE TABLE, COPY, VACUUM, and keys of both kinds.
      await succeed(pgbench, ['--initialize', '--quiet', '--init-steps', 'dtgvpf', url])
      return await state()
    })
  })

  // There are no pipelines in the simple protocol.
  test.each<[protocol: string, ...(keyof typeof SCRIPTS)[]]>([
    ['simple', 'select-only', 'tpcb-like'],
    ['extended', 'select-only', 'tpcb-like', 'pipelined'],
    ['prepared', 'select-only', 'tpcb-like', 'pipelined'],
  ])('runs its scripts by the %s protocol (needs postgresql)', PATIENT, async (protocol, ...scripts) => {
    const [printed] = await same(world, async (url) => {
      let all = ''
      for (const script of scripts) all += await run(pgbench, [...RUN, '--protocol', protocol, ...SCRIPTS[script], url])
      // All but how long it took.
      return [all.replace(/(?:latency average|initial connection time|tps) = .*/g, ''), await state()]
    })
    expect(printed).toContain('number of transactions actually processed: 10/10')
  })

  /** What has become of the accounts, whoever asked first; from then on they are as they were at the beginning. */
  async function state(): Promise<unknown> {
    const admin = new pg.Client({ connectionString: world.adminUrl })
    await admin.connect()
    try {
      const { rows } = await admin.query(`
        SELECT (SELECT count(*) FROM pgbench_accounts) AS accounts,
               (SELECT sum(abalance::bigint * aid) FROM pgbench_accounts) AS balances,
               (SELECT sum(tbalance::bigint * tid) FROM pgbench_tellers) AS tellers,
               (SELECT count(*) || ' ' || coalesce(sum(delta), 0) FROM pgbench_history) AS history`)
      await admin.query(`
        UPDATE pgbench_accounts SET abalance = 0 WHERE abalance <> 0;
        UPDATE pgbench_tellers SET tbalance = 0;
        UPDATE pgbench_branches SET bbalance = 0;
        TRUNCATE pgbench_history`)
      return rows
    } finally {
      await admin.end()
    }
  }
})
