import type { Notice, NoticeResult } from '../../domain/channel.ts'
import type { Logger } from '../../platform/logger.ts'
import { clean } from './foreign.ts'
import type { Messages } from './messages.ts'
import { label } from './parts.ts'
import { bold, code, lines, moment, plain, richText } from './rich-text.ts'

/** For what only an operator can mend: a token, a channel. */
const MENDABLE_RETRY_MS = 60_000
const RETRY_MS = 1000

const OUTCOMES = {
  suspend: {
    title: 'Circuit breaker: an agent was suspended',
    text: 'Its calls are refused, on every replica, until an operator or an admin resumes it.',
  },
  hold: {
    title: 'Circuit breaker: every call of an agent is held',
    text: 'What policy would allow is held for reviewers, until an operator or an admin resumes the agent.',
  },
} as const

/** Tells the channel that a circuit breaker has tripped. No buttons: one looks first, and resumes elsewhere. */
export function createTellNotice({
  messages,
  publicUrl,
  log,
}: {
  readonly messages: Pick<Messages, 'say'>
  readonly publicUrl: string
  readonly log: Logger
}): (notice: Notice, signal: AbortSignal) => Promise<NoticeResult> {
  const agentsUrl = new URL('agents', publicUrl.endsWith('/') ? publicUrl : `${publicUrl}/`).href

  return async (notice, signal) => {
    const { title } = OUTCOMES[notice.effect]
    const header = { type: 'header' as const, text: label(title) }
    const answer = await messages.say({ blocks: [header, describe(notice)], text: title }, signal)
    if (answer.ok) return { result: 'delivered' }
    if (answer.kind === 'rate_limited')
      return { result: 'retry', afterMs: answer.afterMs, cause: 'Slack asks to go slower' }
    if (answer.kind === 'unreachable') return { result: 'retry', afterMs: RETRY_MS, cause: answer.cause }
    log.error({ error: answer.error }, 'Slack does not take a notice')
    return { result: 'retry', afterMs: MENDABLE_RETRY_MS, cause: `Slack refused: ${answer.error}` }
  }

  function describe({ agent, breaker, effect, why, at }: Notice) {
    return richText(
      lines([
        [bold('Agent '), code(clean(agent.subject)), plain(' of '), code(clean(agent.issuer))],
        [bold('Breaker '), code(clean(breaker)), plain(`: ${clean(why)}, `), moment(at)],
        [plain(OUTCOMES[effect].text)],
        [plain('See and resume: '), code(agentsUrl)],
      ]),
    )
  }
}
