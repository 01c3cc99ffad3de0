import type { Approval, Ballot, BallotFault, BallotResult } from '../domain/approval.ts'
import {
  type Approver,
  findAssuranceNeed,
  isEntitled,
  isOpenAt,
  mayApprove,
  mayOverride,
} from '../domain/entitlement.ts'
import { type GrantAsk, isWithinPermit } from '../domain/permit.ts'
import { isInClosure, isSameParty } from '../domain/principal.ts'
import type { Requirement } from '../domain/verdict.ts'
import type { Tx } from '../platform/database.ts'
import { newApprovalId } from '../platform/id.ts'
import { absentPerson, type DelegationRow, findStandIn, readStandIns, viaDelegation } from './delegations.ts'
import { expireOverdue, observeEnd, withdraw } from './end.ts'
import { decidedEntry, grantedEntry, overrideEntry, voteEntry } from './entries.ts'
import { revokeOwnWithin } from './grant-desk.ts'
import { type GrantRow, insertGrant, signGrant, toGrant } from './grants.ts'
import type { Ground } from './ground.ts'
import { isFresh, isOverridden, isOverride, viaOverride } from './override.ts'
import { readReplyCount } from './questions.ts'
import { type Cast, isDenied, meetsAll, momentOf } from './quorum.ts'
import { isOver } from './refusals.ts'
import type { ApprovalRow } from './row.ts'
import { toPerson, toSignedPerson } from './signed-person.ts'
import { announce, approvalOf, type Held, isOverdue, move, notify, readHeld, readNow } from './store.ts'
import { castOf, castsOf, opponents, signVote, supporters, type VoteRow, withoutEnded, writeVote } from './votes.ts'

/** Characters of a reason that are kept. */
const MOST_REASON = 2000

/** `isDenial`: whether it was this ballot that denied the approval. */
type Told = BallotResult & { readonly isDenial?: boolean }

/**
 * Counts a ballot, or says why not. The approval's row is locked for it, so that of a hundred people who press the
 * button at once each finds the votes of those before, and one transition happens. The same vote of the same person a
 * second time changes nothing and counts as done.
 */
