import type { Approval, State } from '../domain/approval.ts'
import type { Card } from '../domain/card.ts'
import type { Absentee } from '../domain/delegation.ts'
import { isEntitled, mayOverride } from '../domain/entitlement.ts'
import type { OutcomeName } from '../domain/entry.ts'
import { formatParty, isSameParty, type Person, type Principal, principalKey } from '../domain/principal.ts'
import type { Question } from '../domain/question.ts'
import type { Tx } from '../platform/database.ts'
import { absentPerson, type DelegationRow, findStandIn, readStandIns } from './delegations.ts'
import type { Ground } from './ground.ts'
import { readQuestions } from './questions.ts'
import { isOver } from './refusals.ts'
import { APPROVAL_COLUMNS, type ApprovalRow, outcomeOf } from './row.ts'
import { unseal } from './seal.ts'
import { approvalOf, type Held, readHeld, readNow, withVotes } from './store.ts'

/** An approval with what reviewers are shown of it; the card is null once its key was erased. */
export interface Shown {
  readonly approval: Approval
  readonly card: Card | null
  /** How the call that used it ended; null if none has. */
  readonly outcome: OutcomeName | null
  /** What the agent was asked about it, in order. */
  readonly questions: readonly Question[]
  /** Who is away, and for whom this person would decide it. */
  readonly standsFor?: Absentee
}

export interface ListFilter {
  /** Those still open, if left out. */
  readonly states?: readonly State[]
  readonly upstream?: string
  /** Only calls of this one. */
  readonly requester?: Principal
  /** Only calls of an agent of this subject, or `issuer|subject`. */
  readonly agent?: string
  /** Only what somebody of this subject or `issuer|subject` voted on, or whose name begins so, whatever its case. */
  readonly voter?: string
  /** Only what was opened from then on, or before then; milliseconds since the epoch. */
  readonly from?: number
  readonly until?: number
  /** `open`: only what waits for votes, is put to this person and has none of theirs. `closed`: only the rest. */
  readonly ballot?: 'open' | 'closed'
  /** Only what was opened before this one: the last of the page before. */
  readonly before?: { readonly createdAt: number; readonly id: string }
  /** At most 200. */
  readonly limit?: number
}

const MOST_LISTED = 200
const OPEN: readonly State[] = ['pending', 'approved']

/** Pages that one list may read: what a person may not see after all is left out of them. */
const MOST_PAGES = 10

/** What a person may see, newest first. What somebody altered in the database is left out. */
export async function listApprovals(
  ground: Ground,
  { person, filter }: { person: Person; filter: ListFilter },
): Promise<readonly Approval[]> {
  const { database, keys } = ground
  const limit = Math.min(Math.max(filter.limit ?? 50, 1), MOST_LISTED)
  const now = await readNow(database)
  const standIns = await readStandIns(ground, database, person)
  const seen: Approval[] = []
  let before = filter.before ?? null
  for (let page = 0; page < MOST_PAGES; page++) {
    const rows = await readPage(database, { person, standIns, filter, before, limit })
    const all = await withVotes(database, keys, rows)
    seen.push(...all.filter((held) => held.isGenuine && maySee(held, { person, standIns, now })).map(approvalOf))
    const last = rows.at(-1)
    if (!last || rows.length < limit || seen.length >= limit) break
    before = { createdAt: last.created_at.getTime(), id: last.id }
  }
  return seen.slice(0, limit)
}

/** Candidates: what a person may see for all that the database knows. */
async function readPage(
  tx: Tx,
  how: {
    person: Person
    standIns: readonly DelegationRow[]
    filter: ListFilter
    before: NonNullable<ListFilter['before']> | null
    limit: number
  },
): Promise<readonly ApprovalRow[]> {
  const { person, standIns, filter, before, limit } = how
  const states = filter.states ?? OPEN
  // Said in so many words, so that an index of what is open is used: there may be a million that are over.
  const isOpen = states.every((state) => OPEN.includes(state))
  const { rows } = await tx.query<ApprovalRow>(
    `SELECT ${APPROVAL_COLUMNS} FROM approval
     WHERE state = ANY($1) ${isOpen ? "AND state IN ('pending', 'approved')" : ''}
       AND ($2::text IS NULL OR upstream = $2)
       AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4))
       AND ($5 OR audience && $6 OR owner = $7)
       AND ($8::bytea IS NULL OR principal_key = $8)
       AND ($10::timestamptz IS NULL OR created_at >= $10) AND ($11::timestamptz IS NULL OR created_at < $11)
       AND ($12::text IS NULL
         OR hashtextextended(requester ->> 'subject', 0) IN (hashtextextended($12, 0), hashtextextended($15, 0))
         AND $12 IN (requester ->> 'subject', (requester ->> 'issuer') || '|' || (requester ->> 'subject')))
       AND ($13::text IS NULL OR EXISTS (SELECT FROM vote v WHERE v.approval = approval.id
         AND ($13 IN (v.subject, v.issuer || '|' || v.subject) OR starts_with(lower(v.name), lower($13)))))
       AND ($14::boolean IS NULL OR $14 = (state = 'pending' AND audience && $6
         AND NOT EXISTS (SELECT FROM vote v WHERE v.approval = approval.id AND v.issuer || '|' || v.subject = $7)))
     ORDER BY created_at DESC, id DESC LIMIT $9`,
    [
      states,
      filter.upstream ?? null,
      before ? new Date(before.createdAt) : null,
      before?.id ?? null,
      isAuditor(person),
      [...selectorsNaming(person), ...standIns.map(formatParty)],
      formatParty(person),
      filter.requester ? principalKey(filter.requester) : null,
      limit,
      filter.from === undefined ? null : new Date(filter.from),
      filter.until === undefined ? null : new Date(filter.until),
      filter.agent ?? null,
      filter.voter ?? null,
      filter.ballot === undefined ? null : filter.ballot === 'open',
      // A subject may hold the bar, and an issuer may not: what follows the first one, or all of it, is the subject.
      filter.agent?.slice(filter.agent.indexOf('|') + 1) ?? null,
    ],
  )
  return rows
}

