import { GatewayError } from './error.ts'

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
  // What is in order already, as nearly every entry is, costs a third this way.
  return isInOrder(value) ? (JSON.stringify(value) ?? 'null') : write(value)
}

/** Whether JSON.stringify gives the canonical form, member for member in the order in which it finds them. */
function isInOrder(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return value.every(isInOrder)
  if ('toJSON' in value) return false
  let previous = ''
  for (const name in value) {
    if (name < previous || !name.isWellFormed() || !isInOrder(Reflect.get(value, name))) return false
    previous = name
  }
  return true
}

function write(value: unknown): string {
  if (typeof value === 'string') return quote(value)
  if (typeof value === 'object' && value !== null) return writeComposite(value)
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new GatewayError('internal', 'a number that is not finite has no canonical form')
  }
  return JSON.stringify(value ?? null)
}

function writeComposite(value: object): string {
  if (Array.isArray(value)) return `[${value.map((item: unknown) => write(item)).join(',')}]`
  let text = ''
  for (const name of Object.keys(value).sort()) {
    const member: unknown = Reflect.get(value, name)
    if (member !== undefined) text += `${text === '' ? '' : ','}${quote(name)}:${write(member)}`
  }
  return `{${text}}`
}

function quote(text: string): string {
  if (!text.isWellFormed()) throw new GatewayError('internal', 'a text with a lone surrogate has no canonical form')
  return JSON.stringify(text)
}
