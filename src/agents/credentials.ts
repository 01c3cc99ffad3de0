import type { IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'
import { type Refusal, refuse } from '../domain/refusal.ts'
import { parseStrictObject } from '../domain/strict-json.ts'
import type { MintedCredential } from '../identity/minted.ts'
import { readBody } from '../transports/http/upload.ts'

/** More than the name of an upstream takes. */
const LIMITS = { maxBytes: 1024, idleMs: 5_000, totalMs: 10_000, take: () => true }

const order = z.strictObject({ upstream: z.string() })

/** Reads for which upstream somebody wants a user and a password. */
export async function readUpstream(request: IncomingMessage, response: ServerResponse): Promise<string | Refusal> {
  const type = request.headers['content-type'] ?? ''
  if (!/^application\/json[ \t]*(?:;|$)/i.test(type) || request.headers['content-encoding'] !== undefined) {
    return refuse('unreadable', `Not minted. Send ${EXAMPLE} as application/json.`)
  }
  const bytes = await readBody(request, response, LIMITS)
  if (bytes === 'too_large') return refuse('too_large', `Not minted. The body is larger than ${LIMITS.maxBytes} bytes.`)
  if (typeof bytes === 'string') return refuse('malformed', 'Not minted. The body did not come whole.')
  const read = order.safeParse(parseStrictObject(bytes))
  return read.success ? read.data.upstream : refuse('malformed', `Not minted. The body has to be like ${EXAMPLE}.`)
}

const EXAMPLE = '{"upstream": "orders"}'

/** What an agent is given: for its client to log in with, and when it has to ask for another. */
export function describeMinted({ upstream, user, password, endsAt }: MintedCredential) {
  return { upstream, user, password, expires_at: new Date(endsAt).toISOString() }
}
