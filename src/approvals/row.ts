import { type Approval, type State, type Vote, WITHDRAWAL_REASONS } from '../domain/approval.ts'
import { canonicalJson } from '../domain/canonical.ts'
import { OUTCOMES, type OutcomeName } from '../domain/entry.ts'
import type { Principal } from '../domain/principal.ts'
import type { Requirement, RuleRef } from '../domain/verdict.ts'
import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'

/** What an approval is about: never changes after it was opened. */
export interface ApprovalFacts {
  readonly id: string
  readonly call_id: string
  readonly principal_key: Buffer
  readonly requester: Principal
  readonly upstream: string
  readonly verb: string
  readonly resource: string
  readonly rules: readonly RuleRef[]
  readonly requirements: readonly Requirement[]
  readonly match_key: Buffer
  readonly digest: Buffer
  readonly card_hash: Buffer
  readonly use_within_ms: number
  readonly created_at: Date
  readonly expires_at: Date
}

/** An approval as the database has it, without its ciphertexts. Nothing of it is believed before `isGenuine`. */
export interface ApprovalRow extends ApprovalFacts {
  readonly kid: string
  readonly mac: Buffer
  readonly state: State
  readonly is_detached: boolean
  readonly use_by: Date | null
  readonly decided_at: Date | null
  readonly reason: string | null
  readonly spent_at: Date | null
  readonly spent_call: string | null
  readonly outcome: string | null
}

export const APPROVAL_COLUMNS = `id, call_id, principal_key, requester, upstream, verb, resource, rules, requirements,
  match_key, digest, card_hash, use_within_ms, created_at, expires_at, kid, mac, state, is_detached, use_by, decided_at,
  reason, spent_at, spent_call, outcome`

/** Signs what an approval is about, so that nobody who only writes to the database can alter it. */
export function signApproval(keys: KeyPair<SecretKey>, facts: ApprovalFacts): { kid: string; mac: Buffer } {
  return computeMac(keys, labelOf(facts), macParts(facts))
}

/** Whether the row is as it was signed. Rows that are not are never approved, used or shown. */
export function isGenuine(keys: KeyPair<SecretKey>, row: ApprovalRow): boolean {
  return isValidMac(keys, labelOf(row), macParts(row), row)
}

/** What a requirement of the first form has. */
const FIRST_FORM: ReadonlySet<string> = new Set(['rule', 'reviewers', 'quorum', 'expiresMs', 'isReasonRequired'])

/**
 * A release that knows only the first form would count votes that a later one excludes. So what has more is signed under
 * another label: to such a release the record is not genuine, and it refuses it.
 */
function labelOf({ requirements }: Pick<ApprovalFacts, 'requirements'>): string {
  const isFirstForm = requirements.every(
    (requirement) =>
      Object.keys(requirement).every((key) => FIRST_FORM.has(key)) &&
      requirement.reviewers.every(({ kind }) => kind !== 'manager'),
  )
  return isFirstForm ? 'countersign approval v1' : 'countersign approval v2'
}

function macParts(facts: ApprovalFacts): (string | Uint8Array)[] {
  return [
    facts.id,
    facts.call_id,
    facts.principal_key,
    canonicalJson(facts.requester),
    facts.upstream,
    facts.verb,
    facts.resource,
    canonicalJson(facts.rules),
    canonicalJson(facts.requirements),
    facts.match_key,
    facts.digest,
    facts.card_hash,
    String(facts.use_within_ms),
    String(facts.created_at.getTime()),
    String(facts.expires_at.getTime()),
  ]
}

/** Not what the row says: whoever writes to the database would speak for a reviewer, to an agent that listens. */
function reasonOf({ state, reason }: ApprovalRow, votes: readonly Vote[]): string | null {
  if (state === 'denied') return votes.findLast(({ decision }) => decision === 'deny')?.reason ?? null
  return WITHDRAWAL_REASONS.find((known) => state === 'withdrawn' && known === reason) ?? null
}

/** How the call that used it ended, in the words of the closed list; null if none has, or somebody wrote another word. */
export function outcomeOf({ outcome }: Pick<ApprovalRow, 'outcome'>): OutcomeName | null {
  return outcome !== null && isOutcome(outcome) ? outcome : null
}

function isOutcome(text: string): text is OutcomeName {
  return Object.hasOwn(OUTCOMES, text)
}

export function toApproval(row: ApprovalRow, votes: readonly Vote[]): Approval {
  return {
    id: row.id,
    state: row.state,
    callId: row.call_id,
    requester: row.requester,
    upstream: row.upstream,
    verb: row.verb,
    resource: row.resource,
    rules: row.rules,
    requirements: row.requirements,
    digest: row.digest.toString('hex'),
    cardHash: row.card_hash.toString('hex'),
    isDetached: row.is_detached,
    createdAt: row.created_at.getTime(),
    expiresAt: row.expires_at.getTime(),
    useBy: row.use_by?.getTime() ?? null,
    decidedAt: row.decided_at?.getTime() ?? null,
    reason: reasonOf(row, votes),
    votes,
  }
}
