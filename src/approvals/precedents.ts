import { createHash } from 'node:crypto'
import type { Card } from '../domain/card.ts'
import { GatewayError } from '../domain/error.ts'
import type { Approver, Precedent, Precedents } from '../domain/precedent.ts'
import { formatParty, isInClosure, type Person } from '../domain/principal.ts'
import type { Tx } from '../platform/database.ts'
import { type DelegationRow, readStandIns } from './delegations.ts'
import { compareCards, hasSameActions } from './difference.ts'
import { grantOf } from './grants.ts'
import type { Ground } from './ground.ts'
import { isOverridden, isOverride } from './override.ts'
import { isDenied, meetsAll } from './quorum.ts'
import { maySee, openCard, readCard } from './read.ts'
import { APPROVAL_COLUMNS, type ApprovalRow } from './row.ts'
import { type Held, readHeld, readNow, withVotes } from './store.ts'
import { castsOf, opponents, supporters, type VoteRow } from './votes.ts'

/** Decisions that are looked at, the newest of each kind: many of one never push out the others. */
const MOST: Readonly<Record<string, number>> = { approved: 20, spent: 50, denied: 20 }
const MOST_PEOPLE = 5

/** For whom: what a person may see, or what a channel was told. */
export type Viewer = { readonly person: Person } | { readonly channel: string }

interface Candidate extends ApprovalRow {
  readonly wrapped: Buffer | null
  readonly sealed: Buffer | null
}

/** Something that was decided before, with the card that it was decided on. */
interface Decided extends Held {
  readonly card: Card
  readonly verdict: 'approved' | 'overridden' | 'granted' | 'denied'
}

/**
 * What people decided on the same call before. Counted is only what the gateway signed: the record, the votes that the
 * decision follows from, the card. And only while the card is kept, since what cannot be compared is no precedent.
 */
export function createPrecedents(
  ground: Pick<Ground, 'database' | 'keys' | 'ended' | 'hasSchema' | 'log'>,
  { keepMs }: { keepMs: number },
) {
  const { database, keys, log } = ground

  /** Null if there is no such approval for this viewer, or its card was erased. */
  return async function find(id: string, viewer: Viewer): Promise<Precedents | null> {
    const held = await readHeld(database, keys, { id })
    const now = await readNow(database)
    const standIns = 'person' in viewer ? await readStandIns(ground, database, viewer.person) : []
    const at = { standIns, now }
    if (!held?.isGenuine || !isShownTo(held, viewer, at)) return null
    const card = await readCard(ground, database, held)
    if (!card) return null
    const candidates = await readCandidates(database, { row: held.row, viewer, keepMs })
    const all = await withVotes(database, keys, candidates)
    const decided = all.flatMap((one, index): readonly Decided[] => {
      const { wrapped = null, sealed = null } = candidates[index] ?? {}
      if (!one.isGenuine || !isShownTo(one, viewer, at)) return []
      const verdict = verdictOf(one)
      const shown = verdict && open(one.row, { wrapped, sealed })
      return shown && hasSameActions(shown, card) ? [{ ...one, verdict, card: shown }] : []
    })
    return summarise({ held, card, decided, keepMs, isPartial: isPartial(candidates) })
  }

  /** Null if somebody put another ciphertext in its place. */
  function open(row: ApprovalRow, kept: { wrapped: Buffer | null; sealed: Buffer | null }): Card | null {
    try {
      const found = openCard(keys, row, kept)
      return found && createHash('sha256').update(found.bytes).digest().equals(row.card_hash) ? found.card : null
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      log.warn({ err: error, approval: row.id }, 'an earlier card was altered, and is not counted')
      return null
    }
  }
}

function isShownTo(
  held: Held,
  viewer: Viewer,
  at: { readonly standIns: readonly DelegationRow[]; readonly now: Date },
): boolean {
  return !('person' in viewer) || maySee(held, { person: viewer.person, ...at })
}

