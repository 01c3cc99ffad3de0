import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fastify } from 'fastify'
import type { Timing } from '../../../src/channels/slack/channel.ts'
import { slack } from '../../../src/channels/slack/index.ts'
import { slackOptions } from '../../../src/channels/slack/options.ts'
import type { Delivery, DeliveryResult, RunningChannel } from '../../../src/domain/channel.ts'
import { type Person, parseParty } from '../../../src/domain/principal.ts'
import { type Clock, systemClock } from '../../../src/platform/clock.ts'
import { createLogger } from '../../../src/platform/logger.ts'
import { createMetrics } from '../../../src/platform/metrics.ts'
import { type FakeSlack, startFakeSlack } from '../../fakes/slack/server.ts'
import type { FakeMessage } from '../../fakes/slack/state.ts'
import {
  createFakeAgents,
  createFakeDesk,
  type FakeAgents,
  type FakeDesk,
  makeDelivery,
  makePerson,
} from './samples.ts'

export type Mode = 'socket' | 'http'

export interface Rig {
  readonly slack: FakeSlack
  readonly desk: FakeDesk
  readonly agents: FakeAgents
  readonly channel: RunningChannel
  readonly people: Map<string, Person>
  readonly refusedSignatures: () => Promise<number>
  readonly log: () => string
  /** Resolves once a line of the log contains the text. */
  logged(text: string): Promise<void>
  deliver(more?: Partial<Delivery>): Promise<DeliveryResult>
  /** Posts the desk's card and gives the message. */
  card(): Promise<FakeMessage>
  /** Delivers what became of the desk's approval, as the outbox would. */
  result(message: FakeMessage | null): Promise<DeliveryResult>
  close(): Promise<void>
}

export interface RigOptions {
  readonly mode?: Mode
  readonly desk?: FakeDesk
  readonly agents?: FakeAgents
  readonly detail?: 'full' | 'summary' | 'link'
  readonly clock?: Clock
  readonly timing?: Partial<Timing>
  /** Prepares the fake before the channel starts. */
  readonly before?: (slack: FakeSlack) => void
  readonly isConnected?: boolean
}

/** The channel beside a fake Slack in which Alice and Bob are linked members. */
export async function startRig({
  mode = 'socket',
  desk = createFakeDesk(),
  agents = createFakeAgents(),
  detail = 'full',
  clock = systemClock,
  timing = {},
  before = () => {},
  isConnected = true,
}: RigOptions = {}): Promise<Rig> {
  const fake = await startFakeSlack({ clock })
  for (const id of ['U0ALICE', 'U0BOB', 'U0ERIN']) fake.addUser({ id })
  before(fake)
  const people = new Map([makePerson('alice'), makePerson('bob')].map((person) => [person.subject, person]))
  const written: string[] = []
  const destination = new PassThrough()
  destination.on('data', (line: Buffer) => written.push(String(line)))
  const metrics = createMetrics()
  const listener = fastify()
  const secrets = mode === 'socket' ? { app_token: fake.state.appToken } : { signing_secret: fake.signingSecret }
  const channel = await slack.start({
    options: slackOptions.parse({
      bot_token: fake.state.botToken,
      ...secrets,
      channel: 'C024FAKE',
      detail,
      people: {
        [`${fake.state.teamId}/U0ALICE`]: 'https://idp.example.com|alice',
        [`${fake.state.teamId}/U0BOB`]: 'https://idp.example.com|bob',
      },
      api_url: fake.apiUrl,
    }),
    desk,
    agents,
    findPerson({ team, user }, accounts) {
      const person = people.get(parseParty(accounts[`${team}/${user}`] ?? '')?.subject ?? '')
      return person ? { person } : { fault: 'unlinked' }
    },
    invite: null,
    publicUrl: 'https://approvals.example.com',
    registerRoute: (plugin) => void listener.register(plugin),
    log: createLogger({ level: 'debug', destination }),
    clock,
    metrics,
    timing: { pauseMs: 20, timeoutMs: 1000, ...timing },
  })
  if (mode === 'http') fake.useHttp(`${await listener.listen({ host: '127.0.0.1', port: 0 })}/slack/interactivity`)
  else if (isConnected) await fake.sockets.connected()

  const signal = new AbortController().signal
  const rig: Rig = {
    slack: fake,
    desk,
    agents,
    channel,
    people,
    log: () => written.join(''),
    async logged(text) {
      while (!written.join('').includes(text)) await once(destination, 'data')
    },
    async refusedSignatures() {
      const { values } = await metrics.tokensRefused.get()
      return values.find(({ labels }) => labels.reason === 'slack_signature')?.value ?? 0
    },
    deliver: (more) => channel.deliver(makeDelivery({ ...desk.current, ...more }), signal),
    async card() {
      const delivered = await rig.deliver()
      if (delivered.result !== 'delivered') throw new Error(JSON.stringify(delivered))
      const message = fake.state.messages.at(-1)
      if (!message) throw new Error('nothing was posted')
      return message
    },
    result: (message) =>
      rig.deliver({ kind: 'result', posted: message && { channel: message.channel, ts: message.ts } }),
    async close() {
      await channel.stop()
      await listener.close()
      await fake.close()
    },
  }
  return rig
}

/** Long enough for something to happen that must not. */
export async function aWhile(): Promise<void> {
  await delay(50)
}
