import type { JsonObject } from '../domain/json.ts'
import { parseStrictObject } from '../domain/strict-json.ts'
import type { TokenFault } from './token-fault.ts'

const MAX_TOKEN_LENGTH = 8 * 1024

/** A compact JWS (RFC 7515, section 3.1) taken apart. Nothing of it is proven yet. */
export interface Jws {
  readonly header: JsonObject
  readonly claims: JsonObject
}

/** Takes a token apart; the fault if it is no JWS that has one reading only. */
export function parseJws(token: string): Jws | TokenFault {
  if (token === '') return 'missing'
  if (token.length > MAX_TOKEN_LENGTH) return 'too_long'
  const parts = token.split('.')
  if (parts.length === 5) return 'encrypted'
  const [header, payload, signature] = parts.map(decodeBase64Url)
  if (parts.length !== 3 || !header || !payload || !signature) return 'not_a_jws'

  const parsedHeader = parseStrictObject(header)
  if (!parsedHeader) return 'bad_header'
  const claims = parseStrictObject(payload)
  return claims ? { header: parsedHeader, claims } : 'bad_payload'
}

/** Null for nothing, for other characters, and for a second spelling of the same bytes (RFC 4648, section 3.5). */
function decodeBase64Url(part: string): Buffer | null {
  if (!/^[A-Za-z0-9_-]+$/.test(part)) return null
  const bytes = Buffer.from(part, 'base64url')
  return bytes.toString('base64url') === part ? bytes : null
}
