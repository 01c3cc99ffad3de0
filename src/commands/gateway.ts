import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import type { FastifyPluginAsync } from 'fastify'
import { agentEndpoints } from '../agents/endpoints.ts'
import { createQueue } from '../approvals/queue.ts'
import { refuseFor } from '../approvals/refusals.ts'
import { openAudit } from '../audit/open.ts'
import { createRecorder } from '../audit/record.ts'
import type { Config } from '../config.ts'
import { createControlServer } from '../control/server.ts'
import type { SignInWire } from '../control/wire.ts'
import { createAssertionSigner } from '../credentials/assertion.ts'
import { createInjector } from '../credentials/inject.ts'
import type { Approval } from '../domain/approval.ts'
import type { Arrival, Credential, Exchange, Outcome } from '../domain/call.ts'
import type { RunningChannel } from '../domain/channel.ts'
import { GatewayError } from '../domain/error.ts'
import { formatParty, type Principal, principalKey } from '../domain/principal.ts'
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts'
import type { Effect } from '../domain/verdict.ts'
import { createGate } from '../gate.ts'
import { createAgents } from '../identity/agents.ts'
import { issuerName } from '../identity/issuer-name.ts'
import { createPeople } from '../identity/people.ts'
import { createRefusalTally } from '../identity/refused-tokens.ts'
import { createSuspensions } from '../identity/suspensions.ts'
import { systemClock } from '../platform/clock.ts'
import { newCallId } from '../platform/id.ts'
import { exportJwks } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'
import { createMetrics } from '../platform/metrics.ts'
import { compile } from '../policy/compile.ts'
import { decide } from '../policy/decide.ts'
import { createJudge } from '../policy/judge.ts'
import { loadPolicies } from '../policy/load.ts'
import { createPolicyStore } from '../policy/publish.ts'
import { createRateLimiter } from '../policy/rate.ts'
import { createUsage } from '../policy/usage.ts'
import { createWatch } from '../policy/watch.ts'
import { readCredential } from '../protocols/http/credential.ts'
import { createGatewayServer } from '../transports/http/server.ts'
import type { RunningProtocol } from '../transports/protocol.ts'
import { type Address, addressOf, listenForMetrics } from './listen.ts'
import { openStore } from './open-store.ts'
import type { Kinds } from './parts.ts'
import { compileContext } from './policy-context.ts'

export interface RunningGateway {
  readonly gateway: Address
  readonly control: Address
  readonly metrics: Address | null
  /** Brings in the policies and the upstreams' credentials as they are on disk now. What is wrong keeps what was. */
  reload(fresh: Config): Promise<void>
  /** Takes no new calls, lets those under way finish, tells held clients to come back, and stops. */
  drain(): Promise<void>
}

/**
 * Puts a gateway together and starts it.
 *
 * @throws GatewayError `config` or `store`, with one line that says what is wrong.
 */
