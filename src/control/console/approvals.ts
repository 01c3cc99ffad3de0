import { z } from 'zod'
import type { Ballot, Decision } from '../../domain/approval.ts'
import type { Person } from '../../domain/principal.ts'
import { isRefusal } from '../../domain/refusal.ts'
import type { Clock } from '../../platform/clock.ts'
import type { ApprovalDesk } from '../desk.ts'
import { FAULT_DETAILS } from '../problem.ts'
import { ballotSchema } from '../wire.ts'
import { approvalBody } from './approval.ts'
import { createClaimPages } from './claims.ts'
import { idOf, reasonField } from './forms.ts'
import { createGrantPages } from './grants.ts'
import type { Caller } from './guard.ts'
import { type PasskeyVotes, passkeyFields } from './passkeys.ts'
import { createQuestionPages, repliesField } from './questions.ts'
import { type Answer, NOT_THERE, page, redirect, type Visit } from './respond.ts'
import { forged } from './sign-in.ts'

const RECENT = 5
const STATES_ALL = ['pending', 'approved', 'denied', 'expired', 'withdrawn', 'spent'] as const

const ballotForm = z.object({
  csrf: z.string(),
  card_hash: ballotSchema.shape.card_hash,
  reason: reasonField,
  ...passkeyFields,
  ...repliesField,
})

/** One approval, and everything that a person can do about it. */
export function createApprovalPages(parts: {
  readonly queue: ApprovalDesk
  readonly passkeys: PasskeyVotes
  readonly clock: Clock
}) {
  const { queue, passkeys, clock } = parts

  async function show(
    id: string,
    caller: Caller,
    {
      fault,
      reason,
      status,
      question = '',
    }: { fault: string | null; reason: string; status: number; question?: string },
  ): Promise<Answer> {
    const { person, csrf } = caller
    const found = await queue.findFor(person, id)
    if (!found) return NOT_THERE
    const { approval, card, questions, standsFor } = found
    const isGrantable = approval.requirements.some(({ grant }) => grant !== undefined)
    const [call, passkey, given, held, precedents] = await Promise.all([
      queue.recall(approval),
      passkeys.askFor(approval, caller, clock.now()),
      isGrantable ? queue.grants.list(person) : [],
      queue.list(person, { states: STATES_ALL, requester: approval.requester, limit: RECENT + 1 }),
      queue.precedents(id, { person }),
    ])
    const recent = held.filter((one) => one.id !== id).slice(0, RECENT)
    const exact = isRefusal(call) ? null : call
    const grants = given.filter((one) => one.approval === id)
    const view = {
      approval,
      card,
      call: exact,
      person,
      csrf,
      nowMs: clock.now(),
      fault,
      reason,
      passkey,
      recent,
      grants,
      precedents,
      questions,
      question,
      ...(standsFor && { standsFor }),
    }
    return page(`${approval.verb} ${approval.resource}`, approvalBody(view), status)
  }

  async function cast(
    id: string,
    caller: Caller,
    given: { decision: Decision; cardHash: string; reason: string; reviewer?: Person } & Pick<
      Ballot,
      'grant' | 'isOverride' | 'replies'
    >,
  ): Promise<Answer> {
    const { reason, ...ballot } = given
    const checked = ballotSchema.shape.reason.safeParse(reason === '' ? undefined : reason)
    if (!checked.success) {
      const fault = `Not counted. The reason ${checked.error.issues[0]?.message ?? 'cannot be kept'}.`
      return show(id, caller, { fault, reason, status: 422 })
    }
    const result = await queue.vote({
      reviewer: caller.person,
      ...ballot,
      approval: id,
      reason: checked.data ?? null,
      via: 'console',
    })
    if (result.counted) return redirect(`/approvals/${id}`)
    return show(id, caller, { fault: FAULT_DETAILS[result.fault], reason, status: 409 })
  }

  /** A button of the form below a card. */
  function decide(way: 'approve' | 'deny' | 'override') {
    return async ({ request, caller }: Visit): Promise<Answer> => {
      const id = idOf(request)
      const form = ballotForm.safeParse(request.body)
      const found = id === null ? null : await queue.findFor(caller.person, id)
      if (id === null || !found) return NOT_THERE
      if (!form.success) return page('Not done', forged(), 400)
      const { card_hash: cardHash, reason, replies } = form.data
      // What the digest is nobody sends: it is looked up, and what was signed has to be about it.
      const reviewer =
        way === 'approve' ? await passkeys.prove({ ...found.approval, cardHash }, caller, form.data) : caller.person
      if (typeof reviewer === 'string') return show(id, caller, { fault: reviewer, reason, status: 409 })
      const decision = way === 'deny' ? 'deny' : 'approve'
      const sent = { cardHash, reason, reviewer, decision, replies } as const
      return cast(id, caller, { ...sent, ...(way === 'override' && { isOverride: true }) })
    }
  }

  return {
    'GET /approvals/:id': async ({ request, caller }: Visit): Promise<Answer> => {
      const id = idOf(request)
      return id === null ? NOT_THERE : show(id, caller, { fault: null, reason: '', status: 200 })
    },

    'POST /approvals/:id/approve': decide('approve'),
    'POST /approvals/:id/deny': decide('deny'),
    'POST /approvals/:id/override': decide('override'),

    ...createClaimPages({ queue, refuse: show }),
    ...createQuestionPages({ queue, refuse: show }),

    ...createGrantPages({
      queue,
      refuse: show,
      cast: (id, caller, sent) => cast(id, caller, { ...sent, decision: 'approve' }),
      nowMs: () => clock.now(),
    }),
  }
}
