import { GatewayError } from './error.ts'

// Printable ASCII but the quotation mark and the backslash: nearly every text of an entry.
const NOTHING_TO_ESCAPE = /^[ !#-[\]-~]*$/

/**
 * The one JSON text of a value (RFC 8785): members sorted by UTF-16 code units, no white space, numbers and strings as
 * ECMAScript writes them; members that are undefined are left out. It holds no raw newline. Written here because
 * entries are made on the path of every call: nothing of it may wait, and a library's generality would cost more than
 * the entry.
 *
 * @throws GatewayError `internal` for what has no canonical form: a lone surrogate (RFC 8785, section 3.2.2.2), a
 * number that is not finite. Text from elsewhere goes through `String.prototype.toWellFormed` first.
 */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'string') return quote(value)
  if (typeof value === 'object' && value !== null) return writeComposite(value)
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new GatewayError('internal', 'a number that is not finite has no canonical form')
  }
  return JSON.stringify(value ?? null)
}

function writeComposite(value: object): string {
  if (Array.isArray(value)) return `[${value.map((item: unknown) => canonicalJson(item)).join(',')}]`
  let text = ''
  for (const name of sortedNames(value)) {
    const member: unknown = Reflect.get(value, name)
    if (member !== undefined) text += `${text === '' ? '' : ','}${quote(name)}:${canonicalJson(member)}`
  }
  return `{${text}}`
}

function sortedNames(value: object): readonly string[] {
  const names = Object.keys(value)
  // Bodies are written in order already, and need no sorting.
  return names.every((name, index) => index === 0 || (names[index - 1] ?? '') < name) ? names : names.sort()
}

function quote(text: string): string {
  if (NOTHING_TO_ESCAPE.test(text)) return `"${text}"`
  if (!text.isWellFormed()) throw new GatewayError('internal', 'a text with a lone surrogate has no canonical form')
  return JSON.stringify(text)
}
