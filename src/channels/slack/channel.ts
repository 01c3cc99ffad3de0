import { App, type Receiver } from '@slack/bolt'
import type { FastifyPluginAsync } from 'fastify'
import { z } from 'zod'
import type { Acquaintance, ChatAccount, Desk, RunningChannel, StopDesk } from '../../domain/channel.ts'
import { GatewayError } from '../../domain/error.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { Metrics } from '../../platform/metrics.ts'
import { createRespond, createTell } from './answer.ts'
import { createBoltLogger } from './bolt-logger.ts'
import { createBoundedFetch } from './bounded-fetch.ts'
import { createSlackClient } from './client.ts'
import { createCommands } from './commands.ts'
import { createDeliver } from './deliver.ts'
import { createHttpReceiver } from './http.ts'
import { createInTime } from './in-time.ts'
import { createMembers } from './members.ts'
import { createMessages } from './messages.ts'
import type { ModalAnswer } from './modal.ts'
import { createTellNotice } from './notice.ts'
import type { SlackOptions } from './options.ts'
import { COMMAND } from './payload.ts'
import { createPresses } from './presses.ts'
import { createRecognise } from './recognise.ts'
import { createRefresh } from './refresh.ts'
import { createSlackSignIn } from './sign-in.ts'
import { createSocket } from './socket.ts'
import { createWorkspace } from './workspace.ts'

export interface SlackParts {
  readonly options: SlackOptions
  readonly desk: Desk
  readonly agents: StopDesk
  /**
   * Who is behind an account that Slack confirmed. `accounts`: those that the configuration names, from
   * `team id/user id` to `issuer|subject`.
   */
  findPerson(account: ChatAccount, accounts: Readonly<Record<string, string>>): Acquaintance | Promise<Acquaintance>
  /** A ticket for whoever pressed a button with this account; null where nobody can sign in. */
  readonly invite: ((account: ChatAccount) => string) | null
  /** Of the control listener. */
  readonly publicUrl: string
  /** Mounts the callback on the control listener, outside of what that asks of people. Needed in HTTP mode only. */
  readonly registerRoute?: (plugin: FastifyPluginAsync) => void
  readonly log: Logger
  readonly clock: Clock
  readonly metrics: Pick<Metrics, 'tokensRefused'>
  readonly timing?: Partial<Timing>
}

export interface Timing {
  /** Slack waits 3 s for an acknowledgement. */
  readonly ackMs: number
  /** For one request to Slack. */
  readonly timeoutMs: number
  /** Before the first attempt to connect again. */
  readonly pauseMs: number
  /** How long `stop` waits for presses that are being handled. */
  readonly drainMs: number
}

const TIMING: Timing = { ackMs: 2500, timeoutMs: 8000, pauseMs: 1000, drainMs: 5000 }

