import type { Payload } from '../../domain/card.ts'
import { cut, fitInto } from '../../domain/visible.ts'
import { parseQuery } from '../../transports/http/request-target.ts'
import { kindOf, parseBody, parseMediaType } from './body.ts'
import { resourceOf } from './describe.ts'
import type { RequestModel } from './model.ts'
import { printJson } from './print-json.ts'
import { isSecretName, REDACTED, redactSecrets } from './redact.ts'

const MAX_CHARACTERS = 20_000
/** Beyond what is shown of one text this much is looked at, so that no secret is shown because its end was cut off. */
const MARGIN = 8_192
const MAX_REDACTED = 50
const MAX_POINTER = 200

/** What is left to be shown, and what was not shown. Whatever an agent sends, no more than this is made of it. */
interface Sheet {
  /** Characters. */
  room: number
  isCut: boolean
  readonly redacted: string[]
}

/**
 * What reviewers are shown of a call's bytes: the path where it is not what it reads as, what it is to be upgraded to, the
 * query, the headers that a configuration lets pass, and the body, with secrets replaced and nothing that can hide or turn
 * its surroundings.
 */
export function presentRequest(model: RequestModel, body: Buffer, shownHeaders: ReadonlySet<string>): Payload {
  const sheet: Sheet = { room: MAX_CHARACTERS, isCut: false, redacted: [] }
  const lines: string[] = []
  // The action shows the path unescaped, where `/a%3Fb` looks like a path with a query, and without a slash at its end.
  if (model.path !== resourceOf(model)) lines.push(`path ${model.path}`)
  if (model.upgrade !== null) lines.push(`upgrade ${model.upgrade}`)
  for (const [name, value] of parseQuery(model.query) ?? []) {
    lines.push(
      `query ${JSON.stringify(name)}: ${JSON.stringify(redactField(`/query/${pointer(name)}`, name, value, sheet))}`,
    )
  }
  for (let index = 0; index + 1 < model.headers.length; index += 2) {
    const name = model.headers[index] ?? ''
    const value = model.headers[index + 1] ?? ''
    if (!shownHeaders.has(name) && !isTelling(name, value)) continue
    lines.push(`header ${name}: ${redactField(`/headers/${pointer(name)}`, name, value, sheet)}`)
  }
  const type = parseMediaType(model.contentType ?? undefined)
  const shown = presentBody(body, model, sheet)
  if (shown !== null && shown !== '') {
    if (kindOf(type) === 'text') lines.push('body:', shown)
    else lines.push(...(lines.length > 0 ? [''] : []), shown)
  }
  const whole = lines.length === 0 && shown === null ? null : lines.join('\n')
  const fitted = whole === null ? null : fitInto(whole, MAX_CHARACTERS, { isMultiline: true })
  if (fitted?.isCut) sheet.isCut = true
  return {
    mediaType: type.essence === '' ? null : type.essence,
    bytes: body.length,
    text: fitted && (sheet.isCut ? `${fitted.text}\n[cut: there is more than is shown here]` : fitted.text),
    isCut: sheet.isCut || shown === null || sheet.redacted.length > 0,
    redacted: sheet.redacted,
  }
}

/**
 * Whether a header that mostly says nothing says something: a Content-Type more than the media type, which is shown beside
 * the payload, an Accept more than that anything or JSON will do. Both choose versions and behaviours of some APIs. What
 * an upgrade asks for says what will be spoken, unjudged.
 */
function isTelling(name: string, value: string): boolean {
  if (name === 'sec-websocket-protocol' || name === 'sec-websocket-extensions') return true
  if (name === 'content-type') return value.includes(';') && !/^[^;]*;[ \t]*charset="?utf-?8"?[ \t]*$/i.test(value)
  return name === 'accept' && !/^(?:(?:\*\/\*|application\/json|text\/plain)(?:, ?|$))+$/i.test(value)
}

/** Null for bytes that are not text. */
function presentBody(body: Buffer, model: RequestModel, sheet: Sheet): string | null {
  if (body.length === 0) return ''
  const type = parseMediaType(model.contentType ?? undefined)
  const parsed = parseBody(body, type, model.contentEncoding ?? undefined)
  if (!('value' in parsed) || parsed.value === undefined) return null
  const { value } = parsed
  // Text that is all of the body stands as it is; a string of JSON keeps its quotes, or it could look like an object.
  if (kindOf(type) === 'text') return typeof value === 'string' ? redactText(value, '', sheet) : null
  const json = kindOf(type) === 'json' ? body.toString('utf8') : JSON.stringify(value)
  return printJson(json, {
    text: (text, at) => redactText(text, at, sheet),
    instead(name, at) {
      if (!isSecretName(name)) return null
      noteRedacted(at, sheet)
      return REDACTED
    },
    spend(characters) {
      sheet.room -= characters
    },
    isFull: () => isFull(sheet),
  })
}

function isFull(sheet: Sheet): boolean {
  if (sheet.room > 0) return false
  sheet.isCut = true
  return true
}

function redactField(at: string, name: string, value: string, sheet: Sheet): string {
  if (!isSecretName(name) || value === '') return redactText(value, at, sheet)
  noteRedacted(at, sheet)
  return REDACTED
}

function redactText(text: string, at: string, sheet: Sheet): string {
  const seen = cut(text, MAX_CHARACTERS + MARGIN)
  const clean = redactSecrets(seen)
  if (clean !== seen) noteRedacted(at, sheet)
  const shown = cut(clean, Math.max(0, sheet.room))
  if (shown.length < clean.length || seen.length < text.length) sheet.isCut = true
  sheet.room -= shown.length
  return shown
}

function noteRedacted(at: string, { redacted }: Sheet): void {
  if (redacted.length < MAX_REDACTED) redacted.push(cut(at, MAX_POINTER))
}

/** RFC 6901, section 3. */
function pointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
