import { BlockError, checkMessageBlocks, checkView, isTooLongForMessage } from './blocks.ts'
import type { FakeMessage, FakeState } from './state.ts'

export type Args = ReadonlyMap<string, string>
export type Answer = Record<string, unknown> & { ok: boolean }

interface MethodRule {
  readonly token: 'bot' | 'app'
  /** One of these. */
  readonly scopes: readonly string[]
  /** Calls per minute before 429. */
  readonly perMinute: number
  run(state: FakeState, args: Args): Answer
}

const TRIGGER_MS = 3000

function refuse(error: string, more: Record<string, unknown> = {}): Answer {
  return { ok: false, error, ...more }
}

/** The methods an app of this kind needs; any other is `unknown_method`. */
export const RULES: Readonly<Record<string, MethodRule>> = {
  'auth.test': {
    token: 'bot',
    scopes: [],
    perMinute: 600,
    run: (state) => ({
      ok: true,
      url: 'https://fake.slack.com/',
      team: 'Fake',
      user: 'countersign',
      team_id: state.teamId,
      user_id: state.botUserId,
      bot_id: state.botId,
      is_enterprise_install: false,
    }),
  },
  'apps.connections.open': {
    token: 'app',
    scopes: [],
    perMinute: 60,
    run(state) {
      const ticket = state.nextId('ticket-')
      state.tickets.add(ticket)
      return { ok: true, url: `${state.socketBase}/link/?ticket=${ticket}&app_id=${state.appId}` }
    },
  },
  'users.info': {
    token: 'bot',
    scopes: ['users:read'],
    perMinute: 100,
    run(state, args) {
      const user = state.users.get(args.get('user') ?? '')
      return user ? { ok: true, user: { ...user } } : refuse('user_not_found')
    },
  },
  'chat.postMessage': { token: 'bot', scopes: ['chat:write'], perMinute: 60, run: postMessage },
  'chat.update': { token: 'bot', scopes: ['chat:write'], perMinute: 50, run: update },
  'chat.postEphemeral': { token: 'bot', scopes: ['chat:write'], perMinute: 100, run: postEphemeral },
  'conversations.history': {
    token: 'bot',
    scopes: ['channels:history', 'groups:history'],
    perMinute: 50,
    run: history,
  },
  'views.open': { token: 'bot', scopes: [], perMinute: 100, run: openView },
}

function channelProblem(state: FakeState, id: string | undefined): Answer | null {
  const channel = state.channels.get(id ?? '')
  if (!channel) return refuse('channel_not_found')
  if (channel.isArchived) return refuse('is_archived')
  return channel.isMember ? null : refuse('not_in_channel')
}

interface Content {
  readonly text: string
  readonly blocks: Record<string, unknown>[]
  readonly metadata: FakeMessage['metadata']
}

function readContent(args: Args): Content | Answer {
  const text = args.get('text') ?? ''
  if (text.length > 40_000) return refuse('msg_too_long')
  const blocks = parseJson(args.get('blocks') ?? '[]')
  if (!Array.isArray(blocks)) return refuse('invalid_blocks_format')
  if (blocks.length === 0 && text === '') return refuse('no_text')
  const problem = blocks.length > 0 ? blockProblem(() => checkMessageBlocks(blocks)) : null
  if (problem) return problem
  if (isTooLongForMessage(blocks)) return refuse('msg_blocks_too_long')
  const raw = args.get('metadata')
  if (raw === undefined) return { text, blocks, metadata: undefined }
  const metadata = readMetadata(parseJson(raw))
  return metadata ? { text, blocks, metadata } : refuse('invalid_metadata_schema')
}

function blockProblem(check: () => void): Answer | null {
  try {
    check()
    return null
  } catch (error) {
    if (!(error instanceof BlockError)) throw error
    return refuse('invalid_blocks', { response_metadata: { messages: [error.message] } })
  }
}

function readMetadata(value: unknown): FakeMessage['metadata'] {
  if (typeof value !== 'object' || value === null || !('event_type' in value) || !('event_payload' in value)) return
  const { event_type: type, event_payload: payload } = value
  if (typeof type !== 'string' || !/^[A-Za-z0-9_]{1,100}$/.test(type)) return
  if (typeof payload !== 'object' || payload === null) return
  const isFlat = Object.values(payload).every((item) => ['string', 'number', 'boolean'].includes(typeof item))
  return isFlat ? { event_type: type, event_payload: { ...payload } } : undefined
}

