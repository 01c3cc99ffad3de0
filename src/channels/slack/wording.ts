import type { Approval, BallotFault, State, WithdrawalReason } from '../../domain/approval.ts'
import type { AskFault } from '../../domain/question.ts'

/** The head of a card, by the state of its approval. */
export const HEADINGS: Readonly<Record<State, string>> = {
  pending: 'Decision needed',
  approved: 'Approved',
  denied: 'Denied',
  expired: 'Expired',
  withdrawn: 'Withdrawn',
  spent: 'Approved and released',
}

const WITHDRAWALS: Readonly<Record<WithdrawalReason, string>> = {
  client_cancelled: 'The agent cancelled its call.',
  policy_changed: 'The policy changed and asks for something else now.',
  call_changed: 'What would be forwarded is no longer what was shown.',
  reviewers_changed: 'Those who approved are no longer entitled to.',
  grant_ended: 'The grant that approved it was revoked, or is used up.',
  suspended: 'The agent was suspended.',
  breaker_lifted: 'The agent was resumed, and only a circuit breaker had held the call.',
  store_failover: 'The store failed over, so that older approvals are void.',
  tampered: 'A recorded vote did not stand up to its check.',
}

/** What a state means for the call, in a sentence; empty for `pending`. */
export function explain(approval: Approval): string {
  switch (approval.state) {
    case 'pending':
      return ''
    case 'approved':
      return `${bypass(approval)}Approved; the call is forwarded once, as it was shown.`
    case 'spent':
      return `${bypass(approval)}Approved, and used: the call was released, once.`
    case 'denied':
      return 'Nothing was forwarded.'
    case 'expired':
      return approval.useBy === null
        ? 'Nobody decided in time. Nothing was forwarded.'
        : 'It was approved, but not used in time. Nothing was forwarded.'
    case 'withdrawn':
      return `${WITHDRAWALS[approval.reason as WithdrawalReason] ?? 'It was withdrawn.'} Nothing was forwarded.`
  }
}

/** Reviewers who were passed over are told so before anything else. */
function bypass({ votes, state }: Approval): string {
  if (!votes.some(({ via }) => via.startsWith('override:'))) return ''
  const undo = state === 'approved' ? ' Any reviewer may still deny it.' : ''
  return `OVERRIDE: one person approved in place of the reviewers.${undo} `
}

/** Why a press or a submission was not counted: what the approvals say, and what this channel itself refuses. */
export type Fault = BallotFault | AskFault | PersonFault | 'not_all_shown' | 'too_late' | 'failed'

/** Why it is not known who acted, or that they may. */
export type PersonFault = 'unlinked' | 'stale' | 'away' | 'foreign' | 'bot' | 'guest' | 'deactivated' | 'unconfirmed'

/** Who is told: their own `team/user`, and where they can link it; null if they cannot by themselves. */
export interface Told {
  readonly key: string
  readonly invitation: string | null
}

const NOTHING_RECORDED = 'Nothing was recorded.'

/** Told to the one person who pressed. */
export function describeFault(fault: Fault, approval: string, told: Told): string {
  const nothing = NOTHING_RECORDED
  switch (fault) {
    case 'not_found':
      return `${nothing} There is no approval ${approval} that you may decide.`
    case 'not_entitled':
      return `${nothing} The policy does not name you as a reviewer of ${approval}.`
    case 'self_approval':
      return `${nothing} You are on the requesting side of ${approval}: the agent is yours or acts for you. Somebody else has to approve it.`
    case 'outside_hours':
      return `${nothing} The policy takes your approval of ${approval} at other hours only. You may deny it at any time.`
    case 'assurance_required':
      return `${nothing} The policy asks for a fresh sign-in, or a passkey. Approve ${approval} in the console; you may deny it here.`
    case 'superseded':
      return `${nothing} That was an older card of ${approval}. Please decide on the newest one.`
    case 'already_decided':
      return `${nothing} ${approval} is already decided, expired or withdrawn.`
    case 'already_denied':
      return `${nothing} You have denied ${approval}, and a denial is not taken back.`
    case 'reason_required':
      return `${nothing} A reason is required.`
    case 'question_open':
      return `${nothing} The agent has not replied to the question before about ${approval}.`
    case 'too_many_questions':
      return `${nothing} Enough was asked about ${approval}: decide it, or look at it in the console.`
    case 'nothing_asked':
      return `${nothing} There is nothing in the question.`
    case 'grant_not_permitted':
    case 'override_not_permitted':
    case 'sign_in_too_old':
      return `${nothing} That is done in the console.`
    case 'unlinked':
    case 'stale':
    case 'away':
    case 'foreign':
    case 'bot':
    case 'guest':
    case 'deactivated':
    case 'unconfirmed':
      return describePersonFault(fault, told)
    case 'not_all_shown':
      return `${nothing} The card does not show all of the call. Read it with: countersign approvals show ${approval}, and decide there.`
    case 'too_late':
      return `${nothing} Slack no longer lets the question for a reason be opened. Please press the button again.`
    case 'failed':
      return `It is not certain that anything was recorded: the gateway had a fault. Please look at ${approval} and try again.`
  }
}

/** Told to the one person who acted. */
export function describePersonFault(fault: PersonFault, { key, invitation }: Told): string {
  const nothing = NOTHING_RECORDED
  switch (fault) {
    case 'unlinked':
      return invitation === null
        ? `${nothing} Your Slack account is not linked to a reviewer. Ask an operator to add ${key} to channels.slack.people.`
        : `${nothing} Your Slack account is not linked to a reviewer. <${invitation}|Sign in to link it>, then try again. The link is for you alone: with it nobody else can link anything.`
    case 'stale':
      return invitation === null
        ? `${nothing} Your identity provider no longer says which groups you are in. Ask an operator.`
        : `${nothing} Your identity provider no longer says which groups you are in. <${invitation}|Sign in again>, then try again.`
    case 'away':
      return `${nothing} Your identity provider cannot be asked just now which groups you are in. Please try again.`
    case 'foreign':
      return `${nothing} Only members of the workspace this app is installed in may do that.`
    case 'bot':
      return `${nothing} Bots may not do that.`
    case 'guest':
      return `${nothing} Guests may not do that.`
    case 'deactivated':
      return `${nothing} This account is deactivated.`
    case 'unconfirmed':
      return `${nothing} Slack did not confirm your account just now. Please try again.`
  }
}
