/**
 * A request target in origin form (RFC 9112, section 3.2.1), parsed once. Routing, policy and what is sent upstream
 * all come from this model; the text that arrived is used for nothing else.
 */
export interface Target {
  /** Normalised (RFC 3986, section 6.2.2): unreserved characters decoded, other escapes in upper case. */
  readonly path: string
  /** The path with every escape decoded. Unambiguous: a decoded segment never holds a slash. */
  readonly decodedPath: string
  /** The normalised query, without its question mark; empty if there is none. */
  readonly query: string
}

/** A request target that two parsers could read differently. `fault` says why, for the agent's developer. */
export interface BadTarget {
  readonly fault: string
}

const MAX_TARGET_BYTES = 16_384

// What a character is, by its code. Anything from 128 on is `FORBIDDEN`.
const PLAIN = 0 // unreserved: stands for itself, escaped or not
const RESERVED = 1 // stands for itself unescaped; escaped, it stays escaped
const ESCAPE = 2 // always sent escaped
const FORBIDDEN = 3

const CLASS = new Uint8Array(128).fill(FORBIDDEN)
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~') {
  CLASS[character.charCodeAt(0)] = PLAIN
}
for (const character of "/!$&'()*+,=:@?") CLASS[character.charCodeAt(0)] = RESERVED
for (const character of ' "<>[]^`{|}%#;') CLASS[character.charCodeAt(0)] = ESCAPE

const SLASH = 47
const PERCENT = 37
const QUESTION_MARK = 63

/** Reads a request target, or says why it is not one that every server reads alike. */
export function parseTarget(raw: string): Target | BadTarget {
  if (raw.charCodeAt(0) !== SLASH) return { fault: 'the request target must be a path beginning with /' }
  if (raw.length > MAX_TARGET_BYTES) return { fault: `the request target is longer than ${MAX_TARGET_BYTES} bytes` }
  const end = simplePathEnd(raw)
  if (end === raw.length) return { path: raw, decodedPath: raw, query: '' }
  const mark = raw.indexOf('?')
  const rawPath = mark === -1 ? raw : raw.slice(0, mark)
  const path = end === rawPath.length ? { normal: rawPath, decoded: rawPath } : parsePath(rawPath)
  if ('fault' in path) return path
  if (mark === -1) return { path: path.normal, decodedPath: path.decoded, query: '' }
  const query = normalise(raw.slice(mark + 1), 'query')
  if ('fault' in query) return query
  return { path: path.normal, decodedPath: path.decoded, query: query.normal }
}

/** How far the text is a path that needs no second look: unreserved characters in segments without dots at their ends. */
function simplePathEnd(raw: string): number {
  let previous = SLASH
  for (let index = 1; index < raw.length; index++) {
    const code = raw.charCodeAt(index)
    if (code === SLASH ? previous === SLASH : code === 46 || code > 127 || CLASS[code] !== PLAIN) {
      return code === QUESTION_MARK ? index : 0
    }
    previous = code
  }
  return raw.length
}

function parsePath(raw: string): Normalised | BadTarget {
  const path = normalise(raw, 'path')
  if ('fault' in path) return path
  const segments = path.decoded.split('/')
  for (let index = 1; index < segments.length; index++) {
    const segment = segments[index] ?? ''
    if (segment === '' && index < segments.length - 1) return { fault: 'the path has an empty segment (//)' }
    // Some servers drop a dot or a space at the end of a name, and every one resolves `.` and `..` its own way.
    if (segment.endsWith('.') || segment.endsWith(' ')) return { fault: 'a path segment ends in a dot or a space' }
    if (/%[0-9a-f]{2}/i.test(segment)) return { fault: 'the path is escaped twice' }
  }
  return path
}

interface Normalised {
  readonly normal: string
  readonly decoded: string
}

function normalise(raw: string, part: 'path' | 'query'): Normalised | BadTarget {
  let normal = ''
  for (let index = 0; index < raw.length; index++) {
    const code = raw.charCodeAt(index)
    if (code !== PERCENT) {
      const kind = code > 127 ? FORBIDDEN : CLASS[code]
      if (kind === FORBIDDEN) return { fault: `the ${part} holds a character that must be escaped` }
      if (raw[index] === '#') return { fault: 'the request target holds a fragment' }
      // Servlet containers cut a path at it; older parsers split a query at it.
      if (raw[index] === ';') return { fault: `the ${part} holds an unescaped semicolon` }
      normal += kind === ESCAPE ? escapeByte(code) : raw[index]
      continue
    }
    const hex = raw.slice(index + 1, index + 3)
    if (!/^[0-9a-f]{2}$/i.test(hex)) return { fault: `the ${part} holds a % that is not followed by two hex digits` }
    const byte = Number.parseInt(hex, 16)
    if (byte < 32 || byte === 127) return { fault: `the ${part} holds an escaped control character` }
    if (part === 'path') {
      if (byte === SLASH) return { fault: 'the path holds an escaped slash (%2F)' }
      if (byte === 92) return { fault: 'the path holds an escaped backslash (%5C)' }
      if (byte === 59) return { fault: 'the path holds an escaped semicolon (%3B)' }
    }
    normal += byte < 128 && CLASS[byte] === PLAIN ? String.fromCharCode(byte) : escapeByte(byte)
    index += 2
  }
  if (part === 'query') return { normal, decoded: '' }
  try {
    const decoded = decodeURIComponent(normal)
    if (/[\u0080-\u009f]/.test(decoded)) return { fault: 'the path holds an escaped control character' }
    return { normal, decoded }
  } catch {
    return { fault: 'the path is not UTF-8' }
  }
}

function escapeByte(byte: number): string {
  return `%${byte < 16 ? '0' : ''}${byte.toString(16).toUpperCase()}`
}

/**
 * Splits a normalised query into decoded names and values, in order. A plus sign is a space, as in HTML forms.
 * Null if it is not UTF-8.
 */
export function parseQuery(query: string): readonly (readonly [string, string])[] | null {
  if (query === '') return []
  try {
    return query
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => {
        const equals = pair.indexOf('=')
        const name = equals === -1 ? pair : pair.slice(0, equals)
        return [decodeFormText(name), equals === -1 ? '' : decodeFormText(pair.slice(equals + 1))] as const
      })
  } catch {
    return null
  }
}

/** Throws URIError if the text is not UTF-8. */
export function decodeFormText(text: string): string {
  return decodeURIComponent(text.includes('+') ? text.replaceAll('+', ' ') : text)
}
