import type { Clock } from '../../../src/platform/clock.ts'

export interface FakeUser {
  readonly id: string
  readonly team_id: string
  name: string
  deleted: boolean
  is_bot: boolean
  is_restricted?: boolean
  is_ultra_restricted?: boolean
  is_stranger?: boolean
}

export interface FakeMessage {
  readonly channel: string
  readonly ts: string
  readonly bot_id: string
  readonly thread_ts: string | undefined
  readonly isBroadcast: boolean
  text: string
  blocks: Record<string, unknown>[]
  metadata: { event_type: string; event_payload: Record<string, unknown> } | undefined
  updates: number
}

export interface FakeView {
  readonly id: string
  readonly user: string
  hash: string
  view: Record<string, unknown>
  isOpen: boolean
}

export interface Ephemeral {
  readonly channel: string
  readonly user: string
  readonly text: string
  readonly thread_ts: string | undefined
  readonly via: 'chat.postEphemeral' | 'response_url' | 'command'
  readonly blocks?: readonly Record<string, unknown>[]
}

/** What one workspace of the fake knows. */
export interface FakeState {
  readonly clock: Clock
  readonly teamId: string
  readonly botId: string
  readonly botUserId: string
  readonly appId: string
  readonly botToken: string
  readonly appToken: string
  isTokenRevoked: boolean
  readonly scopes: Set<string>
  readonly channels: Map<string, { isArchived: boolean; isMember: boolean; readonly members: Set<string> }>
  readonly users: Map<string, FakeUser>
  readonly messages: FakeMessage[]
  readonly ephemerals: Ephemeral[]
  readonly views: FakeView[]
  readonly triggers: Map<string, { readonly user: string; readonly at: number; isUsed: boolean }>
  readonly responseUrls: Map<
    string,
    { readonly channel: string; readonly user: string; readonly at: number; uses: number }
  >
  readonly tickets: Set<string>
  socketBase: string
  nextTs(): string
  nextId(prefix: string): string
}

export function createState(clock: Clock): FakeState {
  let [lastSecond, fraction, ids] = [0, 0, 0]
  const teamId = 'T024FAKE'
  return {
    clock,
    teamId,
    botId: 'B024FAKE',
    botUserId: 'U0BOT',
    appId: 'A024FAKE',
    botToken: 'xoxb-fake-bot-token',
    appToken: 'xapp-fake-app-token',
    isTokenRevoked: false,
    scopes: new Set(['chat:write', 'users:read', 'channels:history', 'groups:history']),
    channels: new Map([['C024FAKE', { isArchived: false, isMember: true, members: new Set<string>() }]]),
    users: new Map(),
    messages: [],
    ephemerals: [],
    views: [],
    triggers: new Map(),
    responseUrls: new Map(),
    tickets: new Set(),
    socketBase: '',
    nextTs() {
      const second = Math.floor(clock.now() / 1000)
      fraction = second === lastSecond ? fraction + 100 : 100
      lastSecond = second
      return `${second}.${String(fraction).padStart(6, '0')}`
    },
    nextId(prefix) {
      ids += 1
      return `${prefix}${String(ids).padStart(6, '0')}`
    },
  }
}
