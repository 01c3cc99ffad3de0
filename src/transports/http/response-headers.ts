import type { IncomingHttpHeaders } from 'node:http'

/** How an upstream's own addresses are turned into the gateway's. */
export interface Rewrite {
  /** The upstream's origin, `https://billing.internal`. */
  readonly origin: string
  /** Without a slash at its end; empty if the upstream is mounted whole. */
  readonly basePath: string
  /** The path under which the gateway offers it, `/billing`; empty if it is routed by host. */
  readonly prefix: string
}

// Hop-by-hop (RFC 9110, section 7.6.1), cookies, and what would take the client past the gateway.
const REMOVED = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'set-cookie',
  'set-cookie2',
  'alt-svc',
  'strict-transport-security',
  'clear-site-data',
])

/** What of an upstream's response header the client gets, as a flat list of names and values. */
export function passResponseHeaders(headers: IncomingHttpHeaders, rewrite: Rewrite): string[] {
  const nominated = headers.connection === undefined ? null : nominatedBy(headers.connection)
  const passed: string[] = []
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || REMOVED.has(name) || name.startsWith('countersign-') || nominated?.includes(name))
      continue
    if (typeof value === 'string') passed.push(name, isAddress(name) ? rewriteField(name, value, rewrite) : value)
    else for (const each of value) passed.push(name, isAddress(name) ? rewriteField(name, each, rewrite) : each)
  }
  return passed
}

function nominatedBy(connection: string | string[]): string[] | null {
  const text = Array.isArray(connection) ? connection.join(',') : connection
  return text === 'keep-alive' || text === 'close' ? null : text.split(',').map((token) => token.trim().toLowerCase())
}

function isAddress(name: string): boolean {
  return name === 'location' || name === 'content-location' || name === 'link'
}

function rewriteField(name: string, value: string, rewrite: Rewrite): string {
  if (name !== 'link') return rewriteAddress(value, rewrite)
  return value.replace(/<([^<>]*)>/g, (_whole, address: string) => `<${rewriteAddress(address, rewrite)}>`)
}

/** An address of the upstream's as a path of the gateway's. Others, and those outside the base path, stay as they are. */
export function rewriteAddress(address: string, { origin, basePath, prefix }: Rewrite): string {
  let path = address
  if (address.startsWith('//') || /^[a-z][a-z0-9+.-]*:/i.test(address)) {
    if (!URL.canParse(address, origin)) return address
    const url = new URL(address, origin)
    if (url.origin !== origin) return address
    path = url.pathname + url.search + url.hash
  }
  if (!path.startsWith('/')) return address
  if (basePath !== '' && path !== basePath && !/^[/?#]/.test(path.slice(basePath.length))) return address
  if (!path.startsWith(basePath)) return address
  return prefix + path.slice(basePath.length) || '/'
}
