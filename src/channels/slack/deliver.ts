import type { CardDetail, Delivery, DeliveryResult } from '../../domain/channel.ts'
import { GatewayError } from '../../domain/error.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import { renderCard, renderLeast } from './card.ts'
import type { SlackAnswer, SlackFailure } from './client.ts'
import { type FoundMessage, type MessageRef, type Messages, readRef } from './messages.ts'
import type { CardView, Rendered } from './parts.ts'
import { renderNews } from './question.ts'
import type { Refresh } from './refresh.ts'
import { renderReminder } from './reminder.ts'
import type { Workspace } from './workspace.ts'

/** Younger than this, nobody can have tried to post a card before and not known how it ended. */
const FRESH_MS = 5000
const MAX_UNSURE = 1000
/** Longer than what makes a card fresh, so that a repetition looks for a message that was posted after all. */
const RETRY_MS = FRESH_MS + 1000
/** For what only an operator can mend: a token, a channel. */
const MENDABLE_RETRY_MS = 60_000
/** How long a decided card is worth being corrected while Slack refuses. */
const KEEP_RESULT_MS = 24 * 3_600_000

/** Slack refuses the message for what is in it. */
const CONTENT = new Set([
  'invalid_blocks',
  'invalid_blocks_format',
  'msg_too_long',
  'msg_blocks_too_long',
  'no_text',
  'metadata_too_large',
  'invalid_metadata_format',
  'invalid_metadata_schema',
  'invalid_arguments',
])
/** The message to change is not there, or cannot be changed any more. */
const GONE = new Set(['message_not_found', 'cant_update_message', 'edit_window_closed', 'update_failed'])
/** The thread cannot be answered in. */
const NO_THREAD = new Set([
  'thread_not_found',
  'cannot_reply_to_message',
  'message_not_found',
  'restricted_action_thread_locked',
])
/** History cannot be read: the scopes for it are optional. */
const NO_HISTORY = new Set(['missing_scope', 'method_not_supported_for_channel_type'])

const LOST = 'The first message about this approval could not be found or changed; this one stands in its place.'

/**
 * Posts and changes messages, each card once as far as Slack lets that be known. It rejects where a card may have been
 * posted and that cannot be found out; everything else that goes wrong is a result.
 */
