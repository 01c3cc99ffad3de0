import { z } from 'zod'
import type { Approval } from '../../domain/approval.ts'
import type { JsonObject } from '../../domain/json.ts'
import type { SlackAnswer, SlackClient } from './client.ts'
import type { Rendered } from './parts.ts'
import type { Workspace } from './workspace.ts'

/** Finds a message again. What `deliver` returns as `posted`. */
export interface MessageRef {
  readonly channel: string
  readonly ts: string
}

export interface FoundMessage extends MessageRef {
  /** The first message of its thread, itself if it is that. */
  readonly root: string
}

const refSchema = z.object({ channel: z.string().min(1), ts: z.string().regex(/^[0-9]+\.[0-9]+$/) })
const sentSchema = refSchema.extend({ ok: z.literal(true) })

const historySchema = z.object({
  messages: z.array(
    z.object({
      ts: z.string(),
      thread_ts: z.string().optional(),
      bot_id: z.string().optional(),
      // Anybody's metadata; only our own form is looked for.
      metadata: z.object({ event_type: z.string().optional(), event_payload: z.unknown() }).optional(),
    }),
  ),
  response_metadata: z.object({ next_cursor: z.string().optional() }).optional(),
})

const EVENT_TYPE = 'countersign_approval'
const PAGE = 100
const MAX_PAGES = 5
/** Slack's clock and ours may differ. */
const LEEWAY_MS = 60_000

/** Reads what the outbox kept; null for what is not a reference to a message. */
export function readRef(stored: JsonObject | null): MessageRef | null {
  const parsed = refSchema.safeParse(stored)
  return parsed.success ? { channel: parsed.data.channel, ts: parsed.data.ts } : null
}

/** The messages of one channel. Each carries the id of its approval as metadata, by which a lost one is found again. */
export function createMessages(client: SlackClient, channel: string) {
  function content(approval: Pick<Approval, 'id'>, { blocks, text }: Rendered) {
    const metadata = { event_type: EVENT_TYPE, event_payload: { id: approval.id } }
    return { blocks, text, metadata, parse: 'none', link_names: false }
  }

  return {
    channel,

    async post(
      approval: Approval,
      rendered: Rendered,
      { threadTs, signal }: { readonly threadTs: string | null; readonly signal: AbortSignal },
    ): Promise<SlackAnswer<MessageRef>> {
      // Replies notify nobody who does not follow the thread: a card has to show in the channel as well.
      const thread = threadTs === null ? {} : { thread_ts: threadTs, reply_broadcast: true }
      const args = { channel, ...content(approval, rendered), ...thread, unfurl_links: false, unfurl_media: false }
      return client.call('chat.postMessage', args, { schema: sentSchema, signal })
    },

    /** Into a thread, and into the channel. Carries no id, so that it is never taken for the card. */
    async reply(
      { blocks, text }: Rendered,
      { threadTs, signal }: { readonly threadTs: string; readonly signal: AbortSignal },
    ): Promise<SlackAnswer<MessageRef>> {
      const thread = { thread_ts: threadTs, reply_broadcast: true }
      const plain = { parse: 'none', link_names: false, unfurl_links: false, unfurl_media: false }
      return client.call(
        'chat.postMessage',
        { channel, blocks, text, ...thread, ...plain },
        { schema: sentSchema, signal },
      )
    },

    /** Into the channel, about no approval. */
    async say(
      { blocks, text }: Pick<Rendered, 'blocks' | 'text'>,
      signal: AbortSignal,
    ): Promise<SlackAnswer<MessageRef>> {
      const plain = { parse: 'none', link_names: false, unfurl_links: false, unfurl_media: false }
      return client.call('chat.postMessage', { channel, blocks, text, ...plain }, { schema: sentSchema, signal })
    },

    async update(
      approval: Approval,
      rendered: Rendered,
      { ref, signal }: { readonly ref: MessageRef; readonly signal: AbortSignal },
    ): Promise<SlackAnswer<MessageRef>> {
      const args = { channel: ref.channel, ts: ref.ts, ...content(approval, rendered) }
      return client.call('chat.update', args, { schema: sentSchema, signal })
    },

    /** Looks in the channel for our own message about an approval. */
    async find(
      approval: Approval,
      workspace: Workspace,
      signal: AbortSignal,
    ): Promise<SlackAnswer<FoundMessage | null>> {
      const oldest = ((approval.createdAt - LEEWAY_MS) / 1000).toFixed(6)
      let cursor: string | undefined
      for (let page = 0; page < MAX_PAGES; page++) {
        const args = { channel, oldest, limit: PAGE, include_all_metadata: true, ...(cursor ? { cursor } : {}) }
        const answer = await client.call('conversations.history', args, { schema: historySchema, signal })
        if (!answer.ok) return answer
        const found = answer.data.messages.find(
          ({ bot_id, metadata }) => bot_id === workspace.botId && isAbout(metadata, approval),
        )
        if (found) return { ok: true, data: { channel, ts: found.ts, root: found.thread_ts ?? found.ts } }
        cursor = answer.data.response_metadata?.next_cursor
        if (!cursor) break
      }
      return { ok: true, data: null }
    },
  }
}

export type Messages = ReturnType<typeof createMessages>

const payloadSchema = z.object({ id: z.string() })

function isAbout(
  metadata: { readonly event_type?: string | undefined; readonly event_payload?: unknown } | undefined,
  approval: Approval,
): boolean {
  if (metadata?.event_type !== EVENT_TYPE) return false
  const payload = payloadSchema.safeParse(metadata.event_payload)
  return payload.success && payload.data.id === approval.id
}
