import type { Approval, State } from '../domain/approval.ts'
import type { OpenQuestion } from '../domain/question.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'

/** What an agent is told of an approval that its call cannot use. The first sentence is for a model to act on. */
export function refuseFor(approval: Pick<Approval, 'id' | 'state' | 'reason' | 'requirements'>): Refusal {
  const { id } = approval
  switch (approval.state) {
    case 'pending':
    case 'approved':
      return refusePending(approval)
    case 'denied': {
      const why = approval.reason === null ? '' : ` The reviewer said: ${approval.reason}`
      return refuse('not_approved', `Not executed. A reviewer denied approval ${id}.${why}`, { approval: id })
    }
    case 'expired':
      return refuse('expired', `Not executed. Approval ${id} expired. Repeat the call to ask again.`, { approval: id })
    case 'withdrawn': {
      // The contract's word for a stopped agent: repeating the call is of no use.
      if (approval.reason === 'suspended') {
        const detail = `Not executed. Approval ${id} ended because this agent was suspended; a person has to resume it.`
        return refuse('suspended', detail, { approval: id })
      }
      if (approval.reason === 'breaker_lifted') {
        const detail = `Not executed. Approval ${id} ended: a person resumed this agent. Repeat the call unchanged.`
        return refuse('withdrawn', detail, { approval: id })
      }
      const why = WITHDRAWN[approval.reason ?? ''] ?? 'it was withdrawn'
      return refuse('withdrawn', `Not executed. Approval ${id} ended: ${why}. Repeat the call to ask again.`, {
        approval: id,
      })
    }
    case 'spent':
      return refuseSpent(id)
  }
}

/** With what the first rule that has a message tells the agent, and what a reviewer asks, behind what it has to do. */
export function refusePending(
  { id, requirements }: Pick<Approval, 'id' | 'requirements'>,
  question: OpenQuestion | null = null,
): Refusal {
  const told = requirements.find(({ message }) => message)?.message
  const why = told ? ` ${told}` : ''
  const asked = question ? ` ${describeQuestion(question)}` : ''
  return refuse(
    'approval_pending',
    `Not executed. Waiting for approval ${id}. Repeat the call unchanged.${asked}${why}`,
    {
      approval: id,
      retryAfterS: 10,
      ...(question && { question }),
    },
  )
}

/** How to reply, before what somebody else wrote. */
function describeQuestion({ id, by, text }: OpenQuestion): string {
  return `To reply to the question of a reviewer, send the repetition with the header Countersign-Reply: ${id} and your answer. ${by} asks: ${text}`
}

export function refuseSpent(id: string): Refusal {
  return refuse('already_spent', `Not executed again. Approval ${id} was already used for this call.`, { approval: id })
}

const WITHDRAWN: Readonly<Record<string, string>> = {
  client_cancelled: 'the client cancelled the call, or left it',
  policy_changed: 'the policy changed and its votes no longer suffice',
  call_changed: 'what would be forwarded is no longer what was approved',
  reviewers_changed: 'those who approved it may no longer do so',
  grant_ended: 'the grant that approved it was revoked, or is used up',
  store_failover: 'the store failed over, and whether it was used cannot be told',
  tampered: 'its record was altered',
}

/** The states in which nothing can happen to an approval any more. */
export function isOver(state: State): boolean {
  return state !== 'pending' && state !== 'approved'
}