export function createDeliver(parts: {
  readonly messages: Messages
  readonly workspace: (signal: AbortSignal) => Promise<SlackAnswer<Workspace>>
  readonly refresh: Refresh
  readonly detail: CardDetail
  readonly publicUrl: string
  readonly clock: Clock
  readonly log: Logger
}): (delivery: Delivery, signal: AbortSignal) => Promise<DeliveryResult> {
  const { messages, workspace, refresh, detail, publicUrl, clock, log } = parts
  /** Approvals whose card this process posted without an answer. */
  const unsure = new Set<string>()

  async function deliver(delivery: Delivery, signal: AbortSignal): Promise<DeliveryResult> {
    const posted = readRef(delivery.posted)
    if (delivery.kind === 'reminder') return remind(delivery, posted, signal)
    if (delivery.kind === 'question') return tellAsked(delivery, posted, signal)
    if (posted) return change(delivery, posted, signal)
    if (!mayHaveBeenPosted(delivery)) return post(delivery, signal)

    const lost = await findLost(delivery, signal)
    if (!lost.ok) return delivery.kind === 'card' ? failUnsure(delivery, lost) : giveBack(delivery, lost)
    if (lost.data === 'unreadable' || lost.data === null) {
      return post(delivery, signal, delivery.kind === 'result' ? { note: LOST } : {})
    }
    return delivery.kind === 'card' ? delivered(lost.data, lost.data.root) : change(delivery, lost.data, signal)
  }

  /** Says it once more, in the card's thread. After a crash it may be there twice, as a card may. */
  async function remind(delivery: Delivery, card: MessageRef | null, signal: AbortSignal): Promise<DeliveryResult> {
    if (card === null) return { result: 'dropped', cause: 'there is no card to remind of' }
    return reply(delivery, card, { rendered: renderReminder(viewOf(delivery), clock.now()), signal })
  }

  /**
   * On the card, whose buttons have to name the last reply, and in its thread. The approval may be decided meanwhile, so
   * the card is rendered as it is then.
   */
  async function tellAsked(delivery: Delivery, card: MessageRef | null, signal: AbortSignal): Promise<DeliveryResult> {
    if (card === null) return { result: 'dropped', cause: 'there is no card to add to' }
    const answer = await refresh(delivery.approval.id, card, signal)
    if (answer && !answer.ok && !isRefused(answer, CONTENT) && !isRefused(answer, GONE)) {
      return giveBack(delivery, answer)
    }
    return reply(delivery, card, { rendered: renderNews(viewOf(delivery)), signal })
  }

  async function reply(
    delivery: Delivery,
    card: MessageRef,
    { rendered, signal }: { readonly rendered: Rendered; readonly signal: AbortSignal },
  ): Promise<DeliveryResult> {
    const threadTs = threadOf(delivery) ?? card.ts
    let answer = await messages.reply(rendered, { threadTs, signal })
    // Somebody removed the first message of the run; the card of this approval stands on its own then.
    if (threadTs !== card.ts && isRefused(answer, NO_THREAD)) {
      answer = await messages.reply(rendered, { threadTs: card.ts, signal })
    }
    if (isRefused(answer, NO_THREAD)) return { result: 'dropped', cause: 'the thread of the card is gone' }
    return answer.ok ? delivered(card, threadTs) : giveBack(delivery, answer)
  }

  function mayHaveBeenPosted({ kind, approval }: Delivery): boolean {
    return kind === 'result' || unsure.has(approval.id) || clock.now() - approval.createdAt > FRESH_MS
  }

  /** Null if the channel has no such message, `unreadable` if it cannot be looked at. */
  async function findLost(
    { approval }: Delivery,
    signal: AbortSignal,
  ): Promise<SlackAnswer<FoundMessage | null | 'unreadable'>> {
    const own = await workspace(signal)
    if (!own.ok) return own
    const found = await messages.find(approval, own.data, signal)
    if (!isRefused(found, NO_HISTORY)) return found
    log.warn({ error: found.error }, 'Slack does not let the channel be read: a card may appear twice after a crash')
    return { ok: true, data: 'unreadable' }
  }

  async function change(
    delivery: Delivery,
    ref: MessageRef & { readonly root?: string },
    signal: AbortSignal,
  ): Promise<DeliveryResult> {
    const { approval } = delivery
    const view = viewOf(delivery)
    let answer = await messages.update(approval, renderCard(view), { ref, signal })
    if (isRefused(answer, CONTENT)) answer = await messages.update(approval, renderLeast(view), { ref, signal })
    if (isRefused(answer, GONE)) return post(delivery, signal, { note: LOST })
    if (!answer.ok) return giveBack(delivery, answer)
    return delivered(answer.data, ref.root ?? threadOf(delivery))
  }

  async function post(
    delivery: Delivery,
    signal: AbortSignal,
    more: Pick<CardView, 'note'> = {},
  ): Promise<DeliveryResult> {
    const { approval } = delivery
    const view = { ...viewOf(delivery), ...more }
    let threadTs = threadOf(delivery)
    let answer = await messages.post(approval, renderCard(view), { threadTs, signal })
    if (threadTs !== null && isRefused(answer, NO_THREAD)) {
      threadTs = null
      answer = await messages.post(approval, renderCard(view), { threadTs, signal })
    }
    if (isRefused(answer, CONTENT)) {
      log.error(
        { approval: approval.id, error: answer.error },
        'Slack refused a card for its content; sending the least',
      )
      answer = await messages.post(approval, renderLeast(view), { threadTs, signal })
    }
    if (!answer.ok)
      return answer.kind === 'unreachable' ? lookAfter(delivery, answer, signal) : giveBack(delivery, answer)
    return delivered(answer.data, threadTs)
  }

  /** There was no answer to a post: is the message there? */
  async function lookAfter(delivery: Delivery, failure: SlackFailure, signal: AbortSignal): Promise<DeliveryResult> {
    const found = await findLost(delivery, signal)
    if (found.ok && found.data === null) return giveBack(delivery, failure)
    if (found.ok && found.data !== 'unreadable' && found.data !== null) return delivered(found.data, found.data.root)
    return delivery.kind === 'card' ? failUnsure(delivery, failure) : giveBack(delivery, failure)
  }

  /**
   * A card may be in the channel, and it cannot be found out now. That is a fault and not a `retry`, which would say that
   * nothing was posted: then nobody would take the buttons away, were it decided before the next attempt.
   */
  function failUnsure({ approval }: Delivery, failure: SlackFailure): never {
    unsure.add(approval.id)
    const [oldest] = unsure
    if (unsure.size > MAX_UNSURE && oldest !== undefined) unsure.delete(oldest)
    throw new GatewayError('upstream', `Slack: a card may or may not have been posted (${describe(failure)})`)
  }

  function threadOf({ conversation }: Delivery): string | null {
    const opened = readRef(conversation.opened)
    return opened?.channel === messages.channel ? opened.ts : null
  }

  function delivered(at: MessageRef, root: string | null): DeliveryResult {
    return {
      result: 'delivered',
      posted: { channel: at.channel, ts: at.ts },
      conversation: { channel: at.channel, ts: root ?? at.ts },
    }
  }

  /**
   * Nothing is given up that could still matter: an outage is waited out, and what an operator can mend (a revoked
   * token, an archived channel, an app that is not a member) is tried every minute for as long as people could decide.
   */
  function giveBack(delivery: Delivery, failure: SlackFailure): DeliveryResult {
    if (failure.kind === 'rate_limited') {
      return { result: 'retry', afterMs: failure.afterMs, cause: 'Slack asks to go slower' }
    }
    if (failure.kind === 'unreachable') return { result: 'retry', afterMs: RETRY_MS, cause: failure.cause }

    const { approval, kind } = delivery
    const cause = `Slack refused: ${failure.error}`
    const isForEver = CONTENT.has(failure.error)
    const worthUntil = approval.expiresAt + (kind === 'result' ? KEEP_RESULT_MS : 0)
    const isDropped = isForEver || clock.now() > worthUntil
    log.error({ approval: approval.id, kind, error: failure.error, isDropped }, 'Slack does not take a card')
    return isDropped ? { result: 'dropped', cause } : { result: 'retry', afterMs: MENDABLE_RETRY_MS, cause }
  }

  function viewOf({ approval, card, precedents = null, questions = [] }: Delivery): CardView {
    return { approval, card, precedents, questions, detail, publicUrl }
  }

  return deliver
}

function describe(failure: SlackFailure): string {
  if (failure.kind === 'unreachable') return failure.cause
  return failure.kind === 'refused' ? failure.error : 'rate limited'
}

function isRefused<T>(
  answer: SlackAnswer<T>,
  errors: ReadonlySet<string>,
): answer is Extract<SlackFailure, { kind: 'refused' }> {
  return !answer.ok && answer.kind === 'refused' && errors.has(answer.error)
}