export function createVoting(
  ground: Ground,
  onDenied: (approval: Approval) => Promise<unknown> = async () => undefined,
): (ballot: Ballot) => Promise<BallotResult> {
  return async function vote(given) {
    const ballot = { ...given, reason: cleanReason(given.reason) }
    const told = await ground.database.transaction((tx) => count(tx, ballot))
    if (typeof told === 'object') {
      const { isDenial, ...result } = told
      if (result.counted && isOver(result.approval.state)) ground.ended.note([result.approval.id])
      if (result.counted && isDenial) await tellDenied(result.approval)
      return result
    }
    const result = told
    if (result === 'tampered') await withdraw(ground, ballot.approval, 'tampered')
    else await expireOverdue(ground, { ids: [ballot.approval], most: 1 })
    const held = await readHeld(ground.database, ground.keys, { id: ballot.approval })
    return { counted: false, fault: 'already_decided', approval: held?.isGenuine ? approvalOf(held) : null }
  }

  /** The vote stands, whatever is made of it. */
  async function tellDenied(approval: Approval): Promise<void> {
    await onDenied(approval).catch((error: unknown) => {
      ground.log.error({ err: error, approval: approval.id }, 'a denial could not be counted')
    })
  }

  async function count(tx: Tx, ballot: Ballot): Promise<Told | 'tampered' | 'overdue'> {
    const held = await readHeld(tx, ground.keys, { id: ballot.approval, lock: true })
    if (!held) return { counted: false, fault: 'not_found', approval: null }
    // It was over already: somebody put it back, perhaps without the vote that ended it.
    if (ground.ended.has(ballot.approval) && !isOver(held.row.state)) return 'tampered'
    if (!held.isGenuine || held.forged.some((vote) => isSameParty(vote, ballot.reviewer))) return 'tampered'
    const now = await readNow(tx)
    const replies = ballot.decision === 'approve' ? await readReplyCount(ground, tx, held.row) : 0
    const standIn = ballot.isOverride ? null : await standInOf(tx, held, ballot, now)
    const { reviewer } = ballot
    const voter: Approver = standIn ? { ...reviewer, standsFor: absentPerson(standIn) } : reviewer
    const fault = findFault(held, ballot, { now, replies, voter })
    if (fault) return { counted: false, fault, approval: mayBeShown(fault) ? approvalOf(held) : null }
    if (hasVotedSo(held, ballot)) return { counted: true, approval: approvalOf(held) }
    if (isOverdue(held.row, now)) return 'overdue'
    const open = held.row.state === 'pending' || (held.row.state === 'approved' && ballot.decision === 'deny')
    if (!open) return { counted: false, fault: 'already_decided', approval: approvalOf(held) }
    // A no stays: who could be talked out of it would be asked until then.
    if (hasDenied(held, ballot)) return { counted: false, fault: 'already_denied', approval: approvalOf(held) }
    return cast(tx, held, { ballot, now, standIn })
  }

  /** By which delegation it is cast, if whoever votes is not named and stands in for somebody who is. */
  async function standInOf(tx: Tx, held: Held, { reviewer }: Ballot, now: Date): Promise<DelegationRow | null> {
    const standIns = await readStandIns(ground, tx, reviewer)
    return findStandIn(held.row, { person: reviewer, standIns, votes: held.votes, now })
  }

  async function cast(
    tx: Tx,
    held: Held,
    { ballot, now, standIn }: { ballot: Ballot; now: Date; standIn: DelegationRow | null },
  ): Promise<Told> {
    const vote = sign(held.row, ballot, { at: now, standIn })
    await writeVote(tx, vote)
    const votes = [...held.votes.filter((other) => !isSameParty(other, vote)), vote]
    const grant = ballot.grant ? await giveGrant(tx, held.row, { ask: ballot.grant, vote }) : null
    const isGrantable = held.row.requirements.some((requirement) => requirement.grant !== undefined)
    const revoked =
      vote.decision === 'deny' && isGrantable
        ? await revokeOwnWithin(tx, { approval: vote.approval, by: vote, via: vote.via })
        : []
    const entries = [...entriesOf(held, { vote, grant, replies: ballot.replies }), ...revoked]
    const given = grant && { grant: toGrant(grant) }
    const event = decide(held.row, votes, { vote, isEnded: ground.ended.has })
    if (!event) {
      await notify(tx, [held.row.id])
      await ground.within(tx, entries)
      return { counted: true, approval: approvalOf({ ...held, votes }), ...given }
    }
    const moved = await move(tx, held.row.id, { event, at: now, reason: event === 'deny' ? vote.reason : null })
    // The row is locked and its state was looked at: nobody can have moved it.
    if (!moved) return { counted: false, fault: 'already_decided', approval: approvalOf(held) }
    await announce(tx, [moved.id])
    await ground.within(tx, [...entries, decidedEntry(held.row, { state: moved.state, vote })])
    observeEnd(ground, moved)
    if (isOverride(vote) && event === 'approve') ground.metrics.overrides.inc({ upstream: moved.upstream })
    return { counted: true, approval: approvalOf({ ...held, row: moved, votes }), ...given, isDenial: event === 'deny' }
  }

  /** For every rule that permits it, and for which this very yes counts. */
  async function giveGrant(
    tx: Tx,
    row: ApprovalRow,
    { ask, vote }: { ask: GrantAsk; vote: VoteRow },
  ): Promise<GrantRow | null> {
    const rules = permitting(row, { ask, vote: castOf(vote) }).flatMap(({ rule, grant }) =>
      grant ? [{ policy: rule.policy, rule: rule.rule, hash: grant.ruleHash }] : [],
    )
    const facts = {
      id: newApprovalId(),
      approval: row.id,
      ...toSignedPerson(toPerson(vote)),
      reason: vote.reason,
      principal_key: row.principal_key,
      requester: row.requester,
      upstream: row.upstream,
      verb: row.verb,
      resource: row.resource,
      match_key: row.match_key,
      covers: ask.covers,
      rules,
      most_uses: ask.uses,
      given_at: vote.at,
      until: new Date(vote.at.getTime() + ask.minutes * 60_000),
    }
    const grant = { ...facts, ...signGrant(ground.keys.mac, facts) }
    return (await insertGrant(tx, grant)) ? { ...grant, uses: 0, revoked_at: null } : null
  }

  function sign(
    row: ApprovalRow,
    ballot: Ballot,
    { at, standIn }: { at: Date; standIn: DelegationRow | null },
  ): VoteRow {
    const via = standIn ? viaDelegation(standIn.id, ballot.via) : ballot.via
    const facts = {
      ...toSignedPerson(ballot.reviewer),
      decision: ballot.decision,
      reason: ballot.reason,
      via: ballot.isOverride ? viaOverride(via) : via,
      card_hash: row.card_hash,
      at,
    }
    const signed = { ...facts, approval: row.id, ...signVote(ground.keys.mac, row, facts) }
    return standIn ? { ...signed, delegation: standIn } : signed
  }
}

function entriesOf(
  held: Held,
  { vote, grant, replies }: { vote: VoteRow; grant: GrantRow | null; replies: number | undefined },
) {
  const { row, votes } = held
  const approvals = supporters(row, votes).filter((other) => !isSameParty(other, vote)).length
  return [
    voteEntry(row, vote, replies),
    ...(isOverride(vote) ? [overrideEntry(row, vote, { approvals })] : []),
    ...(grant ? [grantedEntry(row, grant)] : []),
  ]
}

/** The requirements for which a yes of this person counts, and that permit what is asked for. */
function permitting(row: ApprovalRow, { ask, vote }: { ask: GrantAsk; vote: Cast }): readonly Requirement[] {
  const moment = momentOf(vote, row.created_at)
  return row.requirements.filter(
    (one) => one.grant !== undefined && isWithinPermit(ask, one.grant) && mayApprove(one, vote, moment),
  )
}

