import { GatewayError } from '../domain/error.ts'
import { type DedicatedConnection, sqlState, type Tx } from '../platform/database.ts'
import type { Commitment, PersonalValue } from './commitments.ts'

/** The end of the chain as somebody knows it. */
export interface Head {
  readonly seq: number
  readonly hash: Buffer
}

/** What a writer has seen committed last, and where. */
export interface Known extends Head {
  readonly timeline: string
}

/** What an append did. */
export interface Link extends Head {
  readonly firstSeq: number
  readonly epoch: number
  readonly erasures: number
}

export interface StoreState extends Head {
  /**
   * Of the cluster, the database and the table of the chain's head. What is restored from a dump or copied into the same
   * cluster gets other numbers, so that it is noticed also by a gateway that has seen nothing of what is missing.
   */
  readonly systemIdentifier: string
  readonly timeline: string
  readonly erasures: number
  /** The hash of the entry asked for; null if the store does not have it. */
  readonly knownHash: Buffer | null
}

/** The one form in which an entry reaches the store. */
export interface Batch {
  /** Bodies joined by newlines; RFC 8785 JSON has none. */
  readonly bodies: string
  readonly fresh: readonly Commitment[]
}

const APPEND = {
  name: 'countersign_append',
  text: 'SELECT first_seq, last_seq, hash, epoch, erasures FROM countersign.append($1, $2, $3, $4, $5)',
} as const

interface AppendRow {
  first_seq: number
  last_seq: number
  hash: Buffer
  epoch: number
  erasures: number
}

/**
 * Chains a batch. As a statement of its own it commits by itself: `DedicatedConnection` answers after the commit.
 * With `known`, a store that does not hold that entry refuses: see `isBehind`.
 */
export async function append(through: Tx | DedicatedConnection, batch: Batch, known: Known | null): Promise<Link> {
  const values = [batch.bodies, writePersonal(batch.fresh), known?.seq, known?.hash, known?.timeline].map(
    (v) => v ?? null,
  )
  const { rows } = isDedicated(through)
    ? await through.query<AppendRow>({ ...APPEND, values })
    : await through.query<AppendRow>(APPEND.text, values)
  const row = rows[0]
  if (!row) throw new GatewayError('internal', 'an append answered nothing')
  return { firstSeq: row.first_seq, seq: row.last_seq, hash: row.hash, epoch: row.epoch, erasures: row.erasures }
}

function isDedicated(through: Tx | DedicatedConnection): through is DedicatedConnection {
  return 'close' in through
}

function writePersonal(fresh: readonly Commitment[]): string | null {
  if (fresh.length === 0) return null
  const distinct = new Map(fresh.map((commitment) => [commitment.text, commitment]))
  return JSON.stringify(
    [...distinct.values()].map(({ salt, field, value }) => [Buffer.from(salt).toString('base64'), field, value]),
  )
}

/** Whether the store refused because it is not the one, or not as far, as the writer has seen it. */
export function isBehind(error: unknown): boolean {
  return sqlState(error) === 'CS001'
}

/**
 * Whether the server said that it did nothing, for a reason that lies with it and not with the entries: no resources,
 * a wait cut short, a deadlock, a missing function or right. Any other `GatewayError('store')` leaves open whether the
 * append took effect.
 */
export function isRolledBack(error: unknown): boolean {
  return /^(40|42|53|55P03|57014|25006|CS)/.test(sqlState(error) ?? '')
}

export async function readState(tx: Tx, knownSeq: number): Promise<StoreState> {
  const { rows } = await tx.query<{
    system_identifier: string
    timeline: string
    seq: number
    hash: Buffer
    erasures: number
    known_hash: Buffer | null
  }>(
    `SELECT s.system_identifier || '.' || d.oid || '.' || 'countersign.audit_head'::regclass::oid AS system_identifier,
       s.timeline, s.seq, s.hash, s.erasures, s.known_hash
     FROM countersign.store_state($1) s, pg_database d WHERE d.datname = current_database()`,
    [knownSeq],
  )
  const row = rows[0]
  if (!row) throw new GatewayError('store', 'the store has no audit log: run countersign migrate')
  const { system_identifier: systemIdentifier, known_hash: knownHash, timeline, seq, hash, erasures } = row
  return { systemIdentifier, knownHash, timeline, seq, hash, erasures }
}

