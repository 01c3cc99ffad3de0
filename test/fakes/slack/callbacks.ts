import { createHmac } from 'node:crypto'
import { checkView } from './blocks.ts'
import { readEphemeral } from './ephemeral.ts'
import { find, show } from './methods.ts'
import type { Sockets } from './sockets.ts'
import type { FakeMessage, FakeState, FakeView } from './state.ts'

/** How an app took a callback. `status` is 200 for an acknowledged envelope, 0 for none at all. */
export interface Taken {
  readonly status: number
  readonly body: Record<string, unknown> | null
  readonly tookMs: number
}

export interface PressHow {
  /** Another rendering of the message, which this person's screen still shows. */
  readonly blocks?: readonly Record<string, unknown>[]
  /** Changes the payload before it is sent, as only Slack itself could. */
  readonly alter?: (payload: Record<string, unknown>) => Record<string, unknown>
}

export interface Callbacks {
  /** Sets the Request URL for interactivity. From then on Slack posts there; until then it uses Socket Mode. */
  useHttp(requestUrl: string): void
  requestUrl(): string | null
  readonly signingSecret: string
  /** A person presses a button that their screen shows. Throws if it shows none of that kind. */
  press(user: string, message: FakeMessage, actionId: string, how?: PressHow): Promise<Taken>
  /** A person fills in the modal that is open for them, and submits it. Throws if Slack's client would not let them. */
  submit(user: string, value: string | null, how?: Pick<PressHow, 'alter'>): Promise<Taken>
  /** The modal that a person sees, if any. */
  openView(user: string): FakeView | undefined
  /**
   * A person types a slash command. What the app answers with is shown to them, and to nobody else; an answer that Slack
   * would not show throws.
   */
  command(user: string, text: string, how?: Pick<PressHow, 'alter'>): Promise<Taken>
  /** Sends any payload as Slack would. */
  send(payload: Record<string, unknown>): Promise<Taken>
  /** The payload of the last press or submission. */
  lastPayload(): Record<string, unknown> | null
  /** A signed request as Slack makes it; `atMs` and `secret` make wrong ones. */
  sign(body: string, how?: { readonly atMs?: number; readonly secret?: string }): Record<string, string>
}

