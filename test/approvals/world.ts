import { createHash, createSecretKey, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { type HoldOptions, holdOptions } from '../../src/approvals/options.ts'
import { createQueue, type Queue, type QueueTiming } from '../../src/approvals/queue.ts'
import type { Standing } from '../../src/approvals/spend.ts'
import { openAudit } from '../../src/audit/open.ts'
import type { Approval, Ballot } from '../../src/domain/approval.ts'
import type { Exchange, Sealed, Stored } from '../../src/domain/call.ts'
import type { RunningChannel } from '../../src/domain/channel.ts'
import { type Group, type Party, type Person, type Principal, ROLES, type Role } from '../../src/domain/principal.ts'
import { isRefusal, type Refusal } from '../../src/domain/refusal.ts'
import { parseSelector, type Selector } from '../../src/domain/selector.ts'
import type { Judged, Requirement, Verdict } from '../../src/domain/verdict.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { type Database, openDatabase } from '../../src/platform/database.ts'
import { newCallId } from '../../src/platform/id.ts'
import type { KeyPair, Keys, SecretKey } from '../../src/platform/keys.ts'
import { generateKeys, readKeys } from '../../src/platform/load-keys.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { createMetrics } from '../../src/platform/metrics.ts'
import { createTestDatabase } from '../postgres.ts'

export const log = createLogger({ level: 'silent' })
export const ISSUER = 'https://idp.example.com'
export const FINANCE: Group = { issuerName: 'corp', name: 'finance' }

export function party(subject: string): Party {
  return { issuer: ISSUER, subject }
}

export function agent(subject = 'agent-7', more: Partial<Principal> = {}): Principal {
  return {
    ...party(subject),
    onBehalfOf: null,
    actors: [],
    owner: party('olga'),
    groups: [],
    client: 'support-bot',
    expiresAt: 0,
    ...more,
  }
}

export function person(subject: string, groups: readonly Group[] = [FINANCE], roles: readonly Role[] = []): Person {
  return { ...party(subject), name: subject, groups, roles, assurance: 'oidc', authenticatedAt: 1_700_000_000 }
}

export function selector(text: string): Selector {
  const parsed = parseSelector(text)
  if (!parsed) throw new Error(`no selector: ${text}`)
  return parsed
}

export function requirement(
  more: Partial<Omit<Requirement, 'reviewers'>> & { reviewers?: string[] } = {},
): Requirement {
  return {
    rule: { policy: 'billing', rule: 'refunds' },
    quorum: 1,
    expiresMs: null,
    isReasonRequired: false,
    ...more,
    reviewers: (more.reviewers ?? ['group:finance']).map(selector),
  }
}

export function verdict(requirements: readonly Requirement[] = [requirement()], more: Partial<Verdict> = {}): Verdict {
  return {
    effect: requirements.length > 0 ? 'hold' : 'allow',
    basis: 'rule',
    rules: [{ policy: 'billing', rule: 'refunds' }],
    message: null,
    requirements,
    limits: [],
    maxDurationMs: null,
    policyVersion: 1,
    decidingAction: 0,
    ...more,
  }
}

export const ACTIONS: Judged['actions'] & object = [
  { upstream: 'billing', protocol: 'http', verb: 'POST', resource: '/refunds', facts: {} },
]

export function judged(of: Verdict = verdict()): Judged {
  return { effect: 'hold', verdict: of, actions: ACTIONS, refusal: null }
}

export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** What a call is made of: the same `what` is the same call; `volatile` changes its bytes, not what it is. */
export interface CallParts {
  readonly what?: string
  readonly volatile?: string
  readonly principal?: Principal
  readonly idempotencyKey?: string | null
  readonly isDetached?: boolean
  readonly waitMs?: number
  readonly gone?: AbortSignal
  readonly whenGone?: 'leave' | 'withdraw'
  readonly conversation?: string
  readonly bytes?: number
}

export interface TestCall extends Exchange {
  readonly sealed: Sealed
  readonly presented: { count: number }
}

export function makeCall(parts: CallParts = {}): TestCall {
  const { what = 'refund 120', volatile = '', principal = agent() } = parts
  const stored: Stored = {
    head: { path: '/refunds' },
    body: Buffer.from(`${what}${volatile}`.padEnd(parts.bytes ?? 0)),
  }
  const presented = { count: 0 }
  return {
    id: newCallId(),
    upstream: { name: 'billing', protocol: 'http', labels: { environment: 'test' }, mode: 'enforce', waitMs: 1000 },
    principal,
    waitMs: parts.waitMs ?? 1000,
    isDetached: parts.isDetached ?? false,
    idempotencyKey: parts.idempotencyKey ?? null,
    claimed: { reason: 'a customer asked', ...(parts.conversation && { conversation: parts.conversation }) },
    gone: parts.gone ?? new AbortController().signal,
    whenGone: parts.whenGone ?? 'leave',
    sealed: { digest: sha256(`${what}${volatile}`), matchKey: sha256(what), stored },
    presented,
    describe: async () => ACTIONS,
    seal: async () => ({ digest: sha256(`${what}${volatile}`), matchKey: sha256(what), stored }),
    adopt: async (given) => createHash('sha256').update(given.body).digest(),
    async present() {
      presented.count += 1
      return {
        payload: { mediaType: 'text/plain', bytes: 10, text: what, isCut: false, redacted: [] },
        notes: ['shown'],
      }
    },
    held: async () => {},
    forward: async () => ({ name: 'forwarded', status: 200 }),
    refuse: async (why) => ({ name: 'refused', refusal: why }),
  }
}

export function ballot(approval: Approval, reviewer: Person, more: Partial<Ballot> = {}): Ballot {
  return {
    approval: approval.id,
    reviewer,
    decision: 'approve',
    reason: null,
    via: 'api',
    cardHash: approval.cardHash,
    ...more,
  }
}

export interface ReplicaParts {
  readonly options?: Partial<HoldOptions>
  readonly channels?: readonly string[]
  readonly timing?: Partial<QueueTiming>
  readonly standing?: Standing
  readonly keys?: Keys
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
export async function openWorld() {
  const store = await createTestDatabase()
  const keys = readKeys(generateKeys())
  const dataDir = await mkdtemp(join(tmpdir(), 'countersign-approvals-'))
  const auditing = await openAudit({
    database: store.database,
    keys,
    dataDir,
    clock: systemClock,
    log,
    metrics: createMetrics(),
    withdrawOlder: async () => {},
  })
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
        clock: systemClock,
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
    audit: auditing.audit,
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

export function granted<Value extends object>(result: Value | Refusal): Value {
  if (isRefusal(result)) throw new Error(`refused: ${result.code}: ${result.detail}`)
  return result
}

export function codeOf(result: object): string | null {
  return isRefusal(result) ? result.code : null
}

export function secretKeys(kid: string): KeyPair<SecretKey> {
  return { kid, current: { kid, key: createSecretKey(randomBytes(32)) }, previous: null }
}

export const EVERY_ROLE: readonly Role[] = ROLES
