import { hash } from 'node:crypto'
import { canonicalJson } from '../domain/canonical.ts'
import { GatewayError } from '../domain/error.ts'
import type { Json, JsonObject } from '../domain/json.ts'

/** An entry's texts, in bytes of UTF-8. Whatever an agent sends, an entry stays small, and two that differ stay different. */
export const MAX_BYTES = {
  resource: 1024,
  reason: 4096,
  claimed: 4096,
  name: 512,
  detailText: 1024,
  detail: 16_384,
} as const

/**
 * The text itself, or its first `maxBytes` bytes of UTF-8 (whole characters only) and the SHA-256 of the whole.
 * Throws `GatewayError('audit')` for a lone surrogate: UTF-8 would replace it, and two texts that differ become one.
 */
export function capText(text: string, maxBytes: number): string {
  if (!text.isWellFormed()) throw new GatewayError('audit', 'an entry holds a lone surrogate')
  // A UTF-16 code unit is at most three bytes of UTF-8.
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text, 'utf8') <= maxBytes) return text
  const prefix = Buffer.from(text.slice(0, maxBytes), 'utf8').subarray(0, maxBytes)
  // As a stream, the decoder keeps back a character whose end is missing.
  const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(prefix, { stream: true })
  return `${whole}…[sha256:${hash('sha256', text)}]`
}

/**
 * Caps every text in it; if that leaves more than `MAX_BYTES.detail`, lists and objects at its top become their SHA-256,
 * and what is still too much becomes one. Plain values stay readable as long as they can.
 */
export function capDetail(detail: JsonObject): JsonObject {
  const capped = mapTexts(detail)
  if (isSmall(capped)) return capped
  const flat = Object.fromEntries(
    Object.entries(capped).map(([name, value]) => [
      name,
      typeof value === 'object' && value !== null ? digest(value) : value,
    ]),
  )
  return isSmall(flat) ? flat : digest(capped)
}

function mapTexts(value: JsonObject): JsonObject
function mapTexts(value: Json): Json
function mapTexts(value: Json): Json {
  if (typeof value === 'string') return capText(value, MAX_BYTES.detailText)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item: Json) => mapTexts(item))
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [capText(name, MAX_BYTES.name), mapTexts(member)]),
  )
}

function isSmall(value: Json): boolean {
  return Buffer.byteLength(canonicalJson(value), 'utf8') <= MAX_BYTES.detail
}

function digest(value: Json): JsonObject {
  const text = canonicalJson(value)
  return { bytes: Buffer.byteLength(text, 'utf8'), sha256: hash('sha256', text) }
}