function decide(
  row: ApprovalRow,
  votes: readonly VoteRow[],
  { vote, isEnded }: { vote: VoteRow; isEnded: (id: string) => boolean },
): 'approve' | 'deny' | null {
  const asked = { requirements: row.requirements, openedAt: row.created_at }
  const casts = withoutEnded(castsOf(row, votes), isEnded)
  const against = opponents(casts)
  const inFavour = supporters(row, casts)
  const isApproved = meetsAll(asked, inFavour) || (against.length === 0 && isOverridden(row.requirements, inFavour))
  if (vote.decision === 'approve') return isApproved ? 'approve' : null
  if (isInClosure(row.requester, vote) || isDenied(asked, against)) return 'deny'
  // Who takes a yes back that was needed has ended it: nothing leads from approved to pending.
  return row.state === 'approved' && !isApproved ? 'deny' : null
}

/**
 * Saying no is open to everyone who is entitled, at any hour, and to the requesting side itself: stopping one's own agent
 * harms nobody. Saying yes is not open to the requesting side, whatever groups it is in.
 *
 * Someone who may not see an approval is not told that it exists; who knows the hash of its card has been shown it.
 */
function findFault(held: Held, ballot: Ballot, facts: Facts): BallotFault | null {
  if (ballot.isOverride) return findOverrideFault(held, ballot, facts)
  const { now, replies, voter } = facts
  const { row, votes } = held
  const { reviewer, decision, grant: ask } = ballot
  const isOwnCall = isInClosure(row.requester, reviewer)
  const moment = momentOf({ at: now }, row.created_at)
  const entitling = row.requirements.filter((requirement) => isEntitled(requirement, voter, moment))
  const hasSeen = ballot.cardHash === row.card_hash.toString('hex')
  if (decision === 'approve' && isOwnCall) return 'self_approval'
  // Whoever said yes in place of those who are named may take it back.
  const isUndoing = decision === 'deny' && votes.some((vote) => isSameParty(vote, reviewer) && isOverride(vote))
  if (entitling.length === 0 && !isOwnCall && !isUndoing) return hasSeen ? 'not_entitled' : 'not_found'
  if (!hasSeen || (decision === 'approve' && isUnheard(ballot, replies))) return 'superseded'
  const isClosed = !entitling.some((requirement) => isOpenAt(requirement, moment.at))
  if (decision === 'approve' && isClosed) return 'outside_hours'
  if (decision === 'approve' && findAssuranceNeed(row.requirements, voter, moment)) return 'assurance_required'
  const isReasonRequired = entitling.some((requirement) => requirement.isReasonRequired)
  if (isReasonRequired && ballot.reason === null) return 'reason_required'
  if (!ask) return null
  const isPermitted = decision === 'approve' && permitting(row, { ask, vote: { ...reviewer, at: now } }).length > 0
  return isPermitted ? null : 'grant_not_permitted'
}

/** In place of the quorum, and of nothing else: not of the closure, not of anybody's no. */
function findOverrideFault({ row, votes }: Held, ballot: Ballot, { now, replies }: Facts): BallotFault | null {
  const { reviewer, decision } = ballot
  const hasSeen = ballot.cardHash === row.card_hash.toString('hex')
  if (isInClosure(row.requester, reviewer)) return 'self_approval'
  if (decision !== 'approve' || !mayOverride(row.requirements, reviewer)) {
    return hasSeen ? 'override_not_permitted' : 'not_found'
  }
  if (!hasSeen || isUnheard(ballot, replies)) return 'superseded'
  if (opponents(votes).length > 0) return 'override_not_permitted'
  if (ballot.reason === null) return 'reason_required'
  if (ballot.grant) return 'grant_not_permitted'
  return isFresh(reviewer, now) ? null : 'sign_in_too_old'
}

/** What a ballot is judged by besides the approval. */
interface Facts {
  readonly now: Date
  /** How many replies of the agent there are. */
  readonly replies: number
  /** Who votes, and for whom. */
  readonly voter: Approver
}

/** A reply is no part of the card, whose hash stays: a yes says how many replies it was given on. */
function isUnheard({ replies: heard = 0 }: Ballot, replies: number): boolean {
  return heard !== replies
}

function mayBeShown(fault: BallotFault): boolean {
  return fault !== 'not_found' && fault !== 'not_entitled' && fault !== 'override_not_permitted'
}

function hasVotedSo(held: Held, ballot: Ballot): boolean {
  return held.votes.some(
    (vote) =>
      isSameParty(vote, ballot.reviewer) &&
      vote.decision === ballot.decision &&
      (isOverride(vote) || !ballot.isOverride),
  )
}

function hasDenied(held: Held, ballot: Ballot): boolean {
  return held.votes.some((vote) => isSameParty(vote, ballot.reviewer) && vote.decision === 'deny')
}

/** Bounded, and without what Postgres or a MAC cannot hold. */
function cleanReason(reason: string | null): string | null {
  const text = reason?.toWellFormed().replaceAll('\0', '').trim().slice(0, MOST_REASON).toWellFormed() ?? ''
  return text === '' ? null : text
}
