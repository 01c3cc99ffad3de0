import type { IncomingMessage } from 'node:http'
import { overridesMethod } from './method-override.ts'
import { parseTarget, type Target } from './request-target.ts'

/** Why a request is not a call. A closed list, so that it can label a metric. */
export const MALFORMED_REASONS = [
  'target',
  'method',
  'method_override',
  'host',
  'duplicate_header',
  'header_value',
  'transfer_coding',
  'content_type',
  'expectation',
  'upgrade',
  'version',
  'pipelined',
  'too_long',
  'timeout',
  'syntax',
] as const
export type MalformedReason = (typeof MALFORMED_REASONS)[number]

export interface Malformed {
  readonly reason: MalformedReason
  readonly detail: string
  readonly status?: number
}

// Fields that a request may have once. Two of them are read as the first, the last, or both.
const SINGLE = new Set([
  'host',
  'authorization',
  'proxy-authorization',
  'x-api-key',
  'content-length',
  'content-type',
  'content-md5',
  'content-range',
  'transfer-encoding',
  'expect',
  'upgrade',
  'range',
  'if-range',
  'if-modified-since',
  'if-unmodified-since',
  'idempotency-key',
  'user-agent',
  'date',
])

const METHOD_OVERRIDES = new Set(['x-http-method-override', 'x-http-method', 'x-method-override', 'x-method'])

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
// White space has one place only where it can belong: with two, the time to say no doubles with each semicolon.
const MEDIA_TYPE = new RegExp(
  `^${TOKEN}/${TOKEN}(?:[ \\t]*;(?:[ \\t]*${TOKEN}=(?:${TOKEN}|"(?:[^"\\\\\\x00-\\x1f\\x7f]|\\\\[\\x20-\\x7e])*"))?)*[ \\t]*$`,
)
// A name or an address, and a port. Nothing else belongs there (RFC 9110, section 7.2).
const HOST = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/

/**
 * Looks a request head over before anything is made of it: what the HTTP parser lets through and two servers could
 * still read differently. Returns its target, parsed once.
 */
export function inspectHead(request: IncomingMessage): { readonly target: Target } | Malformed {
  const { rawHeaders, method } = request
  if (request.httpVersionMajor !== 1) return { reason: 'version', detail: 'only HTTP/1.0 and HTTP/1.1 are spoken' }
  if (method === 'TRACE') return { reason: 'method', detail: 'TRACE is not forwarded: it would echo the credential' }
  const target = parseTarget(request.url ?? '')
  if ('fault' in target) return { reason: 'target', detail: target.fault }
  if (target.query !== '' && overridesMethod(target.query)) {
    return { reason: 'method_override', detail: 'the query overrides the method' }
  }
  let hasHost = false
  let seen = ''
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase()
    const value = rawHeaders[index + 1] ?? ''
    if (SINGLE.has(name)) {
      // A string of the few seen so far costs less than a set per request.
      if (seen.includes(`|${name}|`)) return { reason: 'duplicate_header', detail: `${name} is given twice` }
      seen += `|${name}|`
      const fault = inspectSingle(name, value, request)
      if (fault) return fault
      if (name === 'host') hasHost = true
    } else if (METHOD_OVERRIDES.has(name)) {
      return { reason: 'method_override', detail: `${name} overrides the method` }
    }
  }
  if (!hasHost) return { reason: 'host', detail: 'the Host header is missing' }
  return { target }
}

function inspectSingle(name: string, value: string, request: IncomingMessage): Malformed | null {
  switch (name) {
    case 'host':
      return HOST.test(value) ? null : { reason: 'host', detail: 'the Host header is not a host' }
    case 'transfer-encoding':
      if (request.httpVersionMinor === 0) return { reason: 'transfer_coding', detail: 'HTTP/1.0 has no chunked bodies' }
      if (value.toLowerCase() === 'chunked') return null
      return { reason: 'transfer_coding', detail: 'the only transfer coding understood is chunked' }
    case 'content-type':
      return MEDIA_TYPE.test(value) ? null : { reason: 'content_type', detail: 'Content-Type is not a media type' }
    case 'expect':
      if (value.toLowerCase() === '100-continue') return null
      return { reason: 'expectation', detail: 'the only expectation understood is 100-continue', status: 417 }
    case 'upgrade':
      return isUpgradable(value) ? null : { reason: 'upgrade', detail: 'the protocol of this upgrade is not forwarded' }
    default:
      return null
  }
}

/** One protocol, and not HTTP/2: what it carries would be calls that nobody judged (RFC 9113, section 3.1). */
export function isUpgradable(protocol: string): boolean {
  return new RegExp(`^${TOKEN}(?:/[0-9.]+)?$`).test(protocol) && !/^(?:h2c|http|tls)/i.test(protocol)
}
