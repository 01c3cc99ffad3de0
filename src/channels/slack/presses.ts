import type { types } from '@slack/bolt'
import type { BallotResult, Decision } from '../../domain/approval.ts'
import type { CardDetail, Desk, Look } from '../../domain/channel.ts'
import type { Person } from '../../domain/principal.ts'
import { countReplies } from '../../domain/question.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { Place, Tell } from './answer.ts'
import { createAsking } from './asking.ts'
import { type Pressed, parseButton } from './button.ts'
import { isForConsole, renderCard } from './card.ts'
import { describeClaimFault } from './claim.ts'
import { type ModalAnswer, renderAnswer, renderQuestion } from './modal.ts'
import { type Asked, askedSchema, type Press, pressSchema, type ReasonSubmission, submissionSchema } from './payload.ts'
import type { Recognise } from './recognise.ts'
import type { Refresh } from './refresh.ts'
import { createReplayCache } from './replays.ts'
import { describeFault, type Fault } from './wording.ts'

export interface Presses {
  /** Somebody pressed Approve, Deny or Ask. */
  press(body: unknown, signal: AbortSignal): Promise<void>
  /** Somebody gave a reason. `isLate`: whether Slack no longer waits, so that the answer has to go another way. */
  submit(body: unknown, signal: AbortSignal, isLate: () => boolean): Promise<ModalAnswer>
  /** Somebody asked the agent. */
  submitQuestion(body: unknown, signal: AbortSignal, isLate: () => boolean): Promise<ModalAnswer>
}

/**
 * Turns presses into ballots. Each is answered to the person who pressed, and nobody else, unless it counted; then the
 * card itself changes.
 */
