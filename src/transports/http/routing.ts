import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { inspectHead, type Malformed } from './malformed.ts'
import type { Target } from './request-target.ts'

const ROUTE = Symbol('where a request was found to go')

export interface Route {
  readonly target: Target
  /** Where the request belongs: the path's first segment, or what the Host header stands for. */
  readonly prefix: string
  readonly isByHost: boolean
}

interface RoutedRequest extends IncomingMessage {
  [ROUTE]?: Route
}

/** An upgrade that came to a mounted prefix. The socket is paused, and its errors are handled. */
export type UpgradeHandler = (request: IncomingMessage, socket: Socket, head: Buffer) => void

/** Where requests go: by the first segment of their path, or by their host. */
export interface Routing {
  mount(prefix: string, upgrade: UpgradeHandler): void
  mountHost(host: string, prefix: string): void
  /** Looks a request over, and where it belongs. `routeOf` tells it from then on. */
  find(request: IncomingMessage): Route | Malformed
  /** Null if nothing is mounted there. */
  upgradeOf(route: Route): UpgradeHandler | null
}

// On every host: an upstream that is routed by its host never gets them.
const RESERVED_PREFIXES = ['/.countersign/', '/.well-known/oauth-protected-resource', '/.well-known/jwks.json']
const RESERVED_PATHS = new Set(['/livez', '/readyz'])

export function createRouting(): Routing {
  const hosts = new Map<string, string>()
  const upgrades = new Map<string, UpgradeHandler>()

  function routeTo(target: Target, host: string): Route {
    if (hosts.size > 0 && !isReserved(target.path)) {
      const prefix = hosts.get(hostname(host))
      if (prefix !== undefined) return { target, prefix, isByHost: true }
    }
    const end = target.path.indexOf('/', 1)
    return { target, prefix: end === -1 ? target.path : target.path.slice(0, end), isByHost: false }
  }

  return {
    mount: (prefix, upgrade) => upgrades.set(prefix, upgrade),
    mountHost: (host, prefix) => hosts.set(host.toLowerCase(), prefix),
    find(request) {
      const head = inspectHead(request)
      if ('reason' in head) return head
      const route = routeTo(head.target, request.headers.host ?? '')
      const routed: RoutedRequest = request
      routed[ROUTE] = route
      return route
    },
    upgradeOf: ({ prefix }) => upgrades.get(prefix) ?? null,
  }
}

/** The target of a request that was let through, and where it belongs. */
export function routeOf(request: IncomingMessage): Route {
  const route = (request as RoutedRequest)[ROUTE]
  if (!route) throw new TypeError('the request did not come through the gateway server')
  return route
}

/** Whether a path is the gateway's own, for agents themselves: what is asked there is no call. */
export function isReserved(path: string): boolean {
  return RESERVED_PATHS.has(path) || RESERVED_PREFIXES.some((prefix) => path.startsWith(prefix))
}

function hostname(host: string): string {
  const withoutPort = host.startsWith('[') ? host.slice(0, host.indexOf(']') + 1) : (host.split(':', 1)[0] ?? '')
  return withoutPort.toLowerCase().replace(/\.$/, '')
}
