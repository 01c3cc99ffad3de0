import type { Injector } from '../../credentials/inject.ts'
import type { Credential, Exchange, Stored } from '../../domain/call.ts'
import type { Entry } from '../../domain/entry.ts'
import { GatewayError } from '../../domain/error.ts'
import type { Principal } from '../../domain/principal.ts'
import type { Refusal } from '../../domain/refusal.ts'
import type { LoginChallenge } from '../../identity/minted.ts'
import { detachedCall } from '../../transports/http/call.ts'
import type { GatewayServer } from '../../transports/http/server.ts'
import type { Listener, ProtocolParts, Revival } from '../../transports/protocol.ts'
import { createRoom, type Room } from '../../transports/room.ts'
import { createTcpListener, LISTENER_LIMITS, type TcpListener } from '../../transports/tcp/listener.ts'
import { type Certificate, serverContext } from '../../transports/tcp/secure.ts'
import { createCatalogMemory } from './catalog/memory.ts'
import { type DoorParts, receive } from './door.ts'
import { createCancels } from './entrance/cancel.ts'
import { createNamer } from './naming/namer.ts'
import type { Namer } from './naming/statement.ts'
import type { PostgresOptions } from './options.ts'
import { openQueryDoor } from './query/door.ts'
import { createQueryExchange, MAX_KEPT_BYTES, type QueryService } from './query/exchange.ts'
import { restoreQuery } from './query/request.ts'

/** What Postgres upstreams are given. */
export interface PostgresParts extends ProtocolParts<PostgresOptions> {
  readonly injector: Pick<Injector, 'loginFor'>
  /** The gateway listener: agents without a driver come in there. */
  readonly server: GatewayServer
  /** Whether `Countersign-Prompt` is read. */
  readonly isPromptKept?: boolean
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

export async function startPostgres(parts: PostgresParts) {
  const ending = new AbortController()
  const namer = createNamer()
  // To load the parser takes a moment, and half a gigabyte for that moment: better now than during a call.
  if (parts.upstreams.length > 0) await namer.prepare('SELECT 1')
  const room = createRoom(ROOM)
  const draining = new AbortController()
  const doors = parts.upstreams.map((options) =>
    openDoor(options, parts, { namer, room, draining: draining.signal, ending: ending.signal }),
  )
  const queryDoors = await Promise.all(
    doors.map(({ queries }) =>
      openQueryDoor(queries, { server: parts.server, isPromptKept: parts.isPromptKept ?? false }),
    ),
  )

  return {
    listeners: doors.map(({ listener }) => listener),
    revive(stored: Stored, { id, principal, upstream }: Revival): Exchange {
      const queries = doors.find(({ queries: { service } }) => service.upstream.name === upstream)?.queries
      const query = restoreQuery(stored)
      if (!queries || !query) throw new TypeError('the stored call is not one of this gateway')
      return createQueryExchange({ ...detachedCall({ id, principal }, 2 * MAX_KEPT_BYTES), queries, query })
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
      ending.abort()
      await Promise.all([...doors, ...queryDoors].map((door) => door.settled()))
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
  /** For those that come in by HTTP. */
  readonly queries: QueryService
  /** Resolves when nobody is inside any more. */
  settled(): Promise<unknown>
}

/** Where the clients for one upstream come in. */
function openDoor(
  options: PostgresOptions,
  parts: PostgresParts,
  {
    namer,
    room,
    draining,
    ending,
  }: { readonly namer: Namer; readonly room: Room; readonly draining: AbortSignal; readonly ending: AbortSignal },
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
  const { service, seats, login, onlyDatabase } = door
  return {
    queries: { service, seats, login, onlyDatabase, maxResultBytes: options.max_result, ending },
    listener: { name, place: options.listen, listen: tcp.listen },
    tcp,
    settled: () => Promise.all(inside),
  }
}
