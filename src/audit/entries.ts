import type { Tx } from '../platform/database.ts'
import { entryHash, GENESIS, leafHash } from './chain.ts'

/** An entry as the view shows it. A name is null where there is none, and where it was erased. */
export interface LogEntry {
  readonly seq: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly kind: string
  readonly callId: string | null
  readonly approvalId: string | null
  readonly issuer: string | null
  readonly subject: string | null
  readonly onBehalfOf: string | null
  readonly owner: string | null
  readonly model: string | null
  readonly upstream: string | null
  readonly verb: string | null
  readonly resource: string | null
  readonly effect: string | null
  readonly rule: string | null
  readonly policyVersion: number | string | null
  readonly reviewer: string | null
  readonly reviewerGroup: string | null
  readonly outcome: string | null
  /** What is chained, byte for byte. */
  readonly body: Buffer
  readonly leafHash: Buffer
  /** Null if the entry before is missing. */
  readonly prevHash: Buffer | null
  readonly hash: Buffer
}

const COLUMNS = `seq, at, kind, call_id AS "callId", approval_id AS "approvalId", issuer, subject,
  on_behalf_of AS "onBehalfOf", owner, model, upstream, verb, resource, effect, rule, policy_version AS "policyVersion",
  reviewer, reviewer_group AS "reviewerGroup", outcome, body, leaf_hash AS "leafHash", prev_hash AS "prevHash", hash`

type Row = Omit<LogEntry, 'at'> & { readonly at: Date }

/** These entries, in ascending order; those that are not there are left out. */
export async function readEntries(tx: Tx, seqs: readonly number[]): Promise<readonly LogEntry[]> {
  if (seqs.length === 0) return []
  const { rows } = await tx.query<Row>(
    `SELECT ${COLUMNS} FROM countersign.audit_log WHERE seq = ANY ($1::bigint[]) ORDER BY seq`,
    [seqs],
  )
  return rows.map((row) => ({ ...row, at: row.at.getTime() }))
}

/** What a commitment in a body stands for. */
interface Meaning {
  readonly commitment: string
  readonly field: string
  readonly value: string
}

/** One entry with what is beside it. */
export interface EntryInPlace {
  readonly entry: LogEntry
  readonly before: LogEntry | null
  readonly after: LogEntry | null
  /** Whether its hashes follow from its stored body and from the entry before. */
  readonly isChained: boolean
  /** The values that its body commits to, as far as they were not erased. */
  readonly meanings: readonly Meaning[]
}

/** Null if there is no such entry. */
export async function readInPlace(tx: Tx, seq: number): Promise<EntryInPlace | null> {
  const found = await readEntries(tx, [seq - 1, seq, seq + 1])
  const entry = found.find((one) => one.seq === seq)
  if (!entry) return null
  const before = found.find((one) => one.seq === seq - 1) ?? null
  return {
    entry,
    before,
    after: found.find((one) => one.seq === seq + 1) ?? null,
    isChained: isChained(entry, seq === 1 ? GENESIS : (before?.hash ?? null)),
    meanings: await readMeanings(tx, [entry]),
  }
}

function isChained({ body, hash }: LogEntry, previous: Buffer | null): boolean {
  return previous !== null && entryHash(previous, leafHash(body)).equals(hash)
}

// The base64 of 32 bytes. What else looks like that is looked up in vain.
const COMMITMENT = /"([A-Za-z0-9+/]{43}=)"/g

/** What the commitments in these entries' bodies stand for. */
export async function readMeanings(tx: Tx, entries: readonly LogEntry[]): Promise<readonly Meaning[]> {
  const commitments = new Set<string>()
  for (const { body } of entries) {
    for (const [, commitment = ''] of body.toString('latin1').matchAll(COMMITMENT)) commitments.add(commitment)
  }
  if (commitments.size === 0) return []
  const { rows } = await tx.query<Meaning>(
    `SELECT encode(commitment, 'base64') AS commitment, field, value FROM countersign.audit_personal
     WHERE commitment = ANY (SELECT decode(given, 'base64') FROM unnest($1::text[]) AS given) ORDER BY field, value`,
    [[...commitments]],
  )
  return rows
}

/** A body as it was written; null if its bytes are no JSON object. */
export function parseBody(body: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'))
    // Every member is checked where it is used.
    return typeof parsed === 'object' && parsed !== null ? (parsed as Readonly<Record<string, unknown>>) : null
  } catch {
    return null
  }
}
