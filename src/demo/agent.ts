import { z } from 'zod'
import { problemSchema } from '../control/wire.ts'
import type { Json } from '../domain/json.ts'
import { AGENT } from './company.ts'
import { untilAvailable } from './patience.ts'

/** What an agent got for a call: the upstream's own answer, or the gateway's refusal with its code and its reason. */
export interface Answer {
  readonly status: number
  /** Null where the upstream answered. */
  readonly refusal: { readonly code: string; readonly detail: string } | null
  readonly body: Json
  /** The approval that the call used, if it was held. */
  readonly approval: string | null
}

/** The demo's agent: an ordinary HTTP client that was pointed at the gateway, and nothing else. */
export interface Agent {
  get(path: string): Promise<Answer>
  delete(path: string): Promise<Answer>
  /** Waits on its connection as long as the gateway holds the call. `reason` is what it says of itself. */
  post(path: string, body: Json, reason: string): Promise<Answer>
}

// Longer than the gateway holds a call on its connection.
const CALL_TIMEOUT_MS = 120_000
const TOKEN_TIMEOUT_MS = 10_000

const tokenSchema = z.object({ access_token: z.string() })

export async function startAgent(where: {
  gatewayUrl: string
  issuer: string
  secret: string
  signal: AbortSignal
}): Promise<Agent> {
  const { gatewayUrl, signal } = where
  const token = await getToken(where)

  async function callOnce(
    method: string,
    path: string,
    more: { headers?: Readonly<Record<string, string>>; body?: string },
  ): Promise<Answer> {
    const response = await fetch(`${gatewayUrl}${path}`, {
      method,
      ...more,
      headers: { authorization: `Bearer ${token}`, ...more.headers },
      signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]),
    })
    const text = await response.text()
    const body: Json = text === '' ? null : JSON.parse(text)
    const isRefusal = response.headers.get('content-type')?.startsWith('application/problem+json') ?? false
    return {
      status: response.status,
      refusal: isRefusal ? problemSchema.parse(body) : null,
      body,
      approval: response.headers.get('countersign-approval'),
    }
  }

  const call = (...what: Parameters<typeof callOnce>) => untilAvailable(() => callOnce(...what), signal)

  return {
    get: (path) => call('GET', path, {}),
    delete: (path) => call('DELETE', path, {}),
    post: (path, body, reason) =>
      call('POST', path, {
        headers: { 'content-type': 'application/json', 'countersign-reason': reason },
        body: JSON.stringify(body),
      }),
  }
}

/** The client credentials grant (RFC 6749, section 4.4). */
async function getToken(where: { issuer: string; secret: string; signal: AbortSignal }): Promise<string> {
  const response = await fetch(`${where.issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${AGENT.id}:${where.secret}`).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
    signal: AbortSignal.any([where.signal, AbortSignal.timeout(TOKEN_TIMEOUT_MS)]),
  })
  if (!response.ok) throw new Error(`the identity provider gives the agent no token: ${await response.text()}`)
  return tokenSchema.parse(await response.json()).access_token
}
