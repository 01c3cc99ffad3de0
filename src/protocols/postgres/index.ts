import type { Injector } from '../../credentials/inject.ts'
import type { Credential } from '../../domain/call.ts'
import type { Entry } from '../../domain/entry.ts'
import { GatewayError } from '../../domain/error.ts'
import type { Principal } from '../../domain/principal.ts'
import type { Refusal } from '../../domain/refusal.ts'
import type { LoginChallenge } from '../../identity/minted.ts'
import type { Listener, Protocol, ProtocolParts } from '../../transports/protocol.ts'
import { createRoom, type Room } from '../../transports/room.ts'
import { createTcpListener, LISTENER_LIMITS, type TcpListener } from '../../transports/tcp/listener.ts'
import { type Certificate, serverContext } from '../../transports/tcp/secure.ts'
import { createCancels } from './cancel.ts'
import { createCatalogMemory } from './catalog-memory.ts'
import { type DoorParts, receive } from './door.ts'
import { statementFacts } from './naming/facts.ts'
import { createNamer } from './naming/namer.ts'
import { VERBS } from './naming/tags.ts'
import { type PostgresOptions, postgresOptions } from './options.ts'
import type { Namer } from './statement.ts'

/** What Postgres upstreams are given. */
export interface PostgresParts extends ProtocolParts<PostgresOptions> {
  readonly injector: Pick<Injector, 'loginFor'>
  /** Of the gateway listener; for those that have none of their own. */
  readonly tls: Certificate | null
  /** Who presents this token. */
  identify(credential: Credential, source: string): Promise<Principal | Refusal>
  /** What somebody has to prove who says that it is this user, whom the gateway has minted for this upstream. */
  challenge(
    user: string,
    how: { readonly upstream: string; readonly source: string },
  ): Promise<LoginChallenge | Refusal>
  /** Commits an entry of the audit log. */
  record(entry: Entry): Promise<unknown>
  /** Told of a connection that did not keep to the protocol. */
  noteMalformed(source: string): void
  /** Calls `onCut` once when this principal may not go on. The function returned ends the watch. */
  watch(principal: Principal, onCut: (why: Refusal) => void): () => void
  /** The longest a session may last, in milliseconds. */
  readonly sessionMaxMs: number
}

const MIB = 1024 * 1024
/** Of prepared statements and portals, in one session. */
const MAX_HELD_BYTES = 8 * MIB
/** For what sessions keep and have under way: of one agent as much as the largest `max_batch` there may be. */
const ROOM = { total: 256 * MIB, perHolder: 64 * MIB }

/** PostgreSQL, on its own wire. */
export const postgres = {
  name: 'postgres',
  options: postgresOptions,
  facts: statementFacts,
  verbs: VERBS,
  takesMinted: true,
  hasRows: true,
  start,
} as const satisfies Protocol<PostgresOptions, PostgresParts>

async function start(parts: PostgresParts) {
  const namer = createNamer()
  // To load the parser takes a moment, and half a gigabyte for that moment: better now than during a call.
  if (parts.upstreams.length > 0) await namer.prepare('SELECT 1')
  const room = createRoom(ROOM)
  const draining = new AbortController()
  const doors = parts.upstreams.map((options) => openDoor(options, parts, { namer, room, draining: draining.signal }))

  return {
    listeners: doors.map(({ listener }) => listener),
    revive() {
      throw new GatewayError('internal', 'a session of Postgres is never detached')
    },
    async drain(withinMs: number) {
      for (const { tcp } of doors) tcp.close()
      draining.abort()
      const timer = setTimeout(destroy, withinMs)
      await Promise.all(doors.map((door) => door.settled()))
      clearTimeout(timer)
    },
    async stop() {
      destroy()
      await Promise.all(doors.map((door) => door.settled()))
      await namer.stop()
    },
  }

  function destroy(): void {
    for (const { tcp } of doors) tcp.destroy()
  }
}

interface Door {
  readonly listener: Listener
  readonly tcp: TcpListener
  /** Resolves when nobody is inside any more. */
  settled(): Promise<unknown>
}

/** Where the clients for one upstream come in. */
function openDoor(
  options: PostgresOptions,
  parts: PostgresParts,
  { namer, room, draining }: { namer: Namer; room: Room; draining: AbortSignal },
): Door {
  const { name, url, sessions } = options
  const { clock, log, pass, charge, watch, newCallId, record, publicUrl, sessionMaxMs } = parts
  const certificate = options.tls ?? parts.tls
  const cancels = createCancels()
  const door: DoorParts = {
    entrance: {
      tls: certificate && serverContext(certificate),
      cancels,
      identify: parts.identify,
      challenge: (user, source) => parts.challenge(user, { upstream: name, source }),
      noteMalformed: parts.noteMalformed,
    },
    onlyDatabase: url.database,
    seats: createRoom({ total: sessions.total, perHolder: sessions.per_principal }),
    login() {
      const login = parts.injector.loginFor(name)
      if (!login) throw new GatewayError('config', `${name} has no user and password`)
      return login
    },
    service: {
      upstream: {
        name,
        protocol: 'postgres',
        labels: options.labels,
        mode: options.mode,
        waitMs: options.wait ?? parts.holdWaitMs,
      },
      target: {
        host: url.host,
        port: url.port,
        tls: options.sslmode === 'disable' ? null : { ca: options.ca ?? null },
        connectTimeoutMs: options.timeouts.connect,
      },
      namer,
      catalog: createCatalogMemory(clock),
      cancels,
      publicUrl,
      pass,
      charge,
      watch,
      newCallId,
      previewRole: options.preview_role ?? null,
      record,
      maxBatchBytes: options.max_batch,
      room,
      maxHeldBytes: MAX_HELD_BYTES,
      sessionMaxMs,
      draining,
      clock,
      log,
    },
  }
  const inside = new Set<Promise<void>>()
  const tcp = createTcpListener({
    place: options.listen,
    // Whoever wants to cancel something connects anew, and has to be let in for that.
    limits: { ...LISTENER_LIMITS, connections: sessions.total + LISTENER_LIMITS.unproven },
    log,
    onConnection(accepted) {
      const running = receive(accepted, door).finally(() => inside.delete(running))
      inside.add(running)
    },
  })
  return {
    listener: { name, place: options.listen, listen: tcp.listen },
    tcp,
    settled: () => Promise.all(inside),
  }
}
