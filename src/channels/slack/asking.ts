import type { types } from '@slack/bolt'
import type { Desk } from '../../domain/channel.ts'
import { MOST_QUESTIONS } from '../../domain/question.ts'
import type { Logger } from '../../platform/logger.ts'
import type { Place, Tell } from './answer.ts'
import { type Pressed, parseButton } from './button.ts'
import { type ModalAnswer, renderAnswer } from './modal.ts'
import { type AskedWhere, askedWhereSchema, type Press, questionSchema } from './payload.ts'
import { renderAsk } from './question.ts'
import type { Recognise } from './recognise.ts'
import { describeFault, type Fault } from './wording.ts'

export interface Asking {
  /** Somebody pressed Ask: opens the modal, or says why not. */
  open(payload: Press, pressed: Pressed, at: Place, signal: AbortSignal): Promise<Fault | null>
  /** Somebody asked. `isLate`: whether Slack no longer waits, so that the answer has to go another way. */
  submit(body: unknown, signal: AbortSignal, isLate: () => boolean): Promise<ModalAnswer>
}

/** Turns the Ask button into questions. The card is brought up to date by the outbox, wherever a question was asked. */
export function createAsking(parts: {
  readonly desk: Desk
  readonly recognise: Recognise
  readonly tell: Tell
  readonly ask: (triggerId: string, view: types.View, signal: AbortSignal) => Promise<boolean>
  readonly guard: (work: () => Promise<Fault | null>) => Promise<Fault | null>
  /** False for a submission that was handled before. */
  readonly isNew: (id: string) => boolean
  readonly log: Logger
}): Asking {
  const { desk, recognise, tell, ask, guard, isNew, log } = parts

  return {
    async open(payload, pressed, { channel, ts, thread }, signal) {
      const found = await desk.find(pressed.approval)
      if (!found) return 'not_found'
      const { approval, questions = [] } = found
      if (approval.state !== 'pending') return 'already_decided'
      if (questions.some(({ reply }) => reply === null)) return 'question_open'
      if (questions.length >= MOST_QUESTIONS) return 'too_many_questions'
      const where: AskedWhere = { button: payload.actions[0]?.value ?? '', channel, ts, thread }
      const isAsked = await ask(payload.trigger_id, renderAsk(where, approval.id), signal)
      return isAsked ? null : 'too_late'
    },

    async submit(body, signal, isLate) {
      const payload = questionSchema.safeParse(body)
      const where = payload.success ? readWhere(payload.data.view.private_metadata) : null
      const pressed = where ? parseButton(where.button) : null
      if (!payload.success || !where || !pressed) {
        log.warn('Slack sent a question of another form; ignored')
        return null
      }
      if (!isNew(`question ${payload.data.trigger_id}`)) {
        log.warn('a question was delivered twice; ignored')
        return null
      }
      const at: Place = { channel: where.channel, ts: where.ts, thread: where.thread, user: payload.data.user.id }
      const text = payload.data.view.state.values.question.question.value ?? ''
      const who = await recognise(payload.data, signal)
      const fault =
        who.fault ??
        (await guard(async () => {
          const { approval } = pressed
          const asked = await desk.ask({ approval, by: who.person, text, via: 'slack' })
          return asked.asked ? null : asked.fault
        }))
      if (!fault) return null
      const said = describeFault(fault, pressed.approval, who)
      if (isLate()) await tell(at, said, signal)
      else if (fault === 'nothing_asked')
        return { response_action: 'errors', errors: { question: 'There is nothing in it.' } }
      else return { response_action: 'update', view: renderAnswer(said) }
      return null
    },
  }
}

function readWhere(metadata: string): AskedWhere | null {
  try {
    return askedWhereSchema.safeParse(JSON.parse(metadata)).data ?? null
  } catch {
    return null
  }
}
