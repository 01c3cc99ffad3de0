import type { Entry } from '../domain/entry.ts'
import type { Requirement, RuleRef } from '../domain/verdict.ts'
import { escalatedEntry, remindedEntry } from './entries.ts'
import type { Ground } from './ground.ts'
import { APPROVAL_COLUMNS, type ApprovalRow, isGenuine } from './row.ts'
import { announce } from './store.ts'

/** The first schema that knows of reminders; the release before runs without. */
const SCHEMA = 7

interface Due extends ApprovalRow {
  readonly remind_at: Date
  readonly now: Date
}

/** When reviewers are next reminded, or others asked as well, no earlier than `from`; null if never any more. */
export function nextReminder(requirements: readonly Requirement[], openedAt: Date, from: Date): Date | null {
  const sinceMs = from.getTime() - openedAt.getTime()
  const next = requirements
    .flatMap(({ remindMs = [], escalate }) => [...remindMs, ...(escalate ? [escalate.afterMs] : [])])
    .filter((afterMs) => afterMs >= sinceMs)
  return next.length === 0 ? null : new Date(openedAt.getTime() + Math.min(...next))
}

/**
 * Reminds of approvals that wait for longer than a rule wants, and tells that they are open to others now. Any replica
 * does it, each thing once: the row is locked, and moved on to what comes next in the same transaction. Returns how many
 * there were.
 */
export async function remindDue(ground: Ground, most: number): Promise<number> {
  if (!(await ground.hasSchema(ground.database, SCHEMA))) return 0
  return ground.database.transaction(async (tx) => {
    const { rows } = await tx.query<Due>(
      `SELECT ${APPROVAL_COLUMNS}, remind_at, date_trunc('milliseconds', clock_timestamp()) AS now FROM approval
       WHERE state = 'pending' AND remind_at <= clock_timestamp() AND expires_at > clock_timestamp()
       ORDER BY remind_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED`,
      [most],
    )
    if (rows.length === 0) return 0
    await tx.query(
      `UPDATE approval SET remind_at = next FROM unnest($1::text[], $2::timestamptz[]) AS later (approval, next)
       WHERE id = later.approval`,
      [rows.map((row) => row.id), rows.map(nextOf)],
    )
    const genuine = rows.filter((row) => isGenuine(ground.keys.mac, row))
    await announce(
      tx,
      genuine.map((row) => row.id),
      'reminder',
    )
    const entries = genuine.flatMap(entriesOf)
    if (entries.length > 0) await ground.within(tx, entries)
    return rows.length
  })
}

/** After all that is due by now. */
function nextOf({ requirements, created_at: openedAt, now }: Due): Date | null {
  return nextReminder(requirements, openedAt, new Date(now.getTime() + 1))
}

function entriesOf(row: Due): readonly Entry[] {
  const sinceMs = row.remind_at.getTime() - row.created_at.getTime()
  const untilMs = row.now.getTime() - row.created_at.getTime()
  const isDue = (afterMs: number) => afterMs >= sinceMs && afterMs <= untilMs
  const reminders = new Map<number, RuleRef[]>()
  for (const { rule, remindMs = [] } of row.requirements) {
    for (const afterMs of remindMs.filter(isDue)) reminders.set(afterMs, [...(reminders.get(afterMs) ?? []), rule])
  }
  return [
    ...[...reminders].map(([afterMs, rules]) => remindedEntry(row, { afterMs, rules })),
    ...row.requirements.flatMap(({ rule, escalate }) =>
      escalate && isDue(escalate.afterMs) ? [escalatedEntry(row, { afterMs: escalate.afterMs, rules: [rule] })] : [],
    ),
  ]
}