/** A part of the chain, as the store has it. */
export interface Stretch {
  /** The leaves (RFC 6962, section 2.1), in order; fewer than asked for if the store has no more. */
  readonly leaves: readonly Buffer[]
  /** The approvals that came to their end in it. */
  readonly ended: readonly string[]
}

/** The stretch of so many entries after one. */
export async function readStretch(
  tx: Tx,
  { after, count }: { readonly after: number; readonly count: number },
): Promise<Stretch> {
  const { rows } = await tx.query<{ leaves: Buffer | null; ended: readonly string[] | null }>(
    `SELECT string_agg(sha256('\\x00'::bytea || e.body), ''::bytea ORDER BY e.seq) AS leaves,
       array_agg(e.approval_id) FILTER (WHERE e.kind = 'spent' OR
         (e.kind = 'decided' AND position('"state":"approved"'::bytea IN e.body) = 0)) AS ended
     FROM countersign.audit_entry e WHERE e.seq > $1::bigint AND e.seq <= $1::bigint + $2::bigint`,
    [after, count],
  )
  const leaves = rows[0]?.leaves ?? Buffer.alloc(0)
  return {
    leaves: Array.from({ length: leaves.length / 32 }, (_, index) => leaves.subarray(index * 32, (index + 1) * 32)),
    ended: (rows[0]?.ended ?? []).filter((id) => id !== null),
  }
}

/**
 * The parties named most recently: those whose commitments a new process goes on to use. One that is longer than a gateway
 * would write is somebody else's, and a few thousand of them would not fit into memory.
 */
export async function readParties(tx: Tx, limit: number): Promise<PersonalValue[]> {
  const { rows } = await tx.query<{ field: string; value: string; salt: Buffer }>(
    `SELECT field, value, salt FROM countersign.audit_personal WHERE field = 'party' AND octet_length(value) <= 1024
     ORDER BY at DESC LIMIT $1`,
    [limit],
  )
  return rows.reverse()
}

/** An operator's word that the store may be used again, as it is stored. */
export interface Acknowledgement extends Head {
  readonly systemIdentifier: string
  readonly timeline: string
  readonly atMs: number
  readonly kid: string
  readonly mac: Buffer
}

/** The last acknowledgement whose entry is still where it says; null if there is none. Its MAC is the caller's to check. */
export async function readAcknowledgement(tx: Tx): Promise<Acknowledgement | null> {
  const { rows } = await tx.query<{
    seq: number
    hash: Buffer
    system_identifier: string
    timeline: string
    at_ms: number
    kid: string
    mac: Buffer
  }>(
    `SELECT a.seq, a.hash, a.system_identifier, a.timeline, a.at_ms, a.kid, a.mac
     FROM countersign.store_acknowledgement a JOIN countersign.audit_entry e ON e.seq = a.seq AND e.hash = a.hash
     ORDER BY a.seq DESC LIMIT 1`,
  )
  const row = rows[0]
  if (!row) return null
  const { system_identifier: systemIdentifier, at_ms: atMs, seq, hash, timeline, kid, mac } = row
  return { systemIdentifier, atMs, seq, hash, timeline, kid, mac }
}

export async function writeAcknowledgement(tx: Tx, a: Acknowledgement): Promise<void> {
  await tx.query(
    `INSERT INTO countersign.store_acknowledgement (seq, hash, system_identifier, timeline, at_ms, kid, mac)
     VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [a.seq, a.hash, a.systemIdentifier, a.timeline, a.atMs, a.kid, a.mac],
  )
}
