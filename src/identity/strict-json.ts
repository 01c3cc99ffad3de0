import type { JsonObject } from '../domain/json.ts'

/**
 * Reads one JSON object from UTF-8 bytes; null if they are anything else, or anything that two parsers could read
 * differently: bytes that are not UTF-8, a byte order mark, or an object with the same key twice (RFC 7519, section 4,
 * leaves it to the parser which of the two counts).
 */
export function parseStrictObject(bytes: Uint8Array): JsonObject | null {
  let value: unknown
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  // JSON.parse returned it, so that every value in it is one of JSON.
  return hasDuplicateKeys(text) ? null : (value as JsonObject)
}

/** Walks text that is known to be valid JSON; recursion would let nesting decide how deep the stack gets. */
function hasDuplicateKeys(text: string): boolean {
  const string = /"(?:[^"\\]|\\.)*"/y
  const open: (Set<string> | null)[] = []
  let isKeyNext = false
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '{') open.push(new Set())
    else if (char === '[') open.push(null)
    else if (char === '}' || char === ']') open.pop()
    if (char === '"') {
      string.lastIndex = at
      const literal = string.exec(text)?.[0] ?? '"'
      at += literal.length - 1
      if (isKeyNext && !addKey(open.at(-1) ?? null, literal)) return true
      isKeyNext = false
    } else if (char === '{' || char === ',') {
      isKeyNext = open.at(-1) instanceof Set
    }
  }
  return false
}

/** False if the object has it already; `"\u0061"` is the same key as `"a"`. */
function addKey(keys: Set<string> | null, literal: string): boolean {
  const key: string = JSON.parse(literal)
  if (keys?.has(key)) return false
  keys?.add(key)
  return true
}
