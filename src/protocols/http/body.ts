import type { Json } from '../../domain/json.ts'
import { type Refusal, refuse } from '../../domain/refusal.ts'
import { decodeUtf8, parseStrictJson } from '../../domain/strict-json.ts'
import { isMethodOverride } from '../../transports/http/method-override.ts'
import { decodeFormText } from '../../transports/http/request-target.ts'

/** A `Content-Type` taken apart. */
export interface MediaType {
  /** Lower case, without parameters; empty if there is no header. */
  readonly essence: string
  readonly charset: string | null
  readonly boundary: string | null
}

const NO_TYPE: MediaType = { essence: '', charset: null, boundary: null }

/** The header has passed inspection: it is one media type with well-formed parameters. */
export function parseMediaType(value: string | undefined): MediaType {
  if (value === undefined) return NO_TYPE
  const semicolon = value.indexOf(';')
  const essence = (semicolon === -1 ? value : value.slice(0, semicolon)).trim().toLowerCase()
  if (semicolon === -1) return { ...NO_TYPE, essence }
  return { essence, charset: parameter(value, 'charset'), boundary: parameter(value, 'boundary') }
}

/** A parameter's value; `ambiguous` if it is given twice, or in the extended form that some read (RFC 2231). */
function parameter(value: string, name: string): string | null {
  const found = [
    ...value.matchAll(new RegExp(`;[ \\t]*${name}(\\*[0-9*]*)?=(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s;]*))`, 'gi')),
  ]
  if (found.length > 1 || found[0]?.[1]) return 'ambiguous'
  const first = found[0]
  return first ? (first[2]?.replace(/\\(.)/g, '$1') ?? first[3] ?? null) : null
}

export type BodyKind = 'json' | 'form' | 'text' | 'opaque'

export function kindOf({ essence }: MediaType): BodyKind {
  if (essence === 'application/json' || (essence.startsWith('application/') && essence.endsWith('+json'))) return 'json'
  if (essence === 'application/x-www-form-urlencoded') return 'form'
  return essence.startsWith('text/') && essence !== 'text/event-stream' ? 'text' : 'opaque'
}

/**
 * Reads a body for policy or for people. `value` is null for an empty body, and absent for one of a type that has no
 * meaning here (an upload, a form with files), which a hold may show as bytes but a rule cannot read.
 */
export function parseBody(
  bytes: Buffer,
  type: MediaType,
  encoding: string | undefined,
): { readonly value?: Json } | Refusal {
  if (encoding !== undefined && !/^identity$/i.test(encoding.trim())) {
    return unreadable('a body with a Content-Encoding cannot be judged; send it plain')
  }
  if (bytes.length === 0) return { value: null }
  const kind = kindOf(type)
  if (kind === 'opaque') return {}
  if (type.charset !== null && !/^utf-?8$/i.test(type.charset))
    return unreadable('the only charset understood is UTF-8')
  const parsed = kind === 'json' ? parseStrictJson(bytes) : kind === 'form' ? parseForm(bytes) : parseText(bytes)
  if ('fault' in parsed)
    return refuse('malformed', `Not executed. Two servers could read this call differently: ${parsed.fault}.`)
  return parsed
}

function unreadable(detail: string): Refusal {
  return refuse('unreadable', `Not executed. This call has to be read to be judged, and ${detail}.`)
}

/** For a rule that reads the body: one whose type says nothing cannot be judged. */
export function unreadableType(type: MediaType): Refusal {
  const what = type.essence === '' ? 'it has no Content-Type' : `${type.essence} cannot be read`
  return unreadable(`${what}; send JSON, a URL-encoded form or text`)
}

function parseText(bytes: Buffer): { value: Json } | { fault: string } {
  const text = decodeUtf8(bytes)
  return typeof text === 'string' ? { value: text } : text
}

/**
 * A URL-encoded form (WHATWG URL, section 5.1). Where a name repeats its value is a list of all of them, so that no
 * rule takes the first for the one that counts.
 */
function parseForm(bytes: Buffer): { value: Json } | { fault: string } {
  const text = decodeUtf8(bytes)
  if (typeof text !== 'string') return text
  if (/[^\x21-\x7e]/.test(text)) return { fault: 'the form holds characters that must be escaped' }
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return { fault: 'the form holds a % that is not followed by two hex digits' }
  if (text.includes(';')) return { fault: 'the form holds an unescaped semicolon' }
  const fields = new Map<string, string | string[]>()
  for (const pair of text.split('&')) {
    const equals = pair.indexOf('=')
    if (pair === '') return { fault: 'the form holds an empty field' }
    let name: string
    let value: string
    try {
      name = decodeFormText(equals === -1 ? pair : pair.slice(0, equals))
      value = equals === -1 ? '' : decodeFormText(pair.slice(equals + 1))
    } catch {
      return { fault: 'the form is not UTF-8' }
    }
    if (name.includes('\0') || value.includes('\0')) return { fault: 'the form holds a NUL' }
    if (isMethodOverride(name)) return { fault: 'the form overrides the method' }
    const before = fields.get(name)
    if (before === undefined) fields.set(name, value)
    else if (typeof before === 'string') fields.set(name, [before, value])
    else before.push(value)
  }
  // `fromEntries` defines own properties, so that `__proto__` is a name like any other.
  return { value: Object.fromEntries(fields) }
}
