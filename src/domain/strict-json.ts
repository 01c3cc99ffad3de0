import type { Json, JsonObject } from './json.ts'

/** What two parsers could read differently, in words for the agent's developer. */
export interface JsonFault {
  readonly fault: string
}

const MAX_DEPTH = 64
/** Characters of a number. What a double holds exactly is shorter, but for zeros. */
const MAX_NUMBER_LENGTH = 400

/**
 * Reads JSON (RFC 8259) that every parser reads alike, or says what is ambiguous: bytes that are not UTF-8, a byte
 * order mark, a key given twice or in two cases, a number that a double does not hold, half of a surrogate pair, NUL.
 */
export function parseStrictJson(bytes: Uint8Array): { readonly value: Json } | JsonFault {
  const text = decodeUtf8(bytes)
  if (typeof text !== 'string') return text
  const fault = scan(text)
  if (fault !== null) return { fault }
  try {
    // Own properties only: JSON.parse makes `__proto__` an ordinary key.
    const value: Json = JSON.parse(text)
    return { value }
  } catch {
    return { fault: 'the body is not JSON' }
  }
}

/** The same for what has to be an object; null if it is anything else. */
export function parseStrictObject(bytes: Uint8Array): JsonObject | null {
  const parsed = parseStrictJson(bytes)
  if ('fault' in parsed) return null
  const { value } = parsed
  // `Array.isArray` does not tell a readonly array from the rest of a union.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null
}

/** UTF-8 without a byte order mark and without NUL. */
export function decodeUtf8(bytes: Uint8Array): string | JsonFault {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
    return { fault: 'the body begins with a byte order mark' }
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return text.includes('\0') ? { fault: 'the body holds a NUL' } : text
  } catch {
    return { fault: 'the body is not UTF-8' }
  }
}

const NOT_JSON = 'the body is not JSON'

type Container = { readonly keys: Set<string>; awaits: 'key' | 'value' } | { readonly keys: null; awaits: 'value' }

/** Walks the text once, without recursion. It finds every ambiguity; plain errors it leaves to JSON.parse. */
function scan(text: string): string | null {
  const open: Container[] = []
  const number = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
  for (let at = 0; at < text.length; ) {
    const character = text[at]
    const inside = open.at(-1)
    if (character === '"') {
      const end = stringEnd(text, at)
      if (end === -1) return NOT_JSON
      const isKey = inside?.keys != null && inside.awaits === 'key'
      const fault = inspectString(text.slice(at, end), isKey ? inside.keys : null)
      if (fault !== null) return fault
      if (isKey) inside.awaits = 'value'
      at = end
      continue
    }
    if (character === '-' || (character !== undefined && character >= '0' && character <= '9')) {
      number.lastIndex = at
      const literal = number.exec(text)
      if (!literal) return NOT_JSON
      if (!survives(literal[0], literal[1] === undefined && literal[2] === undefined)) {
        return 'the body holds a number that loses digits in a 64-bit float; send it as a string'
      }
      at = number.lastIndex
      continue
    }
    if (character === '{') open.push({ keys: new Set(), awaits: 'key' })
    else if (character === '[') open.push({ keys: null, awaits: 'value' })
    else if (character === '}' || character === ']') open.pop()
    else if (character === ',' && inside?.keys) inside.awaits = 'key'
    if (open.length > MAX_DEPTH) return `the body is nested deeper than ${MAX_DEPTH}`
    at++
  }
  return null
}

/** Where a string's literal ends, behind its quote; -1 if it does not. A pattern would need a stack as long as the string. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at + 1
    if (code === BACKSLASH) at++
  }
  return -1
}

const QUOTE = 34
const BACKSLASH = 92

// Looked for from where a run of marks begins: from each of its marks on it would be walked thirty times.
const MANY_MARKS = /(?<!\p{M})\p{M}{31}/u

function inspectString(literal: string, keys: Set<string> | null): string | null {
  let value = literal.slice(1, -1)
  if (literal.includes('\\')) {
    try {
      value = JSON.parse(literal)
    } catch {
      return NOT_JSON
    }
    if (value.includes('\0')) return 'the body holds a NUL'
    if (!value.isWellFormed()) return 'the body holds half of a surrogate pair'
  }
  if (keys === null) return null
  // To put many marks on one letter in order takes quadratic time; no script has that many (UAX #15, Stream-Safe Text).
  if (MANY_MARKS.test(value)) return 'the body holds a key with more than 30 marks on one letter'
  // Some parsers match keys without regard to case, as Go's does, by Unicode's simple folding.
  const folded = value.normalize('NFC').toUpperCase().toLowerCase()
  if (keys.has(folded)) return 'the body holds a key twice, or in two cases'
  keys.add(folded)
  return null
}

/** Whether a double holds the number exactly as it is written. */
function survives(literal: string, isInteger: boolean): boolean {
  // A double keeps fifteen digits, whatever they are, while its exponent is not near its ends (IEEE 754).
  if (literal.length < 16 && (isInteger || !/[eE][+-]?[0-9]{3}/.test(literal))) return true
  if (literal.length > MAX_NUMBER_LENGTH) return false
  const value = Number(literal)
  if (!Number.isFinite(value)) return false
  return isInteger ? Number.isSafeInteger(value) : digitsOf(literal) === digitsOf(String(value))
}

/** A decimal's significant digits and its exponent, in one form for all ways to write it. */
function digitsOf(literal: string): string {
  const [mantissa = '', exponent = '0'] = literal.toLowerCase().split('e')
  const isNegative = mantissa.startsWith('-')
  const [whole = '', fraction = ''] = mantissa.replace('-', '').split('.')
  const digits = `${whole}${fraction}`.replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return '0'
  const power = Number(exponent) - fraction.length + (digits.length - significant.length)
  return `${isNegative ? '-' : ''}${significant}e${power}`
}
