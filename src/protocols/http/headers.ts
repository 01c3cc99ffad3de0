import { type Refusal, refuse } from '../../domain/refusal.ts'

// Request headers that mean something to any HTTP API and name nobody.
const ALLOWED = new Set([
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'accept-datetime',
  'cache-control',
  'content-disposition',
  'content-digest',
  'content-encoding',
  'content-language',
  'content-md5',
  'content-range',
  'content-type',
  'digest',
  'idempotency-key',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-event-id',
  'pragma',
  'range',
  'repr-digest',
  'user-agent',
  'want-content-digest',
  'want-repr-digest',
])

const ALLOWED_IN_UPGRADES = new Set([
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-extensions',
  'sec-websocket-protocol',
])

// Whatever the configuration allows, these never pass: credentials, identities, and what changes where a request goes.
const NEVER = new Set([
  'authorization',
  'connection',
  'content-length',
  'cookie',
  'cookie2',
  'expect',
  'forwarded',
  'from',
  'host',
  'http2-settings',
  'keep-alive',
  'origin',
  'private-token',
  'referer',
  'remote-user',
  'te',
  'trailer',
  'transfer-encoding',
  'true-client-ip',
  'upgrade',
  'via',
  'cf-connecting-ip',
  'fastly-client-ip',
  'x-access-token',
  'x-amz-security-token',
  'x-api-key',
  'api-key',
  'apikey',
  'x-auth-request-user',
  'x-client-ip',
  'x-client-cert',
  'x-cluster-client-ip',
  'x-csrf-token',
  'x-goog-iap-jwt-assertion',
  'x-host',
  'x-original-host',
  'x-original-url',
  'x-real-ip',
  'x-rewrite-url',
  'x-user',
  'x-username',
  'x-vault-token',
  'x-wap-profile',
])
const NEVER_PREFIXES = [
  'countersign-',
  'impersonate-',
  'proxy-',
  'sec-fetch-',
  'ssl-client-',
  'x-auth-',
  'x-authenticated-',
  'x-consumer-',
  'x-credential-',
  'x-forwarded-',
  'x-http-method',
  'x-method',
  'x-remote-',
  'x-ssl-',
  'x-webauth-',
  'x-ms-client-principal',
  'x-ms-token-',
  'x-goog-authenticated-user-',
]

// What says how a body is read. For this connection alone it would be seen by policy and not by the upstream.
const DESCRIBES_BODY = new Set(['content-encoding', 'content-type'])

// Meant for the gateway or for one connection: not told as dropped, since nobody expects them upstream.
const CONSUMED = new Set([
  'authorization',
  'baggage',
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'prefer',
  'te',
  'traceparent',
  'tracestate',
  'transfer-encoding',
  'upgrade',
  'x-api-key',
])

const MAX_DROPPED_NAMES = 32

/** Whether a text can stand under `headers.allow`: `X-Billing-Mode`, or `X-Billing-*`. */
export function isHeaderPattern(pattern: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_-]*\*?$/.test(pattern) && pattern.replace('*', '').length >= 3
}

export interface HeaderRules {
  readonly names: ReadonlySet<string>
  readonly prefixes: readonly string[]
  /** In lower case, the header that the gateway's own credential is sent in: an agent's would stand before it. */
  credentialHeader(): string | undefined
}

export function headerRules(
  allow: readonly string[],
  credentialHeader: HeaderRules['credentialHeader'] = () => undefined,
): HeaderRules {
  const patterns = allow.map((pattern) => pattern.toLowerCase())
  return {
    credentialHeader,
    names: new Set(patterns.filter((pattern) => !pattern.endsWith('*'))),
    prefixes: patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1)),
  }
}

/** The fields of a request, as they are sent upstream and as the gateway itself reads them. */
export interface Fields {
  /** Flat lower-case names and values, in order. */
  readonly passed: string[]
  readonly dropped: readonly string[]
  /** The first value of every field that is read by the gateway. */
  readonly own: ReadonlyMap<string, string>
}

