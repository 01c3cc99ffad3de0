import type { IncomingMessage } from 'node:http'
import { type Refusal, refuse } from '../../domain/refusal.ts'

const MAX_KEY_CHARACTERS = 255

/** What the gateway itself reads of a request whose headers go nowhere. */
export function ownHeaders(request: IncomingMessage): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(request.headers).flatMap(([name, value]) =>
      typeof value === 'string' ? [[name, value] as const] : [],
    ),
  )
}

/** The `Idempotency-Key`; null if there is none. */
export function readIdempotencyKey(own: ReadonlyMap<string, string>): string | null | Refusal {
  const key = own.get('idempotency-key') || null
  return key !== null && key.length > MAX_KEY_CHARACTERS ? KEY_TOO_LONG : key
}

const KEY_TOO_LONG = refuse(
  'malformed',
  `Not executed. Idempotency-Key is longer than ${MAX_KEY_CHARACTERS} characters.`,
)
