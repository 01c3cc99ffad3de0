import { type AskFault, MOST_QUESTIONS, type Question } from '../domain/question.ts'
import type { ApprovalDesk } from './desk.ts'
import type { Asked } from './endpoints.ts'
import { type ControlCode, type ControlRefusal, FAULT_DETAILS, refuseAs } from './problem.ts'
import type { AskedWire, NoticeWire, QuestionWire } from './wire.ts'

/** Asking the agent, for programs. */
export function createAskHandler(queue: ApprovalDesk, notices: () => readonly NoticeWire[]) {
  return async ({ person, params, body }: Asked<'POST /v1/approvals/:id/ask'>): Promise<AskedWire | ControlRefusal> => {
    const result = await queue.ask({ approval: params.id, by: person, text: body.question, via: 'api' })
    if (!result.asked) return refuseAs(...ASK_FAULT_DETAILS[result.fault])
    return { question: writeQuestion(result.question), notices: notices() }
  }
}

export function writeQuestion({ id, text, by, askedAt, reply }: Question): QuestionWire {
  const { issuer, subject, name } = by
  return {
    id,
    text,
    by: { issuer, subject, name },
    asked_at: new Date(askedAt).toISOString(),
    reply: reply && { text: reply.text, at: new Date(reply.at).toISOString() },
  }
}

export const ASK_FAULT_DETAILS: Readonly<Record<AskFault, readonly [ControlCode, string]>> = {
  not_found: ['not_found', FAULT_DETAILS.not_found],
  not_entitled: ['not_entitled', 'Not asked. None of its rules names you as a reviewer.'],
  self_approval: ['self_approval', 'Not asked. You are on the requesting side of this call: ask your agent yourself.'],
  already_decided: ['already_decided', 'Not asked. The approval is already decided.'],
  question_open: ['question_open', 'Not asked. The agent has not replied to the question before.'],
  too_many_questions: ['too_many_questions', `Not asked. ${MOST_QUESTIONS} questions were asked about it already.`],
  nothing_asked: ['malformed', 'Not asked. There is nothing in the question.'],
}