const READ_BY_GATEWAY = new Set([
  'authorization',
  'baggage',
  'content-encoding',
  'content-type',
  'content-length',
  'countersign-conversation',
  'countersign-model',
  'countersign-prompt',
  'countersign-reason',
  'countersign-reply',
  'idempotency-key',
  'prefer',
  'traceparent',
  'transfer-encoding',
  'upgrade',
  'x-api-key',
])

/** Sorts the raw header list of a request. Refuses values that are not ASCII where they would be passed on. */
export function sortHeaders(rawHeaders: readonly string[], rules: HeaderRules, isUpgrade: boolean): Fields | Refusal {
  const passed: string[] = []
  const dropped: string[] = []
  const own = new Map<string, string>()
  const nominated = nominatedBy(rawHeaders)
  const credential = rules.credentialHeader()
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase()
    const value = rawHeaders[index + 1] ?? ''
    if (READ_BY_GATEWAY.has(name) && !(nominated?.has(name) && DESCRIBES_BODY.has(name))) {
      const before = own.get(name)
      own.set(name, before === undefined ? value : `${before}, ${value}`)
    }
    const mayPass = ALLOWED.has(name) || (isUpgrade && ALLOWED_IN_UPGRADES.has(name)) || isAllowedBy(rules, name)
    // What is left of Prefer for the upstream is passed on.
    if (name === 'prefer' && !isVisibleAscii(value)) return refuse('malformed', 'Not executed. Prefer is not ASCII.')
    if (mayPass && !nominated?.has(name) && !isNever(name) && !isSame(name, credential)) {
      if (!isVisibleAscii(value)) {
        return refuse('malformed', `Not executed. The header ${name} holds bytes outside ASCII.`)
      }
      const sent = name === 'sec-websocket-protocol' ? withoutTokens(value) : value
      if (sent !== '' || value === '') passed.push(name, sent)
      if (sent !== value) dropped.push(name)
    } else if (!CONSUMED.has(name) && !isOwn(name) && !dropped.includes(name)) {
      dropped.push(name)
    }
  }
  return { passed, dropped: dropped.slice(0, MAX_DROPPED_NAMES), own }
}

function isAllowedBy(rules: HeaderRules, name: string): boolean {
  return rules.names.has(name) || (rules.prefixes.length > 0 && rules.prefixes.some((start) => name.startsWith(start)))
}

function isNever(name: string): boolean {
  // The usual ones cannot be on the list: they need no second look.
  if (ALLOWED.has(name)) return false
  // CGI, and all that came from it, reads an underscore and a hyphen as the same (RFC 3875, section 4.1.18).
  const hyphened = name.replaceAll('_', '-')
  return NEVER.has(hyphened) || NEVER_PREFIXES.some((prefix) => hyphened.startsWith(prefix))
}

function isSame(name: string, other: string | undefined): boolean {
  return name === other || (other !== undefined && name.includes('_') && name.replaceAll('_', '-') === other)
}

/** What `Connection` names is for this connection alone (RFC 9110, section 7.6.1). */
function nominatedBy(rawHeaders: readonly string[]): ReadonlySet<string> | null {
  let names: Set<string> | null = null
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue
    const value = rawHeaders[index + 1] ?? ''
    if (/^(?:keep-alive|close|upgrade)$/i.test(value)) continue
    names ??= new Set()
    for (const token of value.split(',')) names.add(token.trim().toLowerCase())
  }
  return names
}

function isVisibleAscii(value: string): boolean {
  for (let index = 0; index < value.length; index++) {
    const code = value.charCodeAt(index)
    if (code > 126 || (code < 32 && code !== 9)) return false
  }
  return true
}

/** Subprotocols that carry a bearer token, as browsers' WebSocket clients do, are credentials. */
function withoutTokens(protocols: string): string {
  return protocols
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => !/bearer|token|authorization/i.test(protocol) && !/^eyJ/.test(protocol))
    .join(', ')
}

/** For the gateway itself, or put there by a browser engine about itself. */
function isOwn(name: string): boolean {
  return name.startsWith('countersign-') || name.startsWith('sec-fetch-')
}
