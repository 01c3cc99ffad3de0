import { checkMessageBlocks, isTooLongForMessage } from './blocks.ts'

/**
 * What an app answers a command or a press with, for one person to see. Throws where Slack would show nothing: no text, a
 * kind of answer that everybody would see, blocks that it refuses.
 */
export function readEphemeral(sent: Record<string, unknown>): { text: string; blocks?: Record<string, unknown>[] } {
  const { text, blocks, response_type: type = 'ephemeral' } = sent
  if (type !== 'ephemeral') throw new Error('this fake shows what one person sees, and nothing else')
  if (typeof text !== 'string' || text === '') throw new Error('no_text')
  if (blocks === undefined) return { text }
  checkMessageBlocks(blocks)
  if (isTooLongForMessage(blocks)) throw new Error('msg_blocks_too_long')
  return { text, blocks: blocks as Record<string, unknown>[] }
}
