import { type State, TRANSITIONS } from '../domain/approval.ts'
import type { Tx } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import { APPROVAL_COLUMNS, type ApprovalRow, isGenuine, toApproval } from './row.ts'
import { genuineVotes, readVotes, toVote, type VoteRow } from './votes.ts'

/** An approval as it was read: the row, its votes, and whether the row is as it was signed. */
export interface Held {
  readonly row: ApprovalRow
  /** Those that count as signed. */
  readonly votes: readonly VoteRow[]
  /** Those that somebody else wrote, or altered. */
  readonly forged: readonly VoteRow[]
  readonly isGenuine: boolean
}

export type Event = 'approve' | 'deny' | 'expire' | 'withdraw' | 'spend'

/** Hears of every approval that was opened or changed; the payload is its id, and a hint only. */
export const NOTIFICATIONS = 'countersign_approval'

/** The database's time, to the millisecond: what goes into a MAC or a card has to survive a JavaScript Date. */
export async function readNow(tx: Tx): Promise<Date> {
  const { rows } = await tx.query<{ now: Date }>(`SELECT date_trunc('milliseconds', clock_timestamp()) AS now`)
  // A SELECT without FROM has exactly one row.
  return (rows[0] as { now: Date }).now
}

export async function readHeld(
  tx: Tx,
  keys: Pick<Keys, 'mac'>,
  { id, lock = false }: { id: string; lock?: boolean },
): Promise<Held | null> {
  const { rows } = await tx.query<ApprovalRow>(
    `SELECT ${APPROVAL_COLUMNS} FROM approval WHERE id = $1${lock ? ' FOR NO KEY UPDATE' : ''}`,
    [id],
  )
  const [held] = await withVotes(tx, keys, rows)
  return held ?? null
}

/** Adds to each row its votes. */
export async function withVotes(tx: Tx, keys: Pick<Keys, 'mac'>, rows: readonly ApprovalRow[]): Promise<Held[]> {
  const votes = await readVotes(
    tx,
    rows.map((row) => row.id),
  )
  return rows.map((row) => {
    const all = votes.get(row.id) ?? []
    const genuine = genuineVotes(keys.mac, row, all)
    const forged = all.filter((vote) => !genuine.includes(vote))
    return { row, votes: genuine, forged, isGenuine: isGenuine(keys.mac, row) }
  })
}

export function approvalOf({ row, votes, isGenuine }: Held): ReturnType<typeof toApproval> {
  const approval = toApproval(row, votes.map(toVote))
  if (isGenuine) return approval
  // Whoever writes to the database would speak for a policy, to an agent that listens.
  return { ...approval, requirements: approval.requirements.map((requirement) => ({ ...requirement, message: null })) }
}

/** Whether its time to be decided, or to be used, is over. `now` is the database's. */
export function isOverdue(row: ApprovalRow, now: Date): boolean {
  if (row.state === 'pending') return row.expires_at <= now
  return row.state === 'approved' && (row.use_by === null || row.use_by <= now)
}

/**
 * Moves an approval along the transition table: null if it is in no state from which the event leads anywhere, so that
 * of two who try only one succeeds. A spend has conditions of its own, in `spend.ts`.
 */
export async function move(
  tx: Tx,
  id: string,
  how: { event: Exclude<Event, 'spend'>; at: Date; reason: string | null },
): Promise<ApprovalRow | null> {
  const to = targetOf(how.event)
  const { rows } = await tx.query<ApprovalRow>(
    `UPDATE approval SET state = $2, reason = $3, decided_at = $5::timestamptz,
       use_by = CASE WHEN $2 = 'approved' THEN $5::timestamptz + use_within_ms * interval '1 millisecond' ELSE use_by END
     WHERE id = $1 AND state = ANY($4) RETURNING ${APPROVAL_COLUMNS}`,
    [id, to, how.reason, statesBefore(how.event), how.at],
  )
  return rows[0] ?? null
}

/** The states from which an event leads anywhere. */
export function statesBefore(event: Event): readonly State[] {
  return typedEntries(TRANSITIONS)
    .filter(([, ways]) => event in ways)
    .map(([state]) => state)
}

function targetOf(event: Event): State {
  return (TRANSITIONS.approved as Record<string, State>)[event] ?? TRANSITIONS.pending.approve
}

function typedEntries<Key extends string, Value>(record: Readonly<Record<Key, Value>>): [Key, Value][] {
  // Object.entries forgets that the keys of a literal are known.
  return Object.entries(record) as [Key, Value][]
}

/** Tells the other replicas, at commit. */
export async function notify(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.query('SELECT pg_notify($1, id) FROM unnest($2::text[]) AS id', [NOTIFICATIONS, ids])
}

/**
 * Owes every channel that was given the card a result, a reminder or what was asked, or a newer one, and tells the other replicas, at
 * commit.
 */
export async function announce(
  tx: Tx,
  ids: readonly string[],
  kind: 'result' | 'reminder' | 'question' = 'result',
): Promise<void> {
  // One statement: while it runs somebody waits, at the chain's lock too.
  await tx.query(
    `WITH owed AS (
       INSERT INTO outbox (approval, channel, kind, conversation)
       SELECT approval, channel, $3, conversation FROM outbox WHERE approval = ANY($2) AND kind = 'card'
       ON CONFLICT (approval, channel, kind) DO UPDATE SET generation = outbox.generation + 1, attempts = 0,
         next_at = clock_timestamp(), created_at = clock_timestamp(), done_at = NULL, end_result = NULL, cause = NULL)
     SELECT pg_notify($1, id) FROM unnest($2::text[]) AS id`,
    [NOTIFICATIONS, ids, kind],
  )
}

/** Owes every channel the card of a new approval. */
export async function oweCard(tx: Tx, approval: string, to: { channels: readonly string[]; conversation: string }) {
  if (to.channels.length === 0) return
  await tx.query(
    `INSERT INTO outbox (approval, channel, kind, conversation) SELECT $1, unnest($2::text[]), 'card', $3`,
    [approval, to.channels, to.conversation],
  )
}
