import { GatewayError } from '../domain/error.ts'

/** Of an error's own properties these are written; any other may quote a statement, its parameters, or a header. */
const ERROR_FIELDS = [
  'code',
  'errno',
  'syscall',
  'address',
  'port',
  'status',
  'severity',
  'table',
  'constraint',
] as const

const MAX_CAUSES = 5
/** How far an error is looked into for what it came from. */
const MAX_LOOKED_AT = 100
const MAX_CAUSE_TEXT = 300

/**
 * An error as a log has it. A fault of the network, however often it was wrapped, is one message and those of its
 * causes, each once: a stack would lead to where we called, and nothing is wrong there. Any other keeps all its stacks.
 * What is no error is given back as it is.
 */
export function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  return isExpected(error) ? describeBriefly(error) : describeWhole(error)
}

function describeBriefly(error: Error): Record<string, unknown> {
  const seen = new Set(['', textOf(error)])
  const causes = chainOf(error).filter((cause) => {
    const isNew = !seen.has(textOf(cause))
    seen.add(textOf(cause))
    return isNew
  })
  // The last ones are what it came from.
  const told = causes.slice(-MAX_CAUSES).map((cause) => ({ message: textOf(cause), ...fieldsOf(cause) }))
  return {
    type: error.name,
    message: textOf(error),
    ...fieldsOf(error),
    ...(told.length > 0 && { causes: told }),
  }
}

function describeWhole(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return error
  const described: Record<string, unknown> = { type: error.name, message: messageOf(error), ...fieldsOf(error) }
  // Without its first lines, which repeat the message.
  described['stack'] = error.stack
    ?.split('\n')
    .filter((line) => line.startsWith('    at '))
    .join('\n')
  if (depth >= MAX_CAUSES) return described
  if (error.cause !== undefined) described['cause'] = describeWhole(error.cause, depth + 1)
  if (error instanceof AggregateError) {
    described['errors'] = error.errors.slice(0, MAX_CAUSES).map((inner) => describeWhole(inner, depth + 1))
  }
  return described
}

/** Class 22 of SQLSTATE, data exceptions, quotes the parameter that was wrong. */
export function messageOf(error: Error): string {
  const isQuoting = 'severity' in error && 'code' in error && String(error.code).startsWith('22')
  return isQuoting ? 'a parameter was refused; its value is not logged' : error.message
}

function textOf(error: Error): string {
  const message = messageOf(error)
  return message.length > MAX_CAUSE_TEXT ? `${message.slice(0, MAX_CAUSE_TEXT)}…` : message
}

function fieldsOf(error: Error): Record<string, string | number> {
  const fields: Record<string, string | number> = {}
  for (const field of ERROR_FIELDS) {
    const value: unknown = Reflect.get(error, field)
    if (typeof value === 'string' || typeof value === 'number') fields[field] = value
  }
  return fields
}

/** All that an error came from, outermost first, without the error itself; what holds itself is there once. */
function chainOf(error: Error): readonly Error[] {
  const found = new Set([error])
  for (const each of found) {
    if (found.size > MAX_LOOKED_AT) break
    for (const cause of causesOf(each)) if (cause instanceof Error) found.add(cause)
  }
  found.delete(error)
  return [...found]
}

function causesOf(error: Error): readonly unknown[] {
  const tried: readonly unknown[] = error instanceof AggregateError ? error.errors.slice(0, MAX_LOOKED_AT) : []
  return [error.cause, ...tried].filter((cause) => cause !== undefined && cause !== null)
}

/** Whether all that an error came from happens without anybody's mistake in the program. */
function isExpected(error: Error): boolean {
  const all = [error, ...chainOf(error)]
  const roots = all.filter((each) => !causesOf(each).some((cause) => cause instanceof Error && cause !== each))
  const isOurs = all.some((each) => each instanceof GatewayError && each.code === 'internal')
  return !isOurs && roots.length > 0 && roots.every(isFaultOfOthers)
}

/**
 * What system calls, name resolution (getaddrinfo), undici, the parsers of HTTP and of its encodings, OpenSSL and Node's own
 * check of certificates call a fault of the network or of who is at its other end: https://nodejs.org/api/errors.html, https://nodejs.org/api/tls.html.
 */
const NETWORK_CODES = new RegExp(
  `^(?:${[
    'ECONN(?:REFUSED|RESET|ABORTED)|EPIPE|ETIMEDOUT|EHOST(?:UNREACH|DOWN)|ENET(?:UNREACH|DOWN|RESET)|EPROTO',
    'ENOTFOUND|EAI_(?:AGAIN|FAIL|NODATA|NONAME)',
    'UND_ERR_(?:(?:CONNECT|HEADERS|BODY)_TIMEOUT|SOCKET)|HPE_\\w+|Z_(?:DATA|BUF)_ERROR',
    'ERR_SSL_\\w+|ERR_TLS_(?:CERT_ALTNAME_INVALID|HANDSHAKE_TIMEOUT)',
    '(?:CERT|CRL|UNABLE_TO)_\\w+|(?:DEPTH_ZERO_)?SELF_SIGNED_CERT(?:_IN_CHAIN)?',
    'HOSTNAME_MISMATCH|INVALID_(?:CA|PURPOSE)|PATH_LENGTH_EXCEEDED',
  ].join('|')})$`,
)

function isFaultOfOthers(error: Error): boolean {
  if (error instanceof GatewayError) return error.code === 'upstream' || error.code === 'config'
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true
  return 'code' in error && NETWORK_CODES.test(String(error.code))
}