function postMessage(state: FakeState, args: Args): Answer {
  const channel = args.get('channel') ?? ''
  const problem = channelProblem(state, channel)
  if (problem) return problem
  const content = readContent(args)
  if ('ok' in content) return content
  const thread = args.get('thread_ts')
  if (thread !== undefined) {
    const root = find(state, channel, thread)
    if (!root) return refuse('thread_not_found')
    if (root.thread_ts !== undefined) return refuse('cannot_reply_to_message')
  }
  const message: FakeMessage = {
    channel,
    ts: state.nextTs(),
    bot_id: state.botId,
    thread_ts: thread,
    isBroadcast: args.get('reply_broadcast') === 'true',
    updates: 0,
    ...content,
  }
  state.messages.push(message)
  return { ok: true, channel, ts: message.ts, message: show(state, message) }
}

function update(state: FakeState, args: Args): Answer {
  const channel = args.get('channel') ?? ''
  const problem = channelProblem(state, channel)
  if (problem) return problem
  const message = find(state, channel, args.get('ts') ?? '')
  if (!message) return refuse('message_not_found')
  if (message.bot_id !== state.botId) return refuse('cant_update_message')
  const content = readContent(args)
  if ('ok' in content) return content
  message.text = content.text
  message.blocks = content.blocks
  if (content.metadata) message.metadata = content.metadata
  message.updates += 1
  return { ok: true, channel, ts: message.ts, text: message.text, message: show(state, message) }
}

function postEphemeral(state: FakeState, args: Args): Answer {
  const channel = args.get('channel') ?? ''
  const problem = channelProblem(state, channel)
  if (problem) return problem
  const user = args.get('user') ?? ''
  if (!state.channels.get(channel)?.members.has(user)) return refuse('user_not_in_channel')
  const content = readContent(args)
  if ('ok' in content) return content
  const thread_ts = args.get('thread_ts')
  state.ephemerals.push({ channel, user, text: content.text, thread_ts, via: 'chat.postEphemeral' })
  return { ok: true, message_ts: state.nextTs() }
}

function history(state: FakeState, args: Args): Answer {
  const channel = args.get('channel') ?? ''
  const problem = channelProblem(state, channel)
  if (problem) return problem
  const limit = Number(args.get('limit') ?? 100)
  if (!Number.isInteger(limit) || limit < 1 || limit > 999) return refuse('invalid_limit')
  const oldest = Number(args.get('oldest') ?? 0)
  if (Number.isNaN(oldest)) return refuse('invalid_ts_oldest')
  const start = args.has('cursor') ? Number(args.get('cursor')?.replace('next:', '')) : 0
  if (Number.isNaN(start)) return refuse('invalid_cursor')
  // Replies that were not sent to the channel as well are in conversations.replies only.
  const all = state.messages
    .filter((message) => message.channel === channel && Number(message.ts) > oldest)
    .filter((message) => message.thread_ts === undefined || message.isBroadcast)
    .toReversed()
  const withMetadata = args.get('include_all_metadata') === 'true'
  const messages = all.slice(start, start + limit).map((message) => {
    const { metadata, ...shown } = show(state, message)
    return withMetadata && metadata !== undefined ? { ...shown, metadata } : shown
  })
  const hasMore = all.length > start + limit
  const next_cursor = hasMore ? `next:${start + limit}` : ''
  return { ok: true, messages, has_more: hasMore, response_metadata: { next_cursor } }
}

function openView(state: FakeState, args: Args): Answer {
  const view = parseJson(args.get('view') ?? '')
  if (typeof view !== 'object' || view === null) return refuse('invalid_arguments')
  const trigger = state.triggers.get(args.get('trigger_id') ?? '')
  if (!trigger) return refuse('invalid_trigger_id')
  if (trigger.isUsed) return refuse('exchanged_trigger_id')
  if (state.clock.now() - trigger.at > TRIGGER_MS) return refuse('expired_trigger_id')
  const problem = blockProblem(() => checkView(view))
  if (problem) return { ...problem, error: 'invalid_arguments' }
  trigger.isUsed = true
  const opened = { id: state.nextId('V'), user: trigger.user, hash: state.nextTs(), view: { ...view }, isOpen: true }
  state.views.push(opened)
  return { ok: true, view: { ...view, id: opened.id, team_id: state.teamId, hash: opened.hash } }
}

export function find(state: FakeState, channel: string, ts: string): FakeMessage | undefined {
  return state.messages.find((message) => message.channel === channel && message.ts === ts)
}

/** A message as Slack gives it back. */
export function show(state: FakeState, message: FakeMessage): Record<string, unknown> {
  return {
    type: 'message',
    ...(message.isBroadcast ? { subtype: 'thread_broadcast' } : {}),
    user: state.botUserId,
    bot_id: message.bot_id,
    app_id: state.appId,
    team: state.teamId,
    ts: message.ts,
    text: message.text,
    blocks: message.blocks.map((block, index) => ({ block_id: `b${index}`, ...block })),
    ...(message.thread_ts === undefined ? {} : { thread_ts: message.thread_ts }),
    ...(message.metadata === undefined ? {} : { metadata: message.metadata }),
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
