import type { Tx } from '../platform/database.ts'
import { type LogEntry, parseBody, readMeanings } from './entries.ts'
import { type NamesAtVotes, nameReviewers } from './names.ts'

export type Cell = string | number | null

interface PopulationGround {
  readonly tx: Tx
  readonly namesAtVotes: NamesAtVotes
}

/** All of one sort that an auditor draws samples from: which entries they are, and what is said of each. */
interface Population {
  readonly title: string
  readonly about: string
  readonly kinds: readonly string[]
  readonly columns: readonly string[]
  write(ground: PopulationGround, entries: readonly LogEntry[]): Promise<readonly (readonly Cell[])[]>
}

const AGENT = ['issuer', 'subject', 'on_behalf_of', 'owner'] as const
const ACTION = ['upstream', 'verb', 'resource'] as const

const agentOf = (entry: LogEntry): readonly Cell[] => [entry.issuer, entry.subject, entry.onBehalfOf, entry.owner]
const actionOf = (entry: LogEntry): readonly Cell[] => [entry.upstream, entry.verb, entry.resource]
const placeOf = ({ seq, at }: LogEntry): readonly Cell[] => [seq, writeTime(at)]

const calls: Population = {
  title: 'Calls',
  about: 'every call that was judged, by whom, by which rule, and how it ended',
  kinds: ['intent'],
  columns: [
    ...['seq', 'at', 'call_id', ...AGENT, 'model', ...ACTION, 'effect', 'rule', 'policy_version'],
    ...['outcome', 'outcome_at', 'approval_id'],
  ],
  async write({ tx }, entries) {
    const ends = await readEnds(tx, entries)
    return entries.map((entry) => {
      const end = entry.callId === null ? undefined : ends.get(entry.callId)
      const { callId, model, effect, rule, policyVersion } = entry
      return [
        ...[...placeOf(entry), callId, ...agentOf(entry), model, ...actionOf(entry), effect, rule, policyVersion],
        ...(end ? [end.outcome, writeTime(end.at.getTime()), end.approval_id] : [null, null, null]),
      ]
    })
  },
}

const held: Population = {
  title: 'Held calls',
  about: 'every approval that was opened, what became of it, and when',
  kinds: ['held'],
  columns: ['seq', 'at', 'approval_id', 'call_id', ...AGENT, ...ACTION, 'rule', 'state', 'decided_at', 'spent_at'],
  async write({ tx }, entries) {
    const courses = await readCourses(tx, entries)
    return entries.map((entry) => {
      const { state = 'pending', decidedAt = null, spentAt = null } = courses.get(entry.approvalId ?? '') ?? {}
      const what = [entry.approvalId, entry.callId, ...agentOf(entry), ...actionOf(entry), entry.rule]
      return [...placeOf(entry), ...what, state, decidedAt, spentAt]
    })
  },
}

/** What an override says: whoever denies needs none. */
const OVERRIDE = 'approve'
const BY = ['reviewer', 'reviewer_name', 'reviewer_group', 'via', 'assurance', 'reason'] as const

function decisionsOf(kinds: readonly string[]): Pick<Population, 'kinds' | 'columns' | 'write'> {
  return {
    kinds,
    columns: ['seq', 'at', 'approval_id', 'call_id', 'decision', ...BY, ...AGENT, ...ACTION, 'rule'],
    async write(ground, entries) {
      const reasons = await readReasons(ground.tx, entries)
      const names = await nameReviewers(ground.namesAtVotes, entries)
      return entries.map((entry) => {
        const detail = detailOf(entry)
        const name = names.get(entry.seq) ?? null
        return [
          ...[...placeOf(entry), entry.approvalId, entry.callId, text(detail['decision']) ?? OVERRIDE],
          ...[entry.reviewer, name, entry.reviewerGroup, text(detail['via']), text(detail['assurance'])],
          ...[reasons.get(entry.seq) ?? null, ...agentOf(entry), ...actionOf(entry), entry.rule],
        ]
      })
    },
  }
}