/** Null if there is none, or none that this person may see: the two are not told apart. */
export async function findFor(ground: Ground, id: string, person: Person): Promise<Shown | null> {
  const { database } = ground
  const held = await readHeld(database, ground.keys, { id })
  const now = await readNow(database)
  const standIns = await readStandIns(ground, database, person)
  if (!held?.isGenuine || !maySee(held, { person, standIns, now })) return null
  const standIn = findStandIn(held.row, { person, standIns, votes: held.votes, now })
  const card = await readCard(ground, ground.database, held)
  const questions = await readQuestions(ground, ground.database, held.row)
  const shown = { approval: approvalOf(held), card, outcome: outcomeOf(held.row), questions }
  return standIn ? { ...shown, standsFor: absentPerson(standIn) } : shown
}

/** For the gateway's own use, whoever asks. Null if there is none, it was altered, or its card was erased. */
export async function show(ground: Ground, id: string): Promise<(Omit<Shown, 'outcome'> & { card: Card }) | null> {
  const held = await readHeld(ground.database, ground.keys, { id })
  const card = held?.isGenuine ? await readCard(ground, ground.database, held) : null
  if (!held || !card) return null
  return { approval: approvalOf(held), card, questions: await readQuestions(ground, ground.database, held.row) }
}

/**
 * The card as it was shown: it has to have the hash that was signed. Null if its key was erased. Throws `GatewayError`
 * if somebody put another ciphertext in its place.
 */
export async function readCard({ keys }: Pick<Ground, 'keys'>, tx: Tx, { row }: Held): Promise<Card | null> {
  const { rows } = await tx.query<{ wrapped: Buffer | null; sealed: Buffer | null }>(
    'SELECT wrapped_key AS wrapped, sealed_card AS sealed FROM approval WHERE id = $1',
    [row.id],
  )
  return (rows[0] && openCard(keys, row, rows[0])?.card) ?? null
}

/** Reads a card that is at hand; as `readCard`. The bytes are what its hash is of. */
export function openCard(
  keys: Ground['keys'],
  row: Held['row'],
  { wrapped, sealed }: { wrapped: Buffer | null; sealed: Buffer | null },
): { readonly card: Card; readonly bytes: Buffer } | null {
  const bytes = unseal(keys.payload, { ...row, wrapped }, { field: 'card', sealed })
  // It was authenticated together with the approval it belongs to: nobody but `encodeCard` wrote it.
  return bytes && { card: JSON.parse(bytes.toString('utf8')) as Card, bytes }
}

/**
 * Those who may vote on it, for themselves or for somebody who is away, or override it, the requester's owner, and auditors. Whom it would have escalated to has no part in one that
 * was over before.
 */
export function maySee(
  { row, votes }: Held,
  { person, standIns, now }: { person: Person; standIns: readonly DelegationRow[]; now: Date },
): boolean {
  if (isAuditor(person)) return true
  const at = (isOver(row.state) && row.decided_at) || now
  const moment = { openedAt: row.created_at.getTime(), at: at.getTime() }
  if (row.requirements.some((requirement) => isEntitled(requirement, person, moment))) return true
  if (mayOverride(row.requirements, person)) return true
  if (findStandIn(row, { person, standIns, votes, now: at })) return true
  return row.requester.owner !== null && isSameParty(row.requester.owner, person)
}

function isAuditor(person: Person): boolean {
  return person.roles.includes('auditor')
}

/** Every written selector that names this person. */
function selectorsNaming(person: Person): readonly string[] {
  const groups = person.groups.flatMap(({ issuerName, name }) => [`group:${name}`, `group:${issuerName}/${name}`])
  return ['*', formatParty(person), ...groups]
}