export function createCallbacks(parts: {
  readonly state: FakeState
  readonly sockets: Sockets
  readonly base: string
  readonly signingSecret: string
  readonly ackMs: number
}): Callbacks {
  const { state, sockets, base, signingSecret, ackMs } = parts
  let last: Record<string, unknown> | null = null
  let requestUrl: string | null = null

  function newTrigger(user: string): string {
    const id = `${state.nextId('1')}.${state.nextId('2')}.${state.nextId('abcdef')}`
    state.triggers.set(id, { user, at: state.clock.now(), isUsed: false })
    return id
  }

  function who(user: string) {
    const found = state.users.get(user)
    if (!found) throw new Error(`no such user: ${user}`)
    return { id: user, username: found.name, name: found.name, team_id: found.team_id }
  }

  const callbacks: Callbacks = {
    useHttp(url) {
      requestUrl = url
    },
    requestUrl: () => requestUrl,
    signingSecret,

    async press(user, message, actionId, { blocks = message.blocks, alter = unchanged } = {}) {
      if (!find(state, message.channel, message.ts)) throw new Error('that message is gone')
      const button = blocks
        .filter((block) => block['type'] === 'actions')
        .flatMap((block) => (Array.isArray(block['elements']) ? block['elements'] : []))
        .find((element: Record<string, unknown>) => element['action_id'] === actionId)
      if (!button) throw new Error(`the message shows no ${actionId}`)
      const responseUrl = `${base}/actions/${state.teamId}/${state.nextId('r')}`
      state.responseUrls.set(responseUrl, { channel: message.channel, user, at: state.clock.now(), uses: 0 })
      return callbacks.send(
        alter({
          type: 'block_actions',
          user: who(user),
          api_app_id: state.appId,
          token: 'verification-token',
          container: {
            type: 'message',
            message_ts: message.ts,
            channel_id: message.channel,
            is_ephemeral: false,
          },
          trigger_id: newTrigger(user),
          team: { id: state.teamId, domain: 'fake' },
          enterprise: null,
          is_enterprise_install: false,
          channel: { id: message.channel, name: 'approvals' },
          message: show(state, message),
          state: { values: {} },
          response_url: responseUrl,
          actions: [{ block_id: 'b9', type: 'button', ...button, action_ts: state.nextTs() }],
        }),
      )
    },

    async submit(user, value, { alter = unchanged } = {}) {
      const opened = callbacks.openView(user)
      if (!opened) throw new Error('no modal is open')
      const input = inputOf(opened)
      if (!input) throw new Error('the modal asks for nothing')
      checkTyped(input, value)
      const { view } = opened
      const teamId = state.users.get(user)?.team_id ?? state.teamId
      const blockId = String(input['block_id'])
      const actionId = String((input['element'] as Record<string, unknown>)['action_id'])
      const taken = await callbacks.send(
        alter({
          type: 'view_submission',
          team: { id: teamId, domain: 'fake' },
          user: who(user),
          api_app_id: state.appId,
          token: 'verification-token',
          trigger_id: newTrigger(user),
          view: {
            ...view,
            id: opened.id,
            team_id: state.teamId,
            app_installed_team_id: state.teamId,
            app_id: state.appId,
            bot_id: state.botId,
            hash: opened.hash,
            state: { values: { [blockId]: { [actionId]: { type: 'plain_text_input', value } } } },
          },
          response_urls: [],
          is_enterprise_install: false,
          enterprise: null,
        }),
      )
      settle(opened, taken, blockId)
      return taken
    },

    async command(user, text, { alter = unchanged } = {}) {
      const responseUrl = `${base}/commands/${state.teamId}/${state.nextId('r')}`
      const channel = 'C024FAKE'
      state.responseUrls.set(responseUrl, { channel, user, at: state.clock.now(), uses: 0 })
      const taken = await callbacks.send(
        alter({
          token: 'verification-token',
          team_id: state.users.get(user)?.team_id ?? state.teamId,
          team_domain: 'fake',
          channel_id: channel,
          channel_name: 'approvals',
          user_id: user,
          user_name: who(user).name,
          command: '/countersign',
          text,
          api_app_id: state.appId,
          is_enterprise_install: 'false',
          response_url: responseUrl,
          trigger_id: newTrigger(user),
        }),
      )
      if (taken.status === 200 && taken.body !== null) {
        state.ephemerals.push({ channel, user, ...readEphemeral(taken.body), thread_ts: undefined, via: 'command' })
      }
      return taken
    },

    openView: (user) => state.views.findLast((view) => view.user === user && view.isOpen),

    async send(payload) {
      last = payload
      const started = performance.now()
      if (requestUrl === null) {
        const kind = 'command' in payload ? 'slash_commands' : 'interactive'
        const { attempts, payload: body } = await sockets.deliver(payload, kind)
        const isEmpty = body === null || Object.keys(body).length === 0
        return { status: attempts === 0 ? 0 : 200, body: isEmpty ? null : body, tookMs: performance.now() - started }
      }
      // A command is a form of its own; everything else is one field of a form.
      const fields = 'command' in payload ? formOf(payload) : { payload: JSON.stringify(payload) }
      const body = new URLSearchParams(fields).toString()
      const response = await fetch(requestUrl, {
        method: 'POST',
        headers: callbacks.sign(body),
        body,
        signal: AbortSignal.timeout(ackMs),
      })
      const text = await response.text()
      const tookMs = performance.now() - started
      return { status: response.status, body: text === '' ? null : JSON.parse(text), tookMs }
    },

    lastPayload: () => last,

    sign(body, { atMs = state.clock.now(), secret = signingSecret } = {}) {
      const timestamp = String(Math.floor(atMs / 1000))
      const mac = createHmac('sha256', secret).update(`v0:${timestamp}:${body}`).digest('hex')
      return {
        'content-type': 'application/x-www-form-urlencoded',
        'x-slack-request-timestamp': timestamp,
        'x-slack-signature': `v0=${mac}`,
        'user-agent': 'Slackbot 1.0 (+https://api.slack.com/robots)',
      }
    },
  }
  return callbacks
}

function formOf(payload: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.entries(payload).map(([name, value]) => [name, String(value)]))
}

function unchanged(payload: Record<string, unknown>): Record<string, unknown> {
  return payload
}

function inputOf({ view }: FakeView): Record<string, unknown> | undefined {
  const blocks = Array.isArray(view['blocks']) ? view['blocks'] : []
  return blocks.find((block: Record<string, unknown>) => block['type'] === 'input')
}

/** Slack's client keeps back what an input does not allow. */
function checkTyped(input: Record<string, unknown>, value: string | null): void {
  const element = input['element'] as Record<string, unknown>
  const isEmpty = value === null || value === ''
  if (isEmpty && input['optional'] !== true) throw new Error('the input must not be empty')
  if (!isEmpty && value.length > Number(element['max_length'] ?? 3000)) throw new Error('the input is too long')
}

/** What the modal does with the app's answer. An answer Slack could not use leaves it open with an error. */
function settle(opened: FakeView, { status, body }: Taken, blockId: string): void {
  if (status !== 200) return
  switch (body?.['response_action']) {
    case undefined:
    case 'clear':
      opened.isOpen = false
      return
    case 'errors':
      if (!Object.keys(body?.['errors'] ?? {}).includes(blockId)) throw new Error('errors name no block of the modal')
      return
    case 'update':
      checkView(body?.['view'])
      opened.view = { ...(body?.['view'] as Record<string, unknown>) }
      return
    default:
      throw new Error('a response_action that Slack does not know')
  }
}
