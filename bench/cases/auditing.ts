import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { openAudit } from '../../src/audit/open.ts'
import type { Entry } from '../../src/domain/entry.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { openDatabase } from '../../src/platform/database.ts'
import { newCallId } from '../../src/platform/id.ts'
import type { Keys } from '../../src/platform/keys.ts'
import type { Logger } from '../../src/platform/logger.ts'
import { createMetrics } from '../../src/platform/metrics.ts'
import type { Table } from '../report.ts'
import { median } from '../statistics.ts'

const APPENDERS = [8, 2000]

const AGENT: Principal = {
  issuer: 'https://idp.example.com',
  subject: 'support-7',
  onBehalfOf: { issuer: 'https://idp.example.com', subject: 'alice' },
  actors: [],
  owner: { issuer: 'https://idp.example.com', subject: 'olivia' },
  groups: [],
  client: 'support-agent',
  expiresAt: 2_000_000_000,
}

interface Options {
  /** Of the gateway's login, and of an administrator. */
  readonly url: string
  readonly adminUrl: string
  readonly keys: Keys
  readonly directory: string
  readonly rounds: number
  readonly seconds: number
  readonly log: Logger
}

interface Round {
  readonly perSecond: number
  readonly bytes: number
}

/** The log by itself: intents and outcomes of calls in turn, each appender waiting for its commit before the next. */
export async function measureAuditing(options: Options): Promise<Table> {
  const { url, adminUrl, keys, directory, rounds, seconds, log } = options
  const dataDir = join(directory, 'audit')
  await mkdir(dataDir, { recursive: true })
  const database = openDatabase({ url, log })
  const admin = openDatabase({ url: adminUrl, log, maxConnections: 1 })
  const { audit, close } = await openAudit({
    database,
    keys,
    dataDir,
    clock: systemClock,
    log,
    metrics: createMetrics(),
  })

  async function run(appenders: number): Promise<Round> {
    const before = await tableSize()
    const startedAt = performance.now()
    const endsAt = startedAt + seconds * 1000
    let appended = 0
    async function append(): Promise<void> {
      while (performance.now() < endsAt) {
        const callId = newCallId()
        await audit.append(intentOf(callId))
        await audit.append(outcomeOf(callId))
        appended += 2
      }
    }
    await Promise.all(Array.from({ length: appenders }, append))
    const perSecond = appended / ((performance.now() - startedAt) / 1000)
    return { perSecond, bytes: ((await tableSize()) - before) / appended }
  }

  async function tableSize(): Promise<number> {
    const { rows } = await admin.query<{ bytes: number }>(
      `SELECT sum(pg_total_relation_size(inhrelid))::bigint AS bytes FROM pg_inherits
       WHERE inhparent = 'countersign.audit_entry'::regclass`,
    )
    return rows[0]?.bytes ?? Number.NaN
  }

  try {
    const results = new Map<number, Round[]>(APPENDERS.map((appenders) => [appenders, []]))
    for (let round = 0; round <= rounds; round++) {
      for (const appenders of APPENDERS) {
        const result = await run(appenders)
        if (round > 0) results.get(appenders)?.push(result)
      }
    }
    return {
      title: 'The audit log by itself',
      about: `Intents and outcomes appended in this process, each committed and chained before its appender goes on, outcomes up to 5 ms later than they could be, for intents to come along; medians of ${rounds} rounds of ${seconds} s. Bytes are those of table and indexes in Postgres.`,
      columns: ['entries/s', 'bytes an entry'],
      rows: [...results].map(([appenders, all]) => ({
        label: `${appenders.toLocaleString('en-US')} appenders`,
        values: {
          'entries/s': median(all.map(({ perSecond }) => perSecond)),
          'bytes an entry': median(all.map(({ bytes }) => bytes)),
        },
        isMet: null,
      })),
    }
  } finally {
    await close()
    await admin.close()
    await database.close()
  }
}

function intentOf(callId: string): Entry {
  return {
    kind: 'intent',
    callId,
    principal: AGENT,
    upstream: 'billing',
    verb: 'GET',
    resource: '/customers/c-17',
    effect: 'allow',
    rule: 'bench/reads',
    policyVersion: 1,
  }
}

function outcomeOf(callId: string): Entry {
  const detail = { status: 200, bytes_in: 0, bytes_out: 300, response_sha256: 'f'.repeat(64), ms: 2 }
  return { kind: 'outcome', callId, upstream: 'billing', outcome: 'forwarded', detail }
}
