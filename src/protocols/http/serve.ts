import httpProxy from '@fastify/http-proxy'
import type { Pool } from 'undici'
import type { AssertionSigner } from '../../credentials/assertion.ts'
import type { Injector } from '../../credentials/inject.ts'
import type { Exchange, Stored, Upstream } from '../../domain/call.ts'
import { isRefusal } from '../../domain/refusal.ts'
import { detachedCall } from '../../transports/http/call.ts'
import type { GatewayServer } from '../../transports/http/server.ts'
import { connectUpstream } from '../../transports/http/upstream.ts'
import type { ProtocolParts, Revival } from '../../transports/protocol.ts'
import { createRoom } from '../../transports/room.ts'
import { createDoor, type Door } from './door.ts'
import { createExchange, type Service } from './exchange.ts'
import { type HeaderRules, headerRules, sortHeaders } from './headers.ts'
import { type RequestModel, restoreModel } from './model.ts'
import type { HttpOptions } from './options.ts'

/** What HTTP upstreams are given. */
export interface HttpParts extends ProtocolParts<HttpOptions> {
  readonly server: GatewayServer
  readonly injector: Injector
  readonly sign: AssertionSigner
  /** Whether `Countersign-Prompt` is read. */
  readonly isPromptKept?: boolean
  /** The largest response that is kept for a detached call, in bytes. */
  readonly maxKeptBytes?: number
  /** Bytes of bodies of calls under way that are kept in memory. */
  readonly room?: { readonly total: number; readonly perHolder: number }
}

const KIB = 1024
// For one agent as much as the largest `max_body` there may be.
const ROOM = { total: 256 * KIB * KIB, perHolder: 64 * KIB * KIB }

export async function startHttp(parts: HttpParts) {
  const pools: Pool[] = []
  const services = new Map<string, Service>()
  const room = createRoom(parts.room ?? ROOM)
  const { server, pass, charge, newCallId, log, isPromptKept = false } = parts
  for (const options of parts.upstreams) {
    const { service, own } = prepareService(options, parts)
    pools.push(...own)
    const rules = headerRules(options.headers.allow, () => parts.injector.headersFor(options.name)[0])
    services.set(options.name, service)
    const door = createDoor({ service, rules, room, server, pass, charge, newCallId, log, isPromptKept })
    await mount(server, options, door)
  }

  return {
    revive(stored: Stored, { id, principal, upstream }: Revival): Exchange {
      const service = services.get(upstream)
      const model = restoreModel(stored)
      if (!service || !model) throw new TypeError('the stored call is not one of this gateway')
      return createExchange({
        ...detachedCall({ id, principal }, parts.maxKeptBytes ?? 1024 * KIB),
        service,
        model,
        body: Buffer.from(stored.body),
        takeRoom: () => true,
        charge: () => null,
      })
    },
    async stop() {
      await Promise.all(pools.map((pool) => pool.destroy()))
    },
  }
}

function prepareService(options: HttpOptions, parts: HttpParts): { service: Service; own: readonly Pool[] } {
  const { url, timeouts } = options
  const address = { url, ca: options.ca ?? null, connectTimeoutMs: timeouts.connect }
  const dispatcher = connectUpstream(address)
  const tunnelDispatcher = connectUpstream(address, true)
  const basePath = url.pathname.replace(/\/+$/, '')
  const upstream: Upstream = {
    name: options.name,
    protocol: 'http',
    labels: options.labels,
    mode: options.mode,
    waitMs: options.wait ?? parts.holdWaitMs,
  }
  const usual = headerRules([])
  const service: Service = {
    upstream,
    host: url.host,
    target: url.origin + basePath,
    basePath,
    rewrite: { origin: url.origin, basePath, prefix: options.host === undefined ? `/${options.name}` : '' },
    dispatcher,
    tunnelDispatcher,
    timeouts: { responseMs: timeouts.response, idleMs: timeouts.idle },
    maxBodyBytes: options.max_body,
    maxUpgradedMs: timeouts.upgraded,
    shownHeaders: (model) => headersWorthShowing(model, usual),
    injector: parts.injector,
    sign: options.assertion ? parts.sign : null,
    publicUrl: parts.publicUrl,
    monotonic: () => parts.clock.monotonic(),
  }
  return { service, own: [dispatcher, tunnelDispatcher] }
}

/** Those that only a configuration lets through, and those that change what a request does. */
function headersWorthShowing(model: RequestModel, usual: HeaderRules): ReadonlySet<string> {
  const shown = new Set([
    ...['content-disposition', 'content-encoding', 'content-range', 'range', 'prefer'],
    ...['if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since', 'if-range'],
  ])
  const names = model.headers.filter((_name, index) => index % 2 === 0)
  const passedByDefault = sortHeaders(
    names.flatMap((name) => [name, '']),
    usual,
    true,
  )
  if (!isRefusal(passedByDefault)) for (const name of passedByDefault.dropped) shown.add(name)
  return shown
}

async function mount(server: GatewayServer, options: HttpOptions, door: Door): Promise<void> {
  const prefix = `/${options.name}`
  await server.app.register(async (scope) => {
    // Fastify reads text/plain by itself; here nothing is read before it is judged.
    scope.removeAllContentTypeParsers()
    await scope.register(httpProxy, {
      prefix,
      // Never used: what is mounted here hands every request over before it is proxied, to go its own way upstream.
      upstream: options.url.origin,
      websocket: false,
      httpMethods: [...server.methods],
      routes: ['/'],
      // Not `handler`: before that, the proxy parses three URLs to find where it would send the request.
      preHandler(request, reply) {
        reply.hijack()
        door.enter(request.raw, reply.raw)
      },
    })
  })
  server.mount(prefix, door.enterUpgrade)
  if (options.host !== undefined) server.mountHost(options.host, prefix)
}
