import type { Approval, Spent } from '../domain/approval.ts'
import type { Exchange } from '../domain/call.ts'
import { GatewayError } from '../domain/error.ts'
import { formatParty, isInClosure, isSameParty, type Person, principalKey, suspendable } from '../domain/principal.ts'
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts'
import type { Requirement, Verdict } from '../domain/verdict.ts'
import type { Clock } from '../platform/clock.ts'
import type { Tx } from '../platform/database.ts'
import { absentPerson } from './delegations.ts'
import { expireOverdue, withdraw } from './end.ts'
import { grantUsedEntry, spentEntry } from './entries.ts'
import { countUses, type GrantRow, grantOf, isAbout, isGenuineGrant, readGrants, rulesOf } from './grants.ts'
import type { Ground } from './ground.ts'
import { isOverridden } from './override.ts'
import { type Cast, isDenied, meetsAll } from './quorum.ts'
import { refuseFor } from './refusals.ts'
import { APPROVAL_COLUMNS, type ApprovalRow } from './row.ts'
import type { Standing } from './standing.ts'
import { announce, approvalOf, type Held, isOverdue, readHeld, readNow } from './store.ts'
import { castsOf, opponents, supporters, toVote, type VoteRow, withoutEnded } from './votes.ts'

interface Terms {
  /** What policy says at this moment. */
  readonly verdict: Verdict
  /** SHA-256 of what would be forwarded, computed anew. */
  readonly digest: Buffer
}

/** Only after this may another replica say that the outcome is not known. */
export const START_WITHIN_MS = 2000

/** How far apart the store's clock and this process's may be, before a deadline that the store does not see counts. */
const MOST_SKEW_MS = 60_000

const ATTEMPTS = 3

/** Taken, with the number of its entry. */
interface Taken {
  readonly spent: Spent
  readonly seq: number
}

/** What a transaction found that has to be acted on after it. */
type Finding = {
  readonly end: 'tampered' | 'reviewers_changed' | 'policy_changed' | 'call_changed' | 'grant_ended' | 'suspended'
}
type Result = Taken | Refusal | Finding | 'overdue' | 'again'

/**
 * Uses an approval up: once, whoever tries, on whatever replica. The quorum is counted anew from votes whose MAC holds,
 * by people still entitled, against the requirements of this moment; then one statement takes it, bound to the digest,
 * the principal and the deadline, and not if the agent is suspended or the log knows it as used; its entry is chained in
 * the same transaction. Throws `GatewayError` if the store or the log fails; then nothing may be forwarded.
 */