export async function startSlack(parts: SlackParts): Promise<RunningChannel> {
  const { options, desk, publicUrl, clock } = parts
  const timing = { ...TIMING, ...parts.timing }
  const log = parts.log.child({ channel: 'slack' })
  const stop = new AbortController()
  const stopping = stop.signal

  const { bot_token: token, api_url: apiUrl, detail } = options
  const client = createSlackClient({ token, apiUrl, timeoutMs: timing.timeoutMs, stopping, log })
  const signIn = openSignIn(options, { publicUrl, timeoutMs: timing.timeoutMs })
  const workspace = createWorkspace(client)
  const messages = createMessages(client, options.channel)
  const recognise = createRecognise({
    workspace,
    members: createMembers(client, clock),
    findPerson: (account) => parts.findPerson(account, options.people),
    invite: (account) => (signIn && parts.invite ? linkUrl(publicUrl, parts.invite(account)) : null),
    log,
  })
  const boundedFetch = createBoundedFetch({ timeoutMs: timing.timeoutMs, signals: [stopping] })
  const respond = createRespond({ apiUrl, fetch: boundedFetch, log })
  const commands = createCommands({ agents: parts.agents, recognise, respond, clock, log })
  const refresh = createRefresh({ desk, messages, detail, publicUrl })
  const presses = createPresses({
    desk,
    recognise,
    tell: createTell({ client, respond, log }),
    ask: async (trigger_id, view, signal) => {
      const answer = await client.call('views.open', { trigger_id, view }, { schema: z.object({}), signal })
      if (!answer.ok) log.warn({ slack: answer }, 'the question for a reason could not be opened')
      return answer.ok
    },
    refresh,
    detail,
    publicUrl,
    clock,
    log,
  })

  const { receiver, running } = createReceiver(parts, { timing, stopping, log })
  const inTime = createInTime(timing.ackMs)
  const app = new App({
    receiver,
    authorize: async () => ({}),
    convoStore: false,
    ignoreSelf: false,
    logger: createBoltLogger(log),
    clientOptions: { slackApiUrl: apiUrl, retryConfig: { retries: 0 }, timeout: timing.timeoutMs },
  })
  app.error(async (error) => log.error({ err: error }, 'a callback of Slack could not be handled'))
  app.action('countersign.open', async ({ ack }) => ack())
  app.action(/^countersign\.(?!open$)/, async ({ body, ack }) => {
    await inTime.run(() => presses.press(body, stopping))
    await ack()
  })
  app.view('countersign.reason', async ({ body, ack }) => {
    const answer = await inTime.run<ModalAnswer>((isLate) => presses.submit(body, stopping, isLate))
    if (answer) await ack(answer)
    else await ack()
  })
  app.view('countersign.question', async ({ body, ack }) => {
    const answer = await inTime.run<ModalAnswer>((isLate) => presses.submitQuestion(body, stopping, isLate))
    if (answer) await ack(answer)
    else await ack()
  })
  app.command(COMMAND, async ({ body, ack }) => {
    const answer = await inTime.run((isLate) => commands.run(body, stopping, isLate))
    if (answer)
      await ack({ response_type: 'ephemeral', ...answer, ...(answer.blocks && { blocks: [...answer.blocks] }) })
    else await ack()
  })
  const connection = running()
  const greeting = greet()

  /** Tells the log who we are, and finds a wrong token before the first card does. */
  async function greet(): Promise<void> {
    const own = await workspace(stopping)
    if (stopping.aborted) return
    if (!own.ok) return log.error({ slack: own }, 'Slack does not accept the bot token, or cannot be reached')
    log.info({ team: own.data.teamId }, 'Slack accepts the bot token')
    const strangers = Object.keys(options.people).filter((key) => !key.startsWith(`${own.data.teamId}/`))
    if (strangers.length > 0)
      log.warn({ people: strangers }, 'people of another workspace cannot vote through this app')
  }

  return {
    name: 'slack',
    deliver: createDeliver({ messages, workspace, refresh, detail, publicUrl, clock, log }),
    tell: createTellNotice({ messages, publicUrl, log }),
    ...(signIn && { signIn }),
    async stop() {
      await inTime.settled(timing.drainMs)
      stop.abort()
      await Promise.all([connection, greeting])
      await Promise.all([app.stop(), signIn?.close()])
    },
  }
}

function openSignIn(
  { api_url: apiUrl, client_id: clientId, client_secret: clientSecret }: SlackOptions,
  { publicUrl, timeoutMs }: { publicUrl: string; timeoutMs: number },
) {
  if (clientId === undefined || clientSecret === undefined) return null
  return createSlackSignIn({
    apiUrl,
    clientId,
    clientSecret,
    callbackUrl: `${publicUrl}/link/slack/callback`,
    timeoutMs,
  })
}

/** Of letters, digits, dashes and underscores only, so that nothing of it means anything in a message. */
function linkUrl(publicUrl: string, ticket: string): string {
  return `${publicUrl}/link/slack?ticket=${ticket}`
}

function createReceiver(
  { options, registerRoute, clock, metrics }: SlackParts,
  { timing, stopping, log }: { timing: Timing; stopping: AbortSignal; log: Logger },
): { receiver: Receiver; running: () => Promise<void> } {
  if (options.app_token !== undefined) {
    const { timeoutMs, pauseMs } = timing
    const socket = createSocket({
      appToken: options.app_token,
      apiUrl: options.api_url,
      timeoutMs,
      pauseMs,
      stopping,
      log,
    })
    return { receiver: socket.receiver, running: socket.keepOpen }
  }
  if (options.signing_secret === undefined || !registerRoute) {
    throw new GatewayError('config', 'channels.slack: HTTP mode needs signing_secret and the control listener')
  }
  const { receiver, plugin } = createHttpReceiver({
    signingSecret: options.signing_secret,
    clock,
    log,
    onRefused: () => metrics.tokensRefused.inc({ reason: 'slack_signature' }),
  })
  registerRoute(plugin)
  return { receiver, running: async () => {} }
}
