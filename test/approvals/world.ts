import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { createEnded } from '../../src/approvals/ended.ts'
import type { Ground } from '../../src/approvals/ground.ts'
import { type HoldOptions, holdOptions } from '../../src/approvals/options.ts'
import { createQueue, type Queue, type QueueTiming } from '../../src/approvals/queue.ts'
import type { Standing } from '../../src/approvals/standing.ts'
import { openAudit } from '../../src/audit/open.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Exchange, Stored } from '../../src/domain/call.ts'
import type { RunningChannel } from '../../src/domain/channel.ts'
import type { Verdict } from '../../src/domain/verdict.ts'
import { type Clock, systemClock } from '../../src/platform/clock.ts'
import { type Database, openDatabase } from '../../src/platform/database.ts'
import type { Keys } from '../../src/platform/keys.ts'
import { generateKeys, readKeys } from '../../src/platform/load-keys.ts'
import { createMetrics } from '../../src/platform/metrics.ts'
import { createSchemaCheck } from '../../src/platform/schema.ts'
import { createOlderDatabase, createTestDatabase } from '../postgres.ts'
import { granted, judged, log, type TestCall, verdict } from './parts.ts'

export interface ReplicaParts {
  readonly options?: Partial<HoldOptions>
  readonly channels?: readonly string[]
  readonly timing?: Partial<QueueTiming>
  readonly standing?: Standing
  readonly keys?: Keys
  readonly clock?: Clock
  readonly id?: string
  readonly persistHead?: () => Promise<void>
  /** Stands between the queue and the store. */
  readonly through?: (database: Database) => Database
}

export interface Replica {
  readonly queue: Queue
  readonly database: Database
  readonly metrics: ReturnType<typeof createMetrics>
  readonly draining: AbortController
  start(parts?: {
    channels?: readonly RunningChannel[]
    revive?: (approval: Approval, stored: Stored) => Promise<Exchange | null>
    resume?: (call: Exchange, approval: Approval) => Promise<{ name: 'forwarded' | 'refused' }>
  }): Promise<void>
  close(): Promise<void>
}

/** A store with its audit log, and as many gateway processes on it as a test wants. */
export async function openWorld({ schema }: { schema?: number } = {}) {
  const store = await (schema === undefined ? createTestDatabase() : createOlderDatabase(schema))
  const keys = readKeys(generateKeys())
  const dataDir = await mkdtemp(join(tmpdir(), 'countersign-approvals-'))
  const auditing = await openAudit({
    database: store.database,
    keys,
    dataDir,
    clock: systemClock,
    log,
    metrics: createMetrics(),
  })
  auditing.follow(async () => {})
  const replicas: Replica[] = []

  function openReplica(parts: ReplicaParts = {}): Replica {
    const plain = openDatabase({ url: store.url, log })
    const database = parts.through ? parts.through(plain) : plain
    const draining = new AbortController()
    const metrics = createMetrics()
    const queue = createQueue(
      { database, keys: parts.keys ?? keys, within: auditing.audit.within, metrics, log },
      {
        options: { ...holdOptions.parse({}), ...parts.options },
        channels: parts.channels ?? [],
        clock: parts.clock ?? systemClock,
        random: () => 0.5,
        replicaId: parts.id ?? randomBytes(8).toString('hex'),
        draining: draining.signal,
        persistHead: parts.persistHead ?? (async () => {}),
        ...(parts.standing && { standing: parts.standing }),
        timing: { pollMs: 100, ...parts.timing },
      },
    )
    let isClosed = false
    const replica: Replica = {
      queue,
      database,
      metrics,
      draining,
      start: (given = {}) =>
        queue.start({
          channels: given.channels ?? [],
          revive: given.revive ?? (async () => null),
          resume: given.resume ?? (async () => ({ name: 'refused' })),
          oldestCallId: () => null,
        }),
      async close() {
        if (isClosed) return
        isClosed = true
        await queue.stop(1000)
        await database.close()
      },
    }
    replicas.push(replica)
    return replica
  }

  /** Entries of the log about an approval, in order. */
  async function entriesOf(approvalId: string) {
    const { rows } = await store.database.query<{ kind: string; outcome: string | null; body: string }>(
      `SELECT kind, outcome, convert_from(body, 'UTF8') AS body FROM audit_entry WHERE approval_id = $1 ORDER BY seq`,
      [approvalId],
    )
    // Each body is JSON that the log wrote.
    return rows.map(({ kind, outcome, body }) => ({ kind, outcome, body: JSON.parse(body) as Record<string, unknown> }))
  }

  async function asSuperuser(...statements: readonly string[]): Promise<void> {
    const client = new pg.Client({ connectionString: store.adminUrl })
    await client.connect()
    try {
      for (const statement of statements) await client.query(statement)
    } finally {
      await client.end()
    }
  }

  return {
    keys,
    store,
    /** What parts of the queue stand on that a test makes itself. */
    makeGround: (more: Partial<Ground> = {}): Ground => ({
      database: store.database,
      keys,
      ended: createEnded(),
      hasSchema: createSchemaCheck(),
      within: auditing.audit.within,
      metrics: createMetrics(),
      log,
      ...more,
    }),
    audit: auditing.audit,
    guard: auditing.guard,
    hearEnded: (note: (approvalIds: readonly string[]) => void) => auditing.follow(async () => {}, note),
    openReplica,
    entriesOf,
    asSuperuser,
    /** What an administrator bent on harm does: alters rows without the triggers. */
    alter: (statement: string) =>
      asSuperuser(
        'ALTER TABLE countersign.approval DISABLE TRIGGER ALL',
        'ALTER TABLE countersign.vote DISABLE TRIGGER ALL',
        statement,
        'ALTER TABLE countersign.approval ENABLE TRIGGER ALL',
        'ALTER TABLE countersign.vote ENABLE TRIGGER ALL',
        ...['approval', 'vote'].flatMap((table) =>
          ['guard', 'keep'].map((name) => `ALTER TABLE countersign.${table} ENABLE ALWAYS TRIGGER ${name}`),
        ),
      ),
    async stateOf(id: string): Promise<string | undefined> {
      const { rows } = await store.database.query<{ state: string }>('SELECT state FROM approval WHERE id = $1', [id])
      return rows[0]?.state
    },
    async close() {
      await Promise.all(replicas.map((replica) => replica.close()))
      await auditing.close()
      await store.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

export type World = Awaited<ReturnType<typeof openWorld>>

/** Opens an approval for a call; throws if it was refused. */
export async function hold(queue: Queue, call: TestCall, of: Verdict = verdict()): Promise<Approval> {
  return granted(await queue.hold(call, judged(of), call.sealed))
}