export function createSpending(
  ground: Ground,
  {
    clock,
    replicaId,
    standing,
    persistHead,
  }: {
    readonly clock: Clock
    readonly replicaId: string
    readonly standing: Standing
    /** Writes down outside the store that the spend is committed: a restore that lost it has to be noticed. */
    persistHead(spentSeq: number): Promise<void>
  },
): (approval: Approval, call: Exchange, terms: Terms) => Promise<Spent | Refusal> {
  const overtaken = new GatewayError('store', 'somebody was suspended at that very moment')
  const ungranted = new GatewayError('store', 'a grant ended at that very moment')

  return async function spend(approval, call, terms) {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      // Asking how people stand may take a network: before the transaction, never in it.
      const before = await readHeld(ground.database, ground.keys, { id: approval.id })
      if (!before) return refuse('withdrawn', `Not executed. There is no approval ${approval.id}.`)
      const people = await standings(before)
      const result = await tryOnce(approval.id, { call, terms, people })
      if (result !== 'again') return settle(approval.id, result)
    }
    throw new GatewayError('store', 'an approval could not be used: suspensions kept changing')
  }

  async function standings(held: Held): Promise<ReadonlyMap<string, Standings>> {
    const votes = supporters(held.row, held.votes)
    const asked = votes.map(async (vote) => {
      const { delegation } = vote
      const [person, absent] = await Promise.all([
        standing(toVote(vote).reviewer),
        delegation ? standing(absentPerson(delegation)) : null,
      ])
      return [vote.mac.toString('hex'), { person, absent }] as const
    })
    return new Map(await Promise.all(asked))
  }

  async function tryOnce(
    id: string,
    { call, terms, people }: { call: Exchange; terms: Terms; people: ReadonlyMap<string, Standings> },
  ): Promise<Result> {
    try {
      return await ground.database.transaction(async (tx) => {
        const held = await readHeld(tx, ground.keys, { id, lock: true })
        if (!held?.isGenuine) return { end: 'tampered' }
        if (held.row.state !== 'approved') return refuseFor(approvalOf(held))
        // It was over already: somebody put it back.
        if (ground.ended.has(id)) return { end: 'tampered' }
        const votes = supporters(held.row, castsOf(held.row, held.votes))
        if (isLate(held.row, votes)) {
          ground.log.error({ approval: id }, 'by this clock the approval is overdue: the clock of the store is behind')
          return refuseFor({ id, state: 'expired', reason: null, requirements: [] })
        }
        const grants = await readGrants(tx, grantsOf(votes))
        const casts = limitToGrants(held.row, { votes, grants })
        if (!casts) return { end: 'tampered' }
        if (grants.some(isLapsed)) return { end: 'grant_ended' }
        const away = await readSuspended(tx, casts)
        const present = withoutEnded(casts, ground.ended.has).flatMap(({ standsFor, ...vote }) => {
          const { person = null, absent = null } = people.get(vote.mac.toString('hex')) ?? {}
          const isAway = standsFor && absent && !away.suspended.has(formatParty(standsFor))
          return person ? [{ ...vote, ...person, ...(isAway && { standsFor: absent }) }] : []
        })
        const end = findShortage(held, { votes: casts, present, requirements: requirementsOf(call, terms.verdict) })
        return end ? { end } : await take(tx, held, { call, terms, votes, epoch: away.epoch })
      })
    } catch (error) {
      if (error === overtaken) return 'again'
      if (error === ungranted) return { end: 'grant_ended' }
      throw error
    }
  }

  /** Each vote that a grant stood for, bound to the rules of that grant; null if there is no such grant. */
  function limitToGrants(
    row: ApprovalRow,
    { votes, grants }: { votes: readonly (VoteRow & Cast)[]; grants: readonly GrantRow[] },
  ): readonly (VoteRow & Cast)[] | null {
    const casts: (VoteRow & Cast)[] = []
    for (const vote of votes) {
      const id = grantOf(vote)
      const grant = id === null ? null : grants.find((one) => one.id === id)
      if (grant === undefined || (grant && !standsFor(grant, row, vote))) return null
      casts.push(grant ? { ...vote, grantedRules: rulesOf(grant) } : vote)
    }
    return casts
  }

  function standsFor(grant: GrantRow, row: ApprovalRow, vote: VoteRow): boolean {
    return isGenuineGrant(ground.keys.mac, grant) && isSameParty(grant, vote) && isAbout(grant, row)
  }

  /** By this process's own clock: whoever has the store has its clock too, and could keep an approval from ending. */
  function isLate(row: ApprovalRow, votes: readonly VoteRow[]): boolean {
    const last = lastOf(votes)
    return last !== null && clock.now() > last.getTime() + row.use_within_ms + MOST_SKEW_MS
  }

  /** The same of a grant; by the store's clock it ends when its use is counted. */
  function isLapsed({ until }: GrantRow): boolean {
    return clock.now() > until.getTime() + MOST_SKEW_MS
  }

  async function take(
    tx: Tx,
    held: Held,
    {
      call,
      terms,
      votes,
      epoch: seen,
    }: { call: Exchange; terms: Terms; votes: readonly VoteRow[]; epoch: number | null },
  ): Promise<Result> {
    const parties = suspendable(call.principal)
    const startBy = clock.monotonic() + START_WITHIN_MS
    const { rows } = await tx.query<ApprovalRow & { epoch: number }>(
      `UPDATE approval SET state = 'spent', spent_at = date_trunc('milliseconds', clock_timestamp()),
         spent_call = $4, spent_by = $5
       WHERE id = $1 AND state = 'approved' AND digest = $2 AND principal_key = $3 AND use_by > clock_timestamp()
         AND $6::timestamptz + use_within_ms * interval '1 millisecond' > clock_timestamp()
         AND NOT EXISTS (SELECT FROM suspension s JOIN unnest($7::text[], $8::text[]) AS p (issuer, subject)
           USING (issuer, subject))
         AND NOT EXISTS (SELECT FROM audit_entry e WHERE e.approval_id = $1 AND e.kind = 'spent')
       RETURNING ${APPROVAL_COLUMNS}, (SELECT epoch FROM suspension_epoch) AS epoch`,
      [
        held.row.id,
        terms.digest,
        principalKey(call.principal),
        call.id,
        replicaId,
        lastOf(votes),
        parties.map((party) => party.issuer),
        parties.map((party) => party.subject),
      ],
    )
    const row = rows[0]
    if (!row) return diagnose(tx, held, { call, terms })
    if (seen !== null && seen !== row.epoch) throw overtaken
    const granted = votes.filter((vote) => grantOf(vote) !== null)
    if (!(await countUses(tx, grantsOf(granted)))) throw ungranted
    await announce(tx, [row.id])
    const uses = granted.map((vote) => grantUsedEntry(row, { callId: call.id, vote }))
    const { epoch, seq } = await ground.within(tx, [...uses, spentEntry(row, { callId: call.id, votes })])
    // Somebody was suspended between the statement and the chain's lock; under the lock nobody can be.
    if (epoch !== row.epoch) throw overtaken
    if (granted.length > 0) ground.metrics.grantUses.inc({ upstream: row.upstream }, granted.length)
    return { spent: { ...approvalOf({ ...held, row }), startBy }, seq }
  }

  /** Why nothing was taken. */
  async function diagnose(tx: Tx, { row }: Held, { call, terms }: { call: Exchange; terms: Terms }): Promise<Result> {
    if (!row.principal_key.equals(principalKey(call.principal))) {
      return refuse('not_approved', `Not executed. Approval ${row.id} is another principal's.`)
    }
    if (!row.digest.equals(terms.digest)) return { end: 'call_changed' }
    const parties = suspendable(call.principal)
    const { rows } = await tx.query<{ is_suspended: boolean }>(
      `SELECT EXISTS (SELECT FROM suspension s JOIN unnest($1::text[], $2::text[]) AS p (issuer, subject)
         USING (issuer, subject)) AS is_suspended`,
      [parties.map((party) => party.issuer), parties.map((party) => party.subject)],
    )
    if (rows[0]?.is_suspended) return { end: 'suspended' }
    // What remains is that the log knows it as used, or that its deadline is later than its last vote allows.
    return isOverdue(row, await readNow(tx)) ? 'overdue' : { end: 'tampered' }
  }

  async function settle(id: string, result: Exclude<Result, 'again'>): Promise<Spent | Refusal> {
    if (result === 'overdue') {
      await expireOverdue(ground, { ids: [id], most: 1 })
    } else if (isRefusal(result)) {
      return result
    } else if ('spent' in result) {
      ground.ended.note([id])
      await persistHead(result.seq)
      return inTime(result.spent)
    } else {
      await withdraw(ground, id, result.end)
      if (result.end === 'suspended') return refuseSuspended(id)
    }
    const held = await readHeld(ground.database, ground.keys, { id })
    return held ? refuseFor(approvalOf(held)) : refuse('withdrawn', `Not executed. There is no approval ${id}.`)
  }

  function inTime(spent: Spent): Spent | Refusal {
    if (clock.monotonic() < spent.startBy) return spent
    return refuse(
      'unavailable',
      `Not executed. Approval ${spent.id} was used up, but too late to forward the call. Repeat it to ask again.`,
      { approval: spent.id, retryAfterS: 2 },
    )
  }
}

