import type pg from 'pg'
import type { Received } from './upstream.ts'

interface EntryRow {
  readonly seq: number
  readonly at: Date
  readonly kind: string
  readonly call_id: string | null
  readonly approval_id: string | null
  readonly effect: string | null
  readonly outcome: string | null
  readonly state: string | null
}

interface ApprovalRow {
  readonly id: string
  readonly state: string
  readonly outcome: string | null
  readonly spent_call: string | null
}

/** Outcomes that may stand beside a request that reached the upstream. */
const ARRIVED = new Set(['forwarded', 'upstream_failed', 'upstream_timeout', 'client_gone', 'cut', 'unknown'])

export interface Account {
  /** Every way in which the three contradict each other; empty if they agree. */
  readonly contradictions: readonly string[]
  /** The final outcome of each call that has one. */
  readonly outcomes: ReadonlyMap<string, string>
  readonly approvals: ReadonlyMap<string, ApprovalRow>
  readonly forwarded: number
}

/**
 * Compares what reached the upstream with the audit log and the approvals: nothing twice, nothing without an intent
 * before it, nothing held without a decision and one spend before it, every decision recorded once and as it stands.
 * `isSettled` says that whatever gateways that ended still owed has been written by others: no call lacks its outcome.
 */
export async function compareRecords(
  admin: pg.Pool,
  received: readonly Received[],
  { isSettled = false } = {},
): Promise<Account> {
  const { entries, all } = await readStore(admin)
  const approvals = new Map(all.map((row) => [row.id, row]))
  const said: string[] = []
  const ofKind = (kind: string) => entries.filter((entry) => entry.kind === kind)
  const byCall = (kind: string) => Map.groupBy(ofKind(kind), (entry) => entry.call_id ?? '')
  const byApproval = (kind: string) => Map.groupBy(ofKind(kind), (entry) => entry.approval_id ?? '')
  const intents = byCall('intent')
  const spends = byApproval('spent')
  const decisions = byApproval('decided')
  const ended = byCall('outcome')
  const outcomes = new Map<string, string>()

  for (const [call, some] of ended) {
    const final = new Set(some.flatMap(({ outcome }) => (outcome === 'pending' || outcome === null ? [] : [outcome])))
    if (final.size > 1) said.push(`call ${call} ended as ${[...final].join(' and ')}`)
    const [only] = final
    if (only !== undefined) outcomes.set(call, only)
  }

  const arrived = Map.groupBy(received, ({ assertion }) => assertion?.call ?? '')
  for (const [call, some] of arrived) {
    if (some.length > 1) said.push(`call ${call} arrived ${some.length} times`)
    const [{ atMs, assertion } = { atMs: 0, assertion: null }] = some
    const intent = intents.get(call)?.at(-1)
    if (!intent) said.push(`call ${call} arrived without an intent`)
    else if (intent.at.getTime() > atMs) said.push(`call ${call} arrived before its intent`)
    const approval = assertion?.approval
    if (intent?.effect === 'deny' || (intent?.effect === 'hold' && approval === undefined)) {
      said.push(`call ${call} arrived, which was judged ${intent.effect}`)
    }
    const outcome = outcomes.get(call)
    if (outcome !== undefined && !ARRIVED.has(outcome)) said.push(`call ${call} arrived and ended as ${outcome}`)
    if (approval === undefined) continue
    const spend = spends.get(approval)?.[0]
    if (!spend) said.push(`approval ${approval} was used without a spend`)
    else if (spend.call_id !== call || spend.at.getTime() > atMs) {
      said.push(`approval ${approval} was spent by call ${spend.call_id}, and used by ${call}`)
    }
  }
  const used = Map.groupBy(received, ({ assertion }) => assertion?.approval ?? '')
  for (const [approval, some] of used) {
    if (approval !== '' && some.length > 1) said.push(`approval ${approval} was used ${some.length} times`)
  }

  for (const [approval, some] of spends) {
    if (some.length > 1) said.push(`approval ${approval} was spent ${some.length} times`)
    const yes = decisions.get(approval)?.find(({ state }) => state === 'approved')
    if (!yes || yes.seq > (some[0]?.seq ?? 0)) said.push(`approval ${approval} was spent before it was approved`)
  }
  for (const { id, state, outcome, spent_call: call } of all) {
    const decided = decisions.get(id)?.map((entry) => entry.state) ?? []
    const isSpent = spends.has(id)
    if (isSpent !== (state === 'spent')) said.push(`approval ${id} is ${state}, and the log says otherwise`)
    if (state !== 'pending' && state !== 'spent' && decided.at(-1) !== state) {
      said.push(`approval ${id} is ${state}, and the log says ${decided.at(-1)}`)
    }
    if (new Set(decided).size !== decided.length) said.push(`approval ${id} was decided twice: ${decided.join(', ')}`)
    const last = call === null ? undefined : outcomes.get(call)
    if (outcome !== null && outcome !== last) said.push(`approval ${id} ended as ${outcome}, its call as ${last}`)
  }
  for (const [call, outcome] of outcomes) {
    const mayBeAbsent = outcome === 'refused' || outcome === 'unknown' || outcome.startsWith('upstream_')
    if (!mayBeAbsent && !arrived.has(call)) said.push(`call ${call} ended as ${outcome} and never arrived`)
  }
  // A client that was told to come back has its outcome, too: `pending`.
  for (const call of isSettled ? intents.keys() : []) {
    if (!ended.has(call)) said.push(`call ${call} has an intent and no outcome`)
  }
  return { contradictions: said, outcomes, approvals, forwarded: received.length }
}

/** The log and the approvals of one moment: approvals may expire while they are read. */
async function readStore(admin: pg.Pool): Promise<{ entries: readonly EntryRow[]; all: readonly ApprovalRow[] }> {
  const client = await admin.connect()
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const { rows: entries } = await client.query<EntryRow>(
      `SELECT seq::int, at, kind, call_id, approval_id, effect, outcome,
         convert_from(body, 'UTF8')::json -> 'detail' ->> 'state' AS state
       FROM countersign.audit_log ORDER BY seq`,
    )
    const { rows: all } = await client.query<ApprovalRow>(
      'SELECT id, state, outcome, spent_call FROM countersign.approval',
    )
    await client.query('COMMIT')
    return { entries, all }
  } finally {
    client.release()
  }
}