/** As the database has them, the newest first; nothing of it is believed yet. */
async function readCandidates(
  tx: Tx,
  { row, viewer, keepMs }: { row: ApprovalRow; viewer: Viewer; keepMs: number },
): Promise<readonly Candidate[]> {
  // `statement_timestamp`, unlike `clock_timestamp`, can be looked up in an index.
  const { rows } = await tx.query<Candidate>(
    `SELECT found.* FROM unnest($1::text[], $2::int[]) AS wanted (state, most),
       LATERAL (SELECT ${APPROVAL_COLUMNS}, wrapped_key AS wrapped, sealed_card AS sealed FROM approval a
         WHERE principal_key = $3 AND a.state = wanted.state AND wrapped_key IS NOT NULL
           AND hashtextextended(upstream || ' ' || verb || ' ' || resource, 0)
             = hashtextextended($4::text || ' ' || $5::text || ' ' || $6::text, 0)
           AND upstream = $4 AND verb = $5 AND resource = $6 AND id <> $7
           AND decided_at > statement_timestamp() - $8 * interval '1 millisecond'
           AND decided_at <= coalesce($9::timestamptz, statement_timestamp())
           AND ($10::text IS NULL OR EXISTS (SELECT FROM outbox o WHERE o.approval = a.id AND o.channel = $10
             AND o.kind = 'card' AND o.end_result = 'delivered'))
         ORDER BY decided_at DESC LIMIT wanted.most) AS found
     ORDER BY decided_at DESC, id`,
    [
      Object.keys(MOST),
      Object.values(MOST),
      row.principal_key,
      row.upstream,
      row.verb,
      row.resource,
      row.id,
      keepMs,
      row.decided_at,
      'channel' in viewer ? viewer.channel : null,
    ],
  )
  return rows
}

function isPartial(candidates: readonly Candidate[]): boolean {
  return Object.entries(MOST).some(([state, most]) => candidates.filter((one) => one.state === state).length >= most)
}

/**
 * What its signed votes say; null if they do not bear out what the database says. A delegation that ended since takes
 * nothing back of what was decided by it.
 */
function verdictOf({ row, votes }: Held): Decided['verdict'] | null {
  const casts = castsOf(row, votes)
  const against = opponents(casts)
  if (row.state === 'denied') return against.length > 0 ? 'denied' : null
  const yes = supporters(row, casts)
  const asked = { requirements: row.requirements, openedAt: row.created_at }
  // It was denied, and somebody wrote something else.
  if (isDenied(asked, against) || against.some((vote) => isInClosure(row.requester, vote))) return null
  if (isOverridden(row.requirements, yes) && against.length === 0) return 'overridden'
  const themselves = yes.filter((vote) => grantOf(vote) === null)
  if (meetsAll(asked, themselves)) return 'approved'
  return themselves.length < yes.length ? 'granted' : null
}

function summarise({
  held,
  card,
  decided,
  keepMs,
  isPartial,
}: {
  readonly held: Held
  readonly card: Card
  readonly decided: readonly Decided[]
  readonly keepMs: number
  readonly isPartial: boolean
}): Precedents {
  const of = (verdict: Decided['verdict']) => decided.filter((one) => one.verdict === verdict)
  const [approved, denied] = [of('approved'), of('denied')]
  const toPrecedent = (one: Decided | undefined) => (one ? precedentOf(one, { held, card }) : null)
  return {
    withinMs: keepMs,
    isPartial,
    approved: approved.length,
    identical: approved.filter(({ row }) => row.match_key.equals(held.row.match_key)).length,
    overridden: of('overridden').length,
    granted: of('granted').length,
    denied: denied.length,
    approvers: countPeople(approved),
    lastApproved: toPrecedent(approved[0]),
    lastDenied: toPrecedent(denied[0]),
  }
}

function precedentOf(before: Decided, { held, card }: { held: Held; card: Card }): Precedent {
  const { row, votes, verdict } = before
  const deciding = verdict === 'denied' ? opponents(votes) : supporters(row, votes)
  const extent = row.digest.equals(held.row.digest)
    ? 'none'
    : row.match_key.equals(held.row.match_key)
      ? 'attempt'
      : 'content'
  return {
    approval: row.id,
    at: (row.decided_at ?? row.created_at).getTime(),
    by: deciding.slice(0, MOST_PEOPLE).map((vote) => ({ reviewer: nameOf(vote), reason: vote.reason, via: vote.via })),
    difference: compareCards(before.card, card, extent),
  }
}

/** Who approved, and how often; those who did most often first. */
function countPeople(approved: readonly Decided[]): readonly Approver[] {
  const counts = new Map<string, Approver>()
  for (const vote of approved.flatMap(({ row, votes }) => supporters(row, votes))) {
    if (grantOf(vote) !== null || isOverride(vote)) continue
    const key = formatParty(vote)
    const before = counts.get(key)
    counts.set(key, before ? { ...before, times: before.times + 1 } : { reviewer: nameOf(vote), times: 1 })
  }
  return [...counts.values()].sort((a, b) => b.times - a.times).slice(0, MOST_PEOPLE)
}

function nameOf({ issuer, subject, name }: VoteRow): Approver['reviewer'] {
  return { issuer, subject, name }
}