/** How somebody who voted stands, and whoever they stood in for. */
interface Standings {
  readonly person: Person | null
  readonly absent: Person | null
}

/** Who is suspended of those who were stood in for, and at which epoch that is so. */
async function readSuspended(
  tx: Tx,
  casts: readonly Cast[],
): Promise<{ readonly suspended: ReadonlySet<string>; readonly epoch: number | null }> {
  const absent = casts.flatMap(({ standsFor }) => standsFor ?? [])
  if (absent.length === 0) return { suspended: new Set(), epoch: null }
  const { rows } = await tx.query<{ epoch: number; issuer: string | null; subject: string | null }>(
    `SELECT e.epoch, s.issuer, s.subject FROM suspension_epoch e LEFT JOIN suspension s
       ON (s.issuer, s.subject) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    [absent.map(({ issuer }) => issuer), absent.map(({ subject }) => subject)],
  )
  const parties = rows.flatMap(({ issuer, subject }) =>
    issuer !== null && subject !== null ? [{ issuer, subject }] : [],
  )
  return { suspended: new Set(parties.map(formatParty)), epoch: rows[0]?.epoch ?? null }
}

function grantsOf(votes: readonly VoteRow[]): readonly string[] {
  return votes.flatMap((vote) => grantOf(vote) ?? [])
}

/** Nobody needs a vote for what policy allows by now, or where the gateway only watches. */
function requirementsOf(call: Exchange, verdict: Verdict): readonly Requirement[] {
  return verdict.effect === 'hold' && call.upstream.mode === 'enforce' ? verdict.requirements : []
}

function lastOf(votes: readonly VoteRow[]): Date | null {
  return votes.reduce<Date | null>((last, { at }) => (last === null || at > last ? at : last), null)
}

function refuseSuspended(id: string): Refusal {
  return refuse('suspended', 'Not executed. This agent is suspended; a person has to resume it.', { approval: id })
}

/** Why the votes do not suffice; null if they do. */
function findShortage(
  { row, votes: all }: Held,
  {
    votes,
    present,
    requirements,
  }: {
    votes: readonly (VoteRow & Cast)[]
    /** The same people as they stand now, with the time and the kind of their votes. */
    present: readonly (VoteRow & Cast)[]
    requirements: readonly Requirement[]
  },
): Finding['end'] | null {
  const openedAt = row.created_at
  const asked = { requirements: row.requirements, openedAt }
  // It says that it is approved, but those who signed do not suffice, or have denied it: somebody wrote that.
  const against = opponents(castsOf(row, all))
  const suffice = (needed: readonly Requirement[], people: readonly (VoteRow & Cast)[]) =>
    meetsAll({ requirements: needed, openedAt }, people) || (against.length === 0 && isOverridden(needed, people))
  const isStopped = isDenied(asked, against) || against.some((vote) => isInClosure(row.requester, vote))
  if (!suffice(row.requirements, votes) || isStopped) return 'tampered'
  if (suffice(requirements, present)) return null
  return suffice(row.requirements, present) ? 'policy_changed' : 'reviewers_changed'
}
