import type { IncomingMessage } from 'node:http'
import type { Readiness } from '../agents/desk.ts'
import { agentEndpoints } from '../agents/endpoints.ts'
import type { Queue } from '../approvals/queue.ts'
import { refuseFor } from '../approvals/refusals.ts'
import type { Config } from '../config.ts'
import { createAssertionSigner } from '../credentials/assertion.ts'
import type { Injector } from '../credentials/inject.ts'
import type { Approval } from '../domain/approval.ts'
import type { Credential, Exchange, Stored } from '../domain/call.ts'
import type { Entry } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import type { Principal } from '../domain/principal.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Gate } from '../gate.ts'
import type { RefusalTally } from '../identity/refused-tokens.ts'
import { newCallId } from '../platform/id.ts'
import { exportJwks } from '../platform/keys.ts'
import type { Allowance } from '../policy/allowance.ts'
import { readCredential } from '../transports/http/credential.ts'
import { ownHeaders } from '../transports/http/own-headers.ts'
import { createGatewayServer } from '../transports/http/server.ts'
import type { RunningProtocol } from '../transports/protocol.ts'
import type { Ground } from './ground.ts'
import { type Address, addressOf, formatPlace, listening } from './listen.ts'
import type { Kinds } from './parts.ts'
import type { Trust } from './trust.ts'
import { createUnderWay } from './under-way.ts'

interface Parts extends Pick<Trust, 'mint' | 'challenge'> {
  readonly kinds: Kinds
  readonly gate: Gate
  identify(credential: Credential, source: string): Promise<Principal | Refusal>
  admit(principal: Principal): Refusal | null
  readonly allowance: Allowance
  readonly tally: RefusalTally
  readonly queue: Queue
  readonly injector: Injector
  readonly readiness: readonly Readiness[]
  /** See `PostgresParts`. */
  record(entry: Entry): Promise<unknown>
  watch(principal: Principal, onCut: (why: Refusal) => void): () => void
}

/** Where agents come in: the gateway listener with its own paths, and every protocol. */
export interface Doors {
  listen(): Promise<Addresses>
  /** Lets calls under way finish, for as long as the configuration says. */
  close(): Promise<void>
  /** Makes a stored call again; null if its upstream is not configured any more. */
  revive(approval: Approval, stored: Stored): Promise<Exchange | null>
  /** The id of the oldest call under way, from its arrival to the record of its outcome. */
  oldestCallId(): string | null
}

export interface Addresses {
  /** Of the gateway listener. */
  readonly gateway: Address
  /** Of the upstreams that have a listener of their own, as host:port. */
  readonly upstreams: Readonly<Record<string, string>>
}

export async function openDoors(config: Config, ground: Ground, parts: Parts): Promise<Doors> {
  const { keys, clock, log, metrics, undo } = ground
  const { kinds, gate, allowance, tally } = parts
  const { pass, oldestCallId } = createUnderWay({ pass: gate.pass, begin: allowance.begin })
  let isOpen = false

  function noteMalformed(source: string, reason: string): void {
    metrics.malformed.inc({ reason })
    tally.count('malformed', source, reason)
  }

  const minting = new Set(kinds.protocols.flatMap(({ name, takesMinted = false }) => (takesMinted ? [name] : [])))

  const server = createGatewayServer({
    ...config.gateway.listen,
    tls: config.gateway.tls ?? null,
    isBehindTlsProxy: config.gateway.behind_tls_proxy,
    log,
    newCallId,
    onMalformed: noteMalformed,
  })
  await server.app.register(agentEndpoints, {
    ...parts,
    begin: allowance.begin,
    charge: allowance.charge,
    readCredential: readRequestCredential,
    sourceOf: server.sourceOf,
    calls: parts.queue,
    refuseFor,
    gateway: {
      publicUrl: config.gateway.public_url,
      upstreams: config.upstreams.map(({ name }) => name),
      minting: config.upstreams.flatMap(({ name, protocol }) => (minting.has(protocol) ? [name] : [])),
      authorizationServers: config.agent_issuers.map(({ issuer }) => issuer),
    },
    jwks: () => exportJwks(keys.assertion),
    readiness: [{ name: 'started', isOk: () => isOpen }, ...parts.readiness],
    monotonicMs: () => clock.monotonic(),
  })

  const { public_url: publicUrl } = config.gateway
  const sign = createAssertionSigner({ issuer: publicUrl, key: () => keys.assertion.current, now: clock.now })
  const running = new Map<string, RunningProtocol>()
  for (const kind of kinds.protocols) {
    // Those of this protocol were read by its own schema.
    const upstreams = config.upstreams.filter(({ protocol }) => protocol === kind.name) as readonly object[] as never[]
    const { injector, identify, challenge, watch, record } = parts
    const protocol = await kind.start({
      ...{ upstreams, pass, newCallId, clock, log, server, publicUrl, injector, sign, identify, challenge, watch },
      record,
      charge: allowance.charge,
      holdWaitMs: config.hold.wait,
      isPromptKept: config.gateway.keep_prompts,
      tls: config.gateway.tls ?? null,
      noteMalformed: (source) => noteMalformed(source, 'postgres'),
      sessionMaxMs: config.session_max,
    })
    running.set(kind.name, protocol)
    undo.defer(() => protocol.stop())
  }

  let closing: Promise<void> | null = null
  const close = (): Promise<void> => {
    closing ??= Promise.all([
      server.close(config.drain),
      ...[...running.values()].map((protocol) => protocol.drain?.(config.drain)),
    ]).then(() => {})
    return closing
  }
  undo.defer(close)

  return {
    async listen() {
      const place = await listening('gateway', config.gateway.listen, server.listen)
      const gateway = addressOf(place, { isTls: config.gateway.tls !== undefined })
      const upstreams: Record<string, string> = {}
      for (const { name, place: at, listen } of [...running.values()].flatMap(({ listeners = [] }) => listeners)) {
        upstreams[name] = formatPlace(await listening(name, at, listen))
      }
      isOpen = true
      return { gateway, upstreams }
    },
    close,
    async revive({ callId: id, requester: principal, upstream }, stored) {
      const protocol = config.upstreams.find(({ name }) => name === upstream)?.protocol
      const found = running.get(protocol ?? '')
      // Another replica may know it: this one leaves it to them, instead of ending what people have approved.
      if (!found) throw new GatewayError('config', `the upstream ${upstream} is not configured here`)
      return found.revive(stored, { id, principal, upstream })
    },
    oldestCallId,
  }
}

/** The credential of a request to the gateway's own paths: the same forms as for a call. */
function readRequestCredential(request: IncomingMessage): Credential {
  const url = request.url ?? ''
  const mark = url.indexOf('?')
  return readCredential(ownHeaders(request), mark === -1 ? '' : url.slice(mark + 1))
}
