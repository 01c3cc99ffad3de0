import type { CardDetail, Desk } from '../../domain/channel.ts'
import type { Place } from './answer.ts'
import { renderCard } from './card.ts'
import type { SlackAnswer } from './client.ts'
import type { MessageRef, Messages } from './messages.ts'

/** What Slack said to the last change; null if there was nothing to change. */
export type Refresh = (
  approvalId: string,
  at: Pick<Place, 'channel' | 'ts'>,
  signal: AbortSignal,
) => Promise<SlackAnswer<MessageRef> | null>

/**
 * Shows on a card who has voted so far, and what was asked. The decision may fall while this is under way, and its own update with it: so
 * the approval is looked at once more afterwards, and the card set right if it is no longer pending.
 */
export function createRefresh(parts: {
  readonly desk: Desk
  readonly messages: Messages
  readonly detail: CardDetail
  readonly publicUrl: string
}): Refresh {
  const { desk, messages, detail, publicUrl } = parts

  return async (approvalId, { channel, ts }, signal) => {
    const before = await desk.find(approvalId)
    if (before?.approval.state !== 'pending') return null
    const precedents = await desk.precedents(approvalId, { channel: 'slack' })
    const shown = await messages.update(before.approval, renderCard({ ...before, precedents, detail, publicUrl }), {
      ref: { channel, ts },
      signal,
    })
    const after = await desk.find(approvalId)
    if (!after || after.approval.state === 'pending') return shown
    return messages.update(after.approval, renderCard({ ...after, detail, publicUrl }), {
      ref: { channel, ts },
      signal,
    })
  }
}