export function createPresses(parts: {
  readonly desk: Desk
  readonly recognise: Recognise
  readonly tell: Tell
  readonly ask: (triggerId: string, view: types.View, signal: AbortSignal) => Promise<boolean>
  /** A vote was counted that did not decide: the card should name it. */
  readonly refresh: Refresh
  readonly detail: CardDetail
  readonly publicUrl: string
  readonly clock: Clock
  readonly log: Logger
}): Presses {
  const { desk, recognise, tell, ask, refresh, detail, publicUrl, clock, log } = parts
  const handled = createReplayCache(clock)
  const asking = createAsking({ desk, recognise, tell, ask, guard, isNew: handled.isNew, log })

  async function press(body: unknown, signal: AbortSignal): Promise<void> {
    const payload = pressSchema.safeParse(body)
    const action = payload.data?.actions[0]
    const pressed = action ? parseButton(action.value) : null
    if (!payload.success || !action || !pressed) return log.warn('Slack sent a press of another form; ignored')
    if (!handled.isNew(`press ${payload.data.trigger_id}`)) return log.warn('a press was delivered twice; ignored')

    const at = placeOf(payload.data)
    const { action_id: id } = action
    const who = await recognise(payload.data, signal)
    if (id === 'countersign.claim' || id === 'countersign.release') {
      const way = id === 'countersign.claim' ? 'claim' : 'release'
      const text = who.fault ? describeFault(who.fault, pressed.approval, who) : await turn(way, pressed, who)
      return text === null ? undefined : tell(at, text, signal)
    }
    const fault = who.fault ?? (await guard(() => act(payload.data, pressed, who.person, signal)))
    if (fault) await tell(at, describeFault(fault, pressed.approval, who), signal)
  }

  /** What to tell; null if it was done: then the card changes by itself. */
  async function turn(
    way: 'claim' | 'release',
    { approval }: Pressed,
    who: Extract<Awaited<ReturnType<Recognise>>, { fault: null }>,
  ): Promise<string | null> {
    try {
      const result = await desk[way]({ approval, by: who.person, via: 'slack' })
      if (result.done) return null
      const { fault } = result
      const isOwn = fault === 'not_claimant' || fault === 'self_approval'
      return isOwn ? describeClaimFault(fault) : describeFault(fault, approval, who)
    } catch (error) {
      log.error({ err: error }, 'a claim made in Slack could not be taken')
      return describeFault('failed', approval, who)
    }
  }

  function act(payload: Press, pressed: Pressed, person: Person, signal: AbortSignal): Promise<Fault | null> {
    const action = payload.actions[0]?.action_id
    if (action === 'countersign.ask') return asking.open(payload, pressed, placeOf(payload), signal)
    const decision = action === 'countersign.approve' ? 'approve' : 'deny'
    return decide(payload, { pressed, decision, person }, signal)
  }

  interface Intention {
    readonly pressed: Pressed
    readonly decision: Decision
    readonly person: Person
  }

  async function decide(payload: Press, { pressed, decision, person }: Intention, signal: AbortSignal) {
    const found = await desk.find(pressed.approval)
    const fault = found ? objection(found, pressed, decision) : 'not_found'
    if (!found || fault) return fault

    const isReasonRequired = found.card.needed.some((need) => need.isReasonRequired)
    const at = placeOf(payload)
    if (decision === 'approve' && !isReasonRequired) return vote(at, { pressed, decision, person }, null, signal)

    const { value: button } = payload.actions[0] ?? { value: '' }
    const asked: Asked = { decision, button, channel: at.channel, ts: at.ts, thread: at.thread }
    const isAsked = await ask(payload.trigger_id, renderQuestion(asked, pressed.approval, isReasonRequired), signal)
    return isAsked ? null : 'too_late'
  }

  /** Saves a person a question whose answer could not count; the vote itself is judged again when it is cast. */
  function objection(found: Look, pressed: Pressed, decision: Decision): Fault | null {
    if (found.approval.cardHash !== pressed.cardHash) return 'superseded'
    const isUnheard = pressed.replies !== countReplies(found.questions ?? [])
    if (decision === 'approve' && isUnheard) return 'superseded'
    const isOpen = found.approval.state === 'pending' || (found.approval.state === 'approved' && decision === 'deny')
    if (!isOpen) return 'already_decided'
    if (decision === 'approve' && isForConsole(found.card)) return 'assurance_required'
    if (decision === 'approve' && !renderCard({ ...found, detail, publicUrl }).isApprovable) return 'not_all_shown'
    return null
  }

  async function submit(body: unknown, signal: AbortSignal, isLate: () => boolean): Promise<ModalAnswer> {
    const payload = submissionSchema.safeParse(body)
    const asked = payload.success ? readAsked(payload.data) : null
    const pressed = asked ? parseButton(asked.button) : null
    if (!payload.success || !asked || !pressed) {
      log.warn('Slack sent a submission of another form; ignored')
      return null
    }
    if (!handled.isNew(`submit ${payload.data.trigger_id}`)) {
      log.warn('a submission was delivered twice; ignored')
      return null
    }

    const at: Place = { channel: asked.channel, ts: asked.ts, thread: asked.thread, user: payload.data.user.id }
    const { decision } = asked
    const reason = payload.data.view.state.values.reason.reason.value?.trim() || null
    const who = await recognise(payload.data, signal)
    const fault = who.fault ?? (await guard(() => vote(at, { pressed, decision, person: who.person }, reason, signal)))
    if (!fault) return null

    const text = describeFault(fault, pressed.approval, who)
    if (isLate()) await tell(at, text, signal)
    else if (fault === 'reason_required')
      return { response_action: 'errors', errors: { reason: 'A reason is required.' } }
    else return { response_action: 'update', view: renderAnswer(text) }
    return null
  }

  async function vote(at: Place, intention: Intention, reason: string | null, signal: AbortSignal) {
    const { pressed, decision, person } = intention
    // Whatever the person last signed in with, this vote is as good as the Slack account it came through.
    const reviewer: Person = { ...person, assurance: 'slack', authenticatedAt: null }
    const result: BallotResult = await desk.vote({
      approval: pressed.approval,
      cardHash: pressed.cardHash,
      reviewer,
      decision,
      reason,
      via: 'slack',
      ...(pressed.replies > 0 && { replies: pressed.replies }),
    })
    if (!result.counted) return result.fault
    if (result.approval.state === 'pending') {
      await refresh(pressed.approval, at, signal).catch((error: unknown) =>
        log.warn({ err: error }, 'card not refreshed'),
      )
    }
    return null
  }

  async function guard(work: () => Promise<Fault | null>): Promise<Fault | null> {
    try {
      return await work()
    } catch (error) {
      log.error({ err: error }, 'a decision made in Slack could not be taken')
      return 'failed'
    }
  }

  return { press, submit, submitQuestion: asking.submit }
}

function placeOf({ channel, message, user, response_url }: Press): Place {
  return {
    channel: channel.id,
    ts: message.ts,
    thread: message.thread_ts ?? null,
    user: user.id,
    ...(response_url === undefined ? {} : { responseUrl: response_url }),
  }
}

function readAsked(payload: ReasonSubmission): Asked | null {
  try {
    return askedSchema.safeParse(JSON.parse(payload.view.private_metadata)).data ?? null
  } catch {
    return null
  }
}
