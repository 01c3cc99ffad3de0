import { type Refusal, refuse } from '../../domain/refusal.ts'
import type { Inspect } from '../../transports/http/upload.ts'
import { type MediaType, parseMediaType } from './body.ts'
import type { RequestModel } from './model.ts'
import { createPartsInspector } from './override-parts.ts'

/**
 * What looks for a method in a body that may be sent unread: false once a chunk holds what the upstream could take for one. Frameworks look there in a POST only: in forms, in forms
 * with parts, and some in JSON; Rack takes a body without a type for a form. Null where no framework looks, a refusal
 * where this cannot look. The one type that all know as a form is always read, and is not looked at here.
 */
export function methodInspector({ method, contentType, contentEncoding }: RequestModel): Inspect | Refusal | null {
  if (method !== 'POST') return null
  const isPlain = contentEncoding === null || /^\s*identity\s*$/i.test(contentEncoding)
  if (contentType === null || contentType === '') return isPlain ? inspectEither() : COMPRESSED
  // The type of most calls.
  if (contentType === 'application/json' && isPlain) return inspectJson()
  const header = contentType.toLowerCase()
  const isJson = header.includes('json')
  const isMultipart = header.includes('multipart/')
  const type = parseMediaType(contentType)
  const isForm = header.includes('urlencoded') && type.essence !== 'application/x-www-form-urlencoded'
  if (!isJson && !isMultipart && !isForm) return null
  if (!isPlain) return COMPRESSED
  if (!isAscii(type, header)) return OTHER_CHARSET
  const inspectors: Inspect[] = []
  if (isJson) inspectors.push(inspectJson())
  if (isForm) inspectors.push(inspectForm())
  if (isMultipart) {
    if (type.boundary === null || !BOUNDARY.test(type.boundary) || !hasOneBoundary(header)) return NO_BOUNDARY
    inspectors.push(createPartsInspector(type.boundary))
  }
  return all(inspectors)
}

const WHY = 'Not executed. A POST of this Content-Type, or of none, is looked through for a method (_method), and'
const COMPRESSED = refuse(
  'unreadable',
  `${WHY} one with a Content-Encoding cannot be; send it plain, or name a Content-Type that no server reads fields from, like application/octet-stream.`,
)
const OTHER_CHARSET = refuse('unreadable', `${WHY} one in this charset cannot be; send it in UTF-8.`)
const NO_BOUNDARY = refuse(
  'unreadable',
  `${WHY} parts need one boundary that every server reads alike; name it once, of letters and digits.`,
)

/** Charsets in which ASCII stands as it is. */
const WITH_ASCII = /^(?:utf-?8|us-ascii|iso-8859-1|windows-1252)$/i

function isAscii({ charset }: MediaType, header: string): boolean {
  return charset === null ? !header.includes('charset') : WITH_ASCII.test(charset)
}

// RFC 2046, section 5.1.1, but for white space and the comma, where some end it.
const BOUNDARY = /^[A-Za-z0-9'()+_./:=?~!#$%&*^`{|}-]{1,200}$/

/** PHP looks for the word, wherever it stands first, and Rack for the last one before an equals sign. */
function hasOneBoundary(header: string): boolean {
  const at = header.indexOf('boundary')
  if (!/[;\s]/.test(header[at - 1] ?? '') || header[at + 'boundary'.length] !== '=') return false
  return [...header.matchAll(/boundary[ \t]*[*=]/g)].length === 1
}

function all(inspectors: readonly Inspect[]): Inspect {
  return (chunk) => inspectors.every((inspect) => inspect(chunk))
}

function inspectEither(): Inspect {
  return all([inspectJson(), inspectForm()])
}

// Every character of a JSON string may be escaped. Quotes on both sides: not within a longer text.
const JSON_KEY = new RegExp(`"${[...'_method'].map(orEscaped).join('')}"`, 'i')
// Most JSON has no escape in it, and this takes half the time.
const PLAIN_JSON_KEY = /"_method"/i
const LONGEST_JSON_KEY = 2 + 7 * 6

function orEscaped(character: string): string {
  return `(?:${character}|\\\\u00(?:${codes(character)}))`
}

function inspectJson(): Inspect {
  let end = ''
  return (chunk) => {
    let text = chunk.toString('latin1')
    // Some parsers find UTF-16 and UTF-32 out by themselves: without its NULs their ASCII reads as ours.
    if (text.includes('\0')) text = text.replaceAll('\0', '')
    if (end !== '') text = end + text
    if ((text.includes('\\') ? JSON_KEY : PLAIN_JSON_KEY).test(text)) return false
    end = text.slice(-LONGEST_JSON_KEY)
    return true
  }
}

// A field's name from where it begins, perhaps behind spaces and brackets, to where it ends. Every character may be escaped.
const FORM_FIELD = new RegExp(
  `(?:[&; +[\\]]|%20|%5b|%5d)(?:[_. +[\\]]|%5f|%2e|%20|%5b|%5d)${[...'method'].map((character) => `(?:${character}|%(?:${codes(character)}))`).join('')}(?:[=[\\]\\0]|%5b|%5d|%00)`,
  'i',
)
const LONGEST_FORM_FIELD = 3 * 9

/** Takes more for a field than `namesMethod`, so that no more than a field's length has to be kept. */
function inspectForm(): Inspect {
  let end = '&'
  return (chunk) => {
    const text = end + chunk.toString('latin1')
    if (FORM_FIELD.test(text)) return false
    end = text.slice(-LONGEST_FORM_FIELD)
    return true
  }
}

/** Its code in hexadecimal digits, or that of its upper case. */
function codes(character: string): string {
  return [character, character.toUpperCase()].map((each) => each.charCodeAt(0).toString(16)).join('|')
}
