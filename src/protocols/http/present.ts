import type { Payload } from '../../domain/card.ts'
import type { Json } from '../../domain/json.ts'
import { makeVisible } from '../../domain/visible.ts'
import { parseQuery } from '../../transports/http/request-target.ts'
import { parseBody, parseMediaType } from './body.ts'
import type { RequestModel } from './model.ts'

const MAX_CHARACTERS = 20_000
const REDACTED = '[redacted]'

const SECRET_NAME =
  /pass(?:word|wd|phrase)|secret|^token$|(?:access|refresh|id|auth|session|api|bearer|bot)[_-]?token|api[_-]?key|private[_-]?key|authorization|credential|^(?:cvv|cvc|pin|otp|ssn)$|client[_-]?assertion|signing[_-]?key/i

// How secrets look wherever they stand.
const SECRET_VALUES: readonly RegExp[] = [
  /\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g,
  /\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|rk_live_)[A-Za-z0-9_-]{10,}/g,
  /([a-z][a-z0-9+.-]*:\/\/)[^\s"'<>@/:]*:[^\s"'<>@/]+@/gi,
]

/**
 * What reviewers are shown of a call's bytes: the query, the headers that a configuration lets pass, and the body, with
 * secrets replaced and nothing that can hide or turn its surroundings.
 */
export function presentRequest(model: RequestModel, body: Buffer, shownHeaders: ReadonlySet<string>): Payload {
  const redacted: string[] = []
  const lines: string[] = []
  for (const [name, value] of parseQuery(model.query) ?? []) {
    lines.push(
      `query ${JSON.stringify(name)}: ${JSON.stringify(redactField(`/query/${pointer(name)}`, name, value, redacted))}`,
    )
  }
  for (let index = 0; index + 1 < model.headers.length; index += 2) {
    const name = model.headers[index] ?? ''
    if (!shownHeaders.has(name)) continue
    lines.push(
      `header ${name}: ${redactField(`/headers/${pointer(name)}`, name, model.headers[index + 1] ?? '', redacted)}`,
    )
  }
  const type = parseMediaType(model.contentType ?? undefined)
  const shown = presentBody(body, model, redacted)
  if (shown !== null && shown !== '') lines.push(...(lines.length > 0 ? [''] : []), shown)
  const whole = lines.length === 0 && shown === null ? null : makeVisible(lines.join('\n'), { isMultiline: true })
  const isTooLong = whole !== null && whole.length > MAX_CHARACTERS
  const text = isTooLong
    ? `${whole.slice(0, MAX_CHARACTERS).toWellFormed()}\n[cut: ${whole.length - MAX_CHARACTERS} more characters]`
    : whole
  return {
    mediaType: type.essence === '' ? null : type.essence,
    bytes: body.length,
    text,
    isCut: isTooLong || shown === null || redacted.length > 0,
    redacted,
  }
}

/** Null for bytes that are not text. */
function presentBody(body: Buffer, model: RequestModel, redacted: string[]): string | null {
  if (body.length === 0) return ''
  const parsed = parseBody(body, parseMediaType(model.contentType ?? undefined), model.contentEncoding ?? undefined)
  if (!('value' in parsed) || parsed.value === undefined) return null
  const clean = redactJson(parsed.value, '', redacted)
  return typeof clean === 'string' ? clean : JSON.stringify(clean, null, 2)
}

function redactJson(value: Json, at: string, redacted: string[]): Json {
  if (typeof value === 'string') return redactText(value, at, redacted)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item: Json, index) => redactJson(item, `${at}/${index}`, redacted))
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const here = `${at}/${pointer(name)}`
      const isSecret = SECRET_NAME.test(name) && inner !== null && typeof inner !== 'boolean' && inner !== ''
      if (!isSecret) return [name, redactJson(inner, here, redacted)]
      redacted.push(here)
      return [name, REDACTED]
    }),
  )
}

function redactField(at: string, name: string, value: string, redacted: string[]): string {
  if (!SECRET_NAME.test(name) || value === '') return redactText(value, at, redacted)
  redacted.push(at)
  return REDACTED
}

function redactText(text: string, at: string, redacted: string[]): string {
  let clean = text
  for (const pattern of SECRET_VALUES) clean = clean.replace(pattern, REDACTED)
  if (clean !== text) redacted.push(at)
  return clean
}

/** RFC 6901, section 3. */
function pointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
