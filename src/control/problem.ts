import { describeTooMany, type SwitchRefusal } from '../domain/agent.ts'
import type { BallotFault } from '../domain/approval.ts'
import type { ClaimFault } from '../domain/claim.ts'
import { type DelegateFault, MOST_AHEAD_MS, MOST_AWAY_MS } from '../domain/delegation.ts'
import { PROBLEM_BASE, type Problem } from '../domain/problem.ts'
import { makeVisible } from '../domain/visible.ts'

/** Every `code` a person can meet on the control listener, with its HTTP status and title. A closed list. */
export const CONTROL_CODES = {
  malformed: [400, 'The request is not understood'],
  unauthenticated: [401, 'Nobody is signed in'],
  forbidden: [403, 'This person has no role for it'],
  read_only_token: [403, 'This token lists and shows only'],
  not_entitled: [403, 'This person may not vote on it'],
  self_approval: [403, 'Nobody approves their own side’s call'],
  outside_hours: [403, 'Approvals do not count at this hour'],
  assurance_required: [401, 'The person has to be known better for it'],
  grant_not_permitted: [403, 'No rule permits that grant'],
  override_not_permitted: [403, 'This person may not override it'],
  sign_in_too_old: [401, 'The sign-in is too old'],
  not_grantor: [403, 'Somebody else gave this grant'],
  not_claimant: [403, 'Somebody else is looking at it'],
  own_side: [403, 'Nobody resumes their own side’s agent'],
  not_found: [404, 'Not found'],
  superseded: [409, 'The card changed since it was seen'],
  already_decided: [409, 'It is already decided'],
  already_denied: [409, 'This person has denied it'],
  question_open: [409, 'The agent has not replied to the question before'],
  too_many_questions: [409, 'Enough was asked about it'],
  already_delegated: [409, 'Somebody stands in for this person already'],
  too_many_suspended: [409, 'Too many are stopped that never called'],
  too_large: [413, 'The request is too large'],
  unreadable: [415, 'The body is not JSON'],
  reason_required: [422, 'A reason is required'],
  unknown_issuer: [422, 'Nobody of this issuer can call'],
  unknown_delegate: [422, 'Nobody of that name is known here'],
  self_delegation: [422, 'Nobody stands in for themselves'],
  bad_period: [422, 'Nobody is stood in for at that time'],
  rate_limited: [429, 'Too many requests'],
  internal: [500, 'Something went wrong'],
  unavailable: [503, 'The store cannot be reached'],
} as const satisfies Record<BallotFault | string, readonly [number, string]>
export type ControlCode = keyof typeof CONTROL_CODES

/** An expected "no" to a person, as a value. */
export interface ControlRefusal {
  readonly refusedAs: ControlCode
  readonly detail: string
  readonly headers: Readonly<Record<string, string>>
}

export function refuseAs(
  code: ControlCode,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): ControlRefusal {
  return { refusedAs: code, detail, headers }
}

export function isControlRefusal(value: object): value is ControlRefusal {
  return 'refusedAs' in value
}

export function controlProblem({ refusedAs: code, detail }: ControlRefusal): Problem {
  const [status, title] = CONTROL_CODES[code]
  return { type: `${PROBLEM_BASE}${code}`, title, status, detail, code }
}

export const FAULT_DETAILS: Readonly<Record<BallotFault, string>> = {
  not_found: 'There is no such approval, or it is not shown to you.',
  not_entitled: 'Not counted. None of its rules names you as a reviewer.',
  self_approval: 'Not counted. You are on the requesting side of this call: somebody else has to approve it.',
  outside_hours: 'Not counted. Its rule takes your approval at other hours only. You may deny it at any time.',
  assurance_required:
    'Not counted. Its rule asks for a fresh sign-in, or for a passkey, of whoever approves. You may deny it as you are.',
  superseded: 'Not counted. The card is not the one you saw. Look at it again, then decide.',
  already_decided: 'Not counted. The approval is already decided.',
  already_denied: 'Not counted. You have denied it, and a denial is not taken back.',
  reason_required: 'Not counted. It asks for a reason.',
  grant_not_permitted: 'Not counted. No rule that names you permits a grant so long, so often or so wide.',
  override_not_permitted:
    'Not counted. You may override it only if all of its rules name you for that, and only while nobody has denied it.',
  sign_in_too_old: 'Not counted. An override takes a sign-in of the last five minutes. Sign in again.',
}

export const CLAIM_FAULTS: Readonly<Record<ClaimFault, readonly [ControlCode, string]>> = {
  not_found: ['not_found', FAULT_DETAILS.not_found],
  not_entitled: ['not_entitled', 'Not done. None of its rules names you as a reviewer.'],
  self_approval: ['self_approval', 'Not done. You are on the requesting side of this call: others decide on it.'],
  already_decided: ['already_decided', 'Not done. It is decided, or over.'],
  not_claimant: [
    'not_claimant',
    'Not done. Somebody else is looking at it. You may take it over, and vote in any case.',
  ],
}

export const GRANT_FAULTS: Readonly<Record<'not_found' | 'not_allowed', readonly [ControlCode, string]>> = {
  not_found: ['not_found', 'There is no such grant, or it is not shown to you.'],
  not_allowed: ['not_grantor', 'Not done. Whoever gave it may take it back, and so may operators and admins.'],
}

const DAY_MS = 86_400_000

export const DELEGATION_FAULTS: Readonly<Record<DelegateFault | 'gone', readonly [ControlCode, string]>> = {
  not_known: [
    'unknown_delegate',
    'Not done. Nobody of that name has voted here, linked an account or added a passkey.',
  ],
  oneself: ['self_delegation', 'Not done. You cannot stand in for yourself.'],
  bad_period: [
    'bad_period',
    `Not done. It begins within ${MOST_AHEAD_MS / DAY_MS} days, ends after that, and lasts ${MOST_AWAY_MS / DAY_MS} days at most.`,
  ],
  already_delegated: ['already_delegated', 'Not done. Somebody stands in for you already. End that first.'],
  gone: ['not_found', 'Not done. It is over, or it is not yours.'],
}

export function explainSwitch(refusal: SwitchRefusal): readonly [ControlCode, string] {
  switch (refusal.fault) {
    case 'not_allowed':
      return ['forbidden', 'Not done. None of your roles may do that.']
    case 'own_side':
      return [
        'own_side',
        'Not done. It is your agent, or acts for you or beside what is yours: somebody else has to resume it.',
      ]
    case 'too_many_suspended':
      return ['too_many_suspended', `Not done. ${describeTooMany(refusal)}`]
    case 'unknown_issuer': {
      const known = refusal.known.map((issuer) => makeVisible(issuer)).join(', ')
      return ['unknown_issuer', `Not done. Nobody of that issuer can call here. The issuers are: ${known}.`]
    }
  }
}