const decisions: Population = {
  title: 'Decisions',
  about: 'every vote: who, by which group, over which surface, how sure of them, and why',
  ...decisionsOf(['vote']),
}

const overrides: Population = {
  title: 'Overrides',
  about: 'every time that a named person answered in place of a quorum',
  ...decisionsOf(['override']),
}

const suspensions: Population = {
  title: 'Suspensions',
  about: 'who was stopped or let go on, by whom, and why',
  kinds: ['breaker_tripped', 'agent_suspended', 'agent_resumed'],
  columns: ['seq', 'at', 'kind', 'issuer', 'subject', 'by', 'via', 'assurance', 'reason', 'breaker', 'breaker_effect'],
  async write({ tx }, entries) {
    const reasons = await readReasons(tx, entries)
    return entries.map((entry) => {
      const { via, assurance, effect } = detailOf(entry)
      const who = [entry.kind, entry.issuer, entry.subject, entry.reviewer]
      const why = [text(via), text(assurance), reasons.get(entry.seq) ?? null]
      return [...placeOf(entry), ...who, ...why, entry.rule, text(effect)]
    })
  },
}

export const POPULATIONS = { calls, held, decisions, overrides, suspensions } as const
export type PopulationName = keyof typeof POPULATIONS

/** How each call ended, by its id; not that it was pending for a while. */
async function readEnds(tx: Tx, entries: readonly LogEntry[]) {
  const { rows } = await tx.query<{ call_id: string; at: Date; outcome: string; approval_id: string | null }>(
    `SELECT call_id, at, outcome, approval_id FROM countersign.audit_entry
     WHERE call_id = ANY ($1::uuid[]) AND kind = 'outcome' AND outcome <> 'pending' ORDER BY seq`,
    [entries.map(({ callId }) => callId)],
  )
  return new Map(rows.map((row) => [row.call_id, row]))
}

interface Course {
  readonly state: string
  readonly decidedAt: string | null
  readonly spentAt: string | null
}

/** What became of approvals, by their ids. */
async function readCourses(tx: Tx, entries: readonly LogEntry[]): Promise<ReadonlyMap<string, Course>> {
  const { rows } = await tx.query<{ approval_id: string; kind: string; at: Date; body: Buffer }>(
    `SELECT approval_id, kind, at, body FROM countersign.audit_entry
     WHERE approval_id IS NOT NULL AND approval_id = ANY ($1::text[]) AND kind IN ('decided', 'spent') ORDER BY seq`,
    [entries.map(({ approvalId }) => approvalId)],
  )
  const courses = new Map<string, Course>()
  for (const { approval_id, kind, at, body } of rows) {
    const before = courses.get(approval_id) ?? { state: 'pending', decidedAt: null, spentAt: null }
    const time = writeTime(at.getTime())
    const state = text(memberOf(parseBody(body), 'detail')['state']) ?? before.state
    courses.set(
      approval_id,
      kind === 'spent' ? { ...before, state: 'spent', spentAt: time } : { ...before, state, decidedAt: time },
    )
  }
  return courses
}

/** The reasons that entries commit to, by their numbers, as far as they were not erased. */
async function readReasons(tx: Tx, entries: readonly LogEntry[]): Promise<ReadonlyMap<number, string>> {
  const values = new Map((await readMeanings(tx, entries)).map(({ commitment, value }) => [commitment, value]))
  const reasons = new Map<number, string>()
  for (const { seq, body } of entries) {
    const value = values.get(text(parseBody(body)?.['reason']) ?? '')
    if (value !== undefined) reasons.set(seq, value)
  }
  return reasons
}

function detailOf({ body }: LogEntry): Readonly<Record<string, unknown>> {
  return memberOf(parseBody(body), 'detail')
}

function memberOf(value: Readonly<Record<string, unknown>> | null, name: string): Readonly<Record<string, unknown>> {
  const member = value?.[name]
  // Every member is checked where it is used.
  return typeof member === 'object' && member !== null ? (member as Readonly<Record<string, unknown>>) : {}
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function writeTime(ms: number): string {
  return new Date(ms).toISOString()
}
