import { randomUUID } from 'node:crypto'
import type { FastifyPluginAsync } from 'fastify'
import { createQueue, type Queue } from '../approvals/queue.ts'
import { openAudit } from '../audit/open.ts'
import { createRecorder } from '../audit/record.ts'
import type { Config } from '../config.ts'
import { createControlServer } from '../control/server.ts'
import type { SignInWire } from '../control/wire.ts'
import { createInjector } from '../credentials/inject.ts'
import type { RunningChannel } from '../domain/channel.ts'
import type { Principal } from '../domain/principal.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import { createGate } from '../gate.ts'
import { issuerName } from '../identity/issuer-name.ts'
import { createKillSwitch, type KillSwitch } from '../identity/kill-switch.ts'
import { createLinking, type Linking } from '../identity/linking.ts'
import { createSeenAgents } from '../identity/seen-agents.ts'
import { systemClock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import { createMetrics } from '../platform/metrics.ts'
import { createAllowance } from '../policy/allowance.ts'
import type { PublishResult } from '../policy/publish.ts'
import { CUTS, createWatch } from '../policy/watch.ts'
import { openAuditDesk } from './audit-desk.ts'
import { startBrakes } from './brakes.ts'
import { type ChatPeople, createChatPeople } from './chat-people.ts'
import { openDoors } from './doors.ts'
import type { Ground } from './ground.ts'
import { type Address, listenForMetrics, listenForPeople } from './listen.ts'
import { noteEnds } from './note-ends.ts'
import { openStore } from './open-store.ts'
import type { Kinds } from './parts.ts'
import { compileContext } from './policy-context.ts'
import { openPolicyDesk } from './policy-desk.ts'
import { startRulebook } from './rulebook.ts'
import { startTrust } from './trust.ts'
import { orUnavailable } from './unavailable.ts'

export interface RunningGateway {
  readonly gateway: Address
  /** Where the upstreams with a listener of their own are reached, as host:port. */
  readonly upstreams: Readonly<Record<string, string>>
  readonly control: Address
  readonly metrics: Address | null
  /** Brings in the policies and the upstreams' credentials as they are on disk now. What is wrong keeps what was. */
  reload(fresh: Config): Promise<PublishResult>
  /** Takes no new calls, lets those under way finish, tells held clients to come back, and stops. */
  drain(): Promise<void>
}

/**
 * Puts a gateway together and starts it.
 *
 * @throws GatewayError `config` or `store`, with lines that say what is wrong.
 */
export async function startGateway(
  config: Config,
  { kinds, log }: { kinds: Kinds; log: Logger },
): Promise<RunningGateway> {
  await using undo = new AsyncDisposableStack()
  const replicaId = randomUUID()
  const draining = new AbortController()
  const clock = systemClock
  const metrics = createMetrics()
  const store = await openStore(config, log)
  undo.defer(() => store.close())
  const ground: Ground = { ...store, clock, log, metrics, undo }

  const { audit, guard, follow, close: closeAudit } = await openAudit(ground)
  undo.defer(closeAudit)
  const trust = await startTrust(config, ground, audit)
  const { identify, mint, challenge, people, suspensions, frontDesk, chatLinks, passkeys, tally } = trust
  const chatPeople = createChatPeople({ config, people, links: chatLinks })
  const { policies, usage, judge } = await startRulebook(config, ground, {
    kinds,
    audit,
    by: `start of ${replicaId}`,
    suspensions,
  })
  const brakes = startBrakes(ground, { audit, suspensions, policies, judge, queue: () => queue })
  const queue: Queue = createQueue(
    { ...ground, within: audit.within },
    {
      options: config.hold,
      channels: channelsOf(config, kinds).map(({ name }) => name),
      clock,
      random: Math.random,
      replicaId,
      draining: draining.signal,
      standing: chatPeople.standing,
      onDenied: brakes.onDenied,
      persistHead: (seq) => guard.persist(seq),
    },
  )
  follow(async (thanMs) => {
    await queue.withdrawAll({ reason: 'store_failover', openedBefore: new Date(thanMs) })
  }, queue.noteEnded)

  const seen = createSeenAgents(ground)
  seen.start()
  undo.defer(() => seen.stop())
  const agents = createKillSwitch({
    ...ground,
    within: audit.within,
    noteSeen: seen.flush,
    withdrawHeld: queue.withdrawSuspended,
    issuers: issuersIn(config),
    withdrawLifted: queue.withdrawLifted,
  })

  const allowance = createAllowance({ options: config.rate, clock })
  function admit(principal: Principal): Refusal | null {
    const barred = findBar(principal)
    if (barred) metrics.barred.inc({ code: barred.code })
    return barred
  }
  function findBar(principal: Principal): Refusal | null {
    if (draining.signal.aborted) return DRAINING
    if (!guard.isAcknowledged()) return STORE_IN_DOUBT
    return allowance.take(principal)
  }

  const gate = createGate({
    identify,
    admit,
    judge,
    count: brakes.count,
    recorder: noteEnds(createRecorder({ audit, log }), { queue, seen, brakes, ground }),
    approvals: {
      hold: orUnavailable(log, brakes.hold),
      settle: orUnavailable(log, queue.settle),
      recall: orUnavailable(log, queue.recall),
      spend: orUnavailable(log, queue.spend),
      withdraw: orUnavailable(log, queue.withdraw),
    },
    underWatch: createWatch({ suspensions, usage, clock, sessionMaxMs: config.session_max }),
  })

  const injector = createInjector(config.upstreams)
  const doors = await openDoors(config, ground, {
    kinds,
    gate,
    identify,
    mint,
    challenge,
    admit,
    allowance,
    tally,
    queue,
    injector,
    record: audit.append,
    watch: (principal, onCut) => suspensions.watch(principal, (reason) => onCut(CUTS[reason])),
    readiness: [
      { name: 'serving', isOk: () => !draining.signal.aborted },
      { name: 'store', isOk: () => ground.database.isReachable() },
      { name: 'store_acknowledged', isOk: () => guard.isAcknowledged() },
      { name: 'policy', isOk: () => policies.active() !== null },
    ],
  })
  const linking =
    chatLinks &&
    createLinking({
      links: chatLinks,
      signInOf: (service) => channels.find(({ name }) => name === service)?.signIn ?? null,
      keys: ground.keys.cookie,
      clock,
    })
  const { channels, callbacks } = await startChannels(config, ground, { kinds, queue, agents, chatPeople, linking })
  const isTls = config.control.tls !== undefined
  const control = await createControlServer({
    queue,
    agents,
    people,
    console: frontDesk &&
      chatLinks &&
      linking && {
        desk: frontDesk,
        policy: openPolicyDesk(compileContext(config, kinds), policies),
        audit: openAuditDesk(config, ground),
        links: chatLinks,
        linking,
        passkeys,
        watch: queue.watch,
        publicUrl: config.control.public_url,
      },
    signIn: signInOf(config),
    observed: () => observedIn(config),
    callbacks,
    publicUrl: config.control.public_url,
    tls: config.control.tls ?? null,
    log,
    clock,
  })
  undo.defer(() => control.close())
  await queue.start({ channels, revive: doors.revive, resume: gate.resume, oldestCallId: doors.oldestCallId })
  undo.defer(() => queue.stop(config.drain))

  const metricsServer = config.metrics && (await listenForMetrics(config.metrics.listen, { ...metrics, log }))
  undo.defer(() => metricsServer?.close())
  const controlAddress = await listenForPeople(control, config.control.listen, { isTls })
  await audit.append({ kind: 'gateway_started', detail: { replica: replicaId } })
  const { gateway, upstreams } = await doors.listen()
  for (const upstream of observedIn(config)) {
    log.warn({ upstream }, 'OBSERVE MODE: calls to this upstream are forwarded whatever policy says')
  }

  const running = undo.move()
  return {
    gateway,
    upstreams,
    control: controlAddress,
    metrics: metricsServer?.address ?? null,
    async reload(fresh) {
      injector.replace(fresh.upstreams)
      return policies.reload(`reload of ${replicaId}`)
    },
    async drain() {
      draining.abort()
      await doors.close()
      await audit.append({ kind: 'gateway_stopped', detail: { replica: replicaId } }).catch((error: unknown) => {
        log.error({ err: error }, 'the end of this gateway could not be recorded')
      })
      await running.disposeAsync()
    },
  }
}

function channelsOf(config: Config, { channels }: Kinds): Kinds['channels'] {
  return channels.filter(({ name }) => config.channels[name] !== undefined)
}

async function startChannels(
  config: Config,
  { clock, log, metrics, undo }: Ground,
  {
    kinds,
    queue,
    agents,
    chatPeople,
    linking,
  }: {
    kinds: Kinds
    queue: Queue
    agents: KillSwitch
    chatPeople: ChatPeople
    linking: Pick<Linking, 'invite'> | null
  },
): Promise<{ channels: readonly RunningChannel[]; callbacks: readonly FastifyPluginAsync[] }> {
  const callbacks: FastifyPluginAsync[] = []
  const channels: RunningChannel[] = []
  for (const kind of channelsOf(config, kinds)) {
    const channel = await kind.start({
      options: config.channels[kind.name] ?? {},
      desk: queue,
      agents,
      findPerson: chatPeople.find,
      invite: linking?.invite ?? null,
      publicUrl: config.control.public_url,
      registerRoute: (plugin) => callbacks.push(plugin),
      log,
      clock,
      metrics,
    })
    channels.push(channel)
    undo.defer(() => channel.stop())
  }
  return { channels, callbacks }
}

function observedIn({ upstreams }: Config): readonly string[] {
  return upstreams.filter(({ mode }) => mode === 'observe').map(({ name }) => name)
}

/** Of whom agents and those they act for can be, each once. */
function issuersIn({ agent_issuers: ofAgents, people }: Config): readonly string[] {
  const actedFor = ofAgents.flatMap(({ acts_for: actsFor }) => actsFor?.issuer ?? [])
  return [...new Set([...[...ofAgents, ...people].map(({ issuer }) => issuer), ...actedFor])]
}

/** What the command line of a reviewer needs to know of the identity providers. */
function signInOf({ people }: Config): SignInWire {
  return {
    issuers: people.map((issuer) => ({
      name: issuerName(issuer),
      issuer: issuer.issuer,
      client_id: issuer.client_id,
      read_client_id: issuer.read_client_id ?? null,
      scope: issuer.sign_in.scope,
      parameters: issuer.sign_in.parameters,
    })),
  }
}

const DRAINING = refuse('draining', 'Not executed. The gateway restarts; repeat the call.', { retryAfterS: 1 })
const STORE_IN_DOUBT = refuse(
  'unavailable',
  'Not executed. The store is not the one it was; an operator has to look, and run `countersign store recover`.',
  { retryAfterS: 30 },
)