export async function startGateway(
  config: Config,
  { kinds, log }: { kinds: Kinds; log: Logger },
): Promise<RunningGateway> {
  await using undo = new AsyncDisposableStack()
  const clock = systemClock
  const metrics = createMetrics()
  const draining = new AbortController()
  const replicaId = randomUUID()

  const store = await openStore(config, log)
  undo.defer(() => store.close())
  const { database, keys, dataDir } = store

  const {
    audit,
    guard,
    close: closeAudit,
  } = await openAudit({
    database,
    keys,
    dataDir,
    clock,
    log,
    metrics,
    withdrawOlder: async (thanMs) => {
      await queue.withdrawAll({ reason: 'store_failover', openedBefore: new Date(thanMs) })
    },
  })
  undo.defer(closeAudit)

  const suspensions = createSuspensions({ database, clock, log })
  await suspensions.start()
  undo.defer(() => suspensions.stop())
  const agents = createAgents({ issuers: config.agent_issuers, people: config.people, clock, log, metrics })
  undo.defer(() => agents.close())
  const people = createPeople({ issuers: config.people, clock, log })
  undo.defer(() => people.close())
  const faults = (await Promise.all([agents.probe(), people.probe()])).flat()
  if (faults.length > 0) throw new GatewayError('config', faults.join('\n'))
  const tally = createRefusalTally({ append: (entry) => audit.append(entry), clock, log })
  undo.defer(() => tally.close())

  const policies = createPolicyStore({
    database,
    keys: keys.mac,
    audit,
    load: () => loadPolicies(resolve(config.directory, config.policies)),
    compile: (source) => compile(source, compileContext(config, kinds)),
    clock,
    log,
    metrics,
  })
  undo.defer(() => policies.stop())
  const published = await policies.publishAtStart(`start of ${replicaId}`)
  if (published.result === 'refused' && !policies.active()) {
    const problem = published.problems[0]
    throw new GatewayError(
      'config',
      problem ? `${problem.file}:${problem.line}: ${problem.message}` : 'no usable policy',
    )
  }
  await policies.follow()
  const usage = createUsage({ database, clock, log })
  usage.start()
  undo.defer(() => usage.stop())
  const rate = createRateLimiter({ rate: config.rate.per_principal, clock })

  const channelNames = kinds.channels.map(({ name }) => name).filter((name) => config.channels[name] !== undefined)
  const ground = { database, keys, within: audit.within, metrics, log }
  const queue = createQueue(ground, {
    options: config.hold,
    channels: channelNames,
    clock,
    random: Math.random,
    replicaId,
    draining: draining.signal,
    standing: async (voter) => people.standing(voter),
    persistHead: () => guard.persist(),
  })

  async function identify(credential: Credential, source: string): Promise<Principal | Refusal> {
    const principal = await agents.identify(credential)
    if (isRefusal(principal)) tally.count('token_refused', source, principal.challenge?.description ?? principal.code)
    return principal
  }

  function admit(principal: Principal): Refusal | null {
    if (draining.signal.aborted)
      return refuse('draining', 'Not executed. The gateway restarts; repeat the call.', { retryAfterS: 1 })
    if (!guard.isAcknowledged()) return refuse('unavailable', STORE_IN_DOUBT, { retryAfterS: 30 })
    const waitMs = rate.take(formatParty(principal))
    if (waitMs === 0) return null
    return refuse('rate_limited', 'Not executed. This agent calls too often; slow down.', {
      retryAfterS: waitMs / 1000,
    })
  }

  const orUnavailable = refusing(log)
  const recorder = createRecorder({ audit, log })
  const judge = createJudge({
    decide(call, known) {
      const set = policies.active()
      if (!set) return NO_POLICY
      return decide(set, {
        ...known,
        principal: call.principal,
        upstream: call.upstream,
        callId: call.id,
        now: clock.now(),
      })
    },
    isSuspended: suspensions.isSuspended,
    applyLimits: orUnavailable((call: Exchange, verdict) =>
      verdict.limits.length === 0 ? Promise.resolve(verdict) : usage.apply(principalKey(call.principal), verdict),
    ),
  })

  // Only for the metrics: what was judged of a call that is under way.
  const effects = new WeakMap<Exchange, Effect>()
  const gate = createGate({
    identify,
    admit,
    judge,
    recorder: {
      intent(call, judged) {
        effects.set(call, judged.effect)
        return recorder.intent(call, judged)
      },
      async outcome(call, approval, outcome) {
        metrics.calls.inc({ upstream: call.upstream.name, effect: effects.get(call) ?? 'deny', outcome: outcome.name })
        await recorder.outcome(call, approval, outcome)
        if (approval) await noteOutcome(call, approval, outcome)
      },
    },
    approvals: {
      hold: orUnavailable(queue.hold),
      settle: orUnavailable(queue.settle),
      recall: orUnavailable(queue.recall),
      spend: orUnavailable(queue.spend),
      withdraw: orUnavailable(queue.withdraw),
    },
    underWatch: createWatch({ suspensions, usage, clock, sessionMaxMs: config.session_max }),
  })

  async function noteOutcome(call: Exchange, approval: Approval, outcome: Outcome): Promise<void> {
    try {
      await queue.finish(approval, { callId: call.id, outcome })
    } catch (error) {
      log.error({ err: error, call: call.id }, 'the outcome of a held call could not be noted with its approval')
    }
  }

  const underWay = new Map<string, Promise<void>>()
  function pass(arrival: Arrival): Promise<void> {
    const passed = gate.pass(arrival).finally(() => underWay.delete(arrival.id))
    underWay.set(arrival.id, passed)
    return passed
  }

  const server = createGatewayServer({
    ...config.gateway.listen,
    tls: config.gateway.tls ?? null,
    isBehindTlsProxy: config.gateway.behind_tls_proxy,
    log,
    onMalformed(source, reason) {
      metrics.malformed.inc({ reason })
      tally.count('malformed', source, reason)
    },
  })
  const isReady = { value: false }
  await server.app.register(agentEndpoints, {
    readCredential: readRequestCredential,
    identify,
    admit,
    sourceOf: server.sourceOf,
    calls: queue,
    refuseFor,
    gateway: {
      publicUrl: config.gateway.public_url,
      upstreams: config.upstreams.map(({ name }) => name),
      authorizationServers: config.agent_issuers.map(({ issuer }) => issuer),
    },
    jwks: () => exportJwks(keys.assertion),
    readiness: [
      { name: 'started', isOk: () => isReady.value },
      { name: 'serving', isOk: () => !draining.signal.aborted },
      { name: 'store', isOk: () => database.isReachable() },
      { name: 'store_acknowledged', isOk: () => guard.isAcknowledged() },
      { name: 'policy', isOk: () => policies.active() !== null },
    ],
    monotonicMs: () => clock.monotonic(),
  })

  const injector = createInjector(config.upstreams)
  const running = new Map<string, RunningProtocol>()
  for (const kind of kinds.protocols) {
    const protocol = await kind.start({
      upstreams: config.upstreams.filter(({ protocol: name }) => name === kind.name),
      pass,
      newCallId,
      clock,
      log,
      server,
      publicUrl: config.gateway.public_url,
      holdWaitMs: config.hold.wait,
      injector,
      sign: createAssertionSigner({
        issuer: config.gateway.public_url,
        key: () => keys.assertion.current,
        now: clock.now,
      }),
    })
    running.set(kind.name, protocol)
    undo.defer(() => protocol.stop())
  }

  const callbacks: FastifyPluginAsync[] = []
  const channels: RunningChannel[] = []
  for (const kind of kinds.channels) {
    const options = config.channels[kind.name]
    if (options === undefined) continue
    const channel = await kind.start({
      options,
      desk: queue,
      findPerson: (key: string, accounts: Readonly<Record<string, string>>) => people.mapChatAccount(key, accounts),
      publicUrl: config.control.public_url,
      registerRoute: (plugin) => callbacks.push(plugin),
      log,
      clock,
      metrics,
    })
    channels.push(channel)
    undo.defer(() => channel.stop())
  }

  const control = await createControlServer({
    queue,
    people,
    signIn: signInOf(config),
    observed: () => config.upstreams.filter(({ mode }) => mode === 'observe').map(({ name }) => name),
    callbacks,
    publicUrl: config.control.public_url,
    tls: config.control.tls ?? null,
    log,
    clock,
  })
  undo.defer(() => control.close())

  await queue.start({
    channels,
    async revive(approval, stored) {
      const upstream = config.upstreams.find(({ name }) => name === approval.upstream)
      const protocol = upstream && running.get(upstream.protocol)
      return (
        protocol?.revive(stored, { id: approval.callId, principal: approval.requester, upstream: approval.upstream }) ??
        null
      )
    },
    resume: gate.resume,
    oldestCallId: () => underWay.keys().next().value ?? null,
  })
  undo.defer(() => queue.stop(config.drain))

  await control.listen(config.control.listen)
  // A server that listens on TCP has an address with a port.
  const { address: host, port } = control.server.address() as AddressInfo
  const controlAddress = addressOf({ host, port }, { isTls: config.control.tls !== undefined })
  const metricsServer =
    config.metrics && (await listenForMetrics(config.metrics.listen, { registry: metrics.registry, log }))
  undo.defer(async () => metricsServer?.close())
  const gatewayAddress = addressOf(await server.listen(), { isTls: config.gateway.tls !== undefined })
  undo.defer(() => server.close(config.drain))
  await audit.append({
    kind: 'gateway_started',
    detail: { replica: replicaId, policy_version: policies.active()?.version ?? 0 },
  })
  isReady.value = true
  for (const name of config.upstreams.filter(({ mode }) => mode === 'observe').map((upstream) => upstream.name)) {
    log.warn({ upstream: name }, 'OBSERVE MODE: calls to this upstream are forwarded whatever policy says')
  }

  const stack = undo.move()
  return {
    gateway: gatewayAddress,
    control: controlAddress,
    metrics: metricsServer?.address ?? null,
    async reload(fresh) {
      injector.replace(fresh.upstreams)
      await policies.reload(`reload of ${replicaId}`)
    },
    async drain() {
      draining.abort()
      await stack.disposeAsync()
    },
  }
}

/** What fails because the store does is a refusal: nothing was forwarded yet. */
function refusing(log: Logger) {
  return <Given extends readonly unknown[], Result>(work: (...given: Given) => Promise<Result>) =>
    async (...given: Given): Promise<Result | Refusal> => {
      try {
        return await work(...given)
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error
        log.error({ err: error }, 'a call is refused because of the store')
        return refuse('unavailable', 'Not executed. The gateway cannot reach its store; try again.', { retryAfterS: 2 })
      }
    }
}

const NO_POLICY = refuse('unavailable', 'Not executed. The gateway has no policy to decide by; try again.', {
  retryAfterS: 5,
})

const STORE_IN_DOUBT =
  'Not executed. The store is not the one it was; an operator has to look, and run `countersign store recover`.'

/** The credential of a request to the gateway's own paths: the same forms as for a call. */
function readRequestCredential(request: IncomingMessage): Credential {
  const given = Object.entries(request.headers).flatMap(([name, value]) =>
    typeof value === 'string' ? [[name, value] as const] : [],
  )
  const url = request.url ?? ''
  const mark = url.indexOf('?')
  return readCredential(new Map(given), mark === -1 ? '' : url.slice(mark + 1))
}

/** What the command line of a reviewer needs to know of the identity providers. */
function signInOf({ people }: Config): SignInWire {
  return {
    issuers: people.map((issuer) => ({
      name: issuerName(issuer),
      issuer: issuer.issuer,
      client_id: issuer.client_id,
      read_client_id: issuer.read_client_id ?? null,
      ...issuer.sign_in,
    })),
  }
}
