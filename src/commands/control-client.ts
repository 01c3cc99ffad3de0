import type { z } from 'zod'
import { problemSchema } from '../control/wire.ts'
import { GatewayError } from '../domain/error.ts'
import { makeVisible } from '../domain/visible.ts'
import { isTrustworthyUrl } from '../identity/options.ts'

const TIMEOUT_MS = 20_000
/** An approval shows its call whole; this is more than the gateway holds of one by far. */
const MAX_BYTES = 64 * 1024 * 1024

/** What a command asks of the control listener. Every failure is a GatewayError with one line for a person. */
export interface ControlClient {
  readonly url: string
  get<T>(path: string, schema: z.ZodType<T>): Promise<T>
  post<T>(path: string, body: object, schema: z.ZodType<T>): Promise<T>
}

/** Null where nobody is signed in. */
export type Token = string | null

/**
 * @param options `isFresh`: the token is of a sign-in of this command, so that another sign-in would be refused as this one
 */
export function createControlClient(
  url: string,
  { token, signal, isFresh = false }: { token: Token; signal: AbortSignal; isFresh?: boolean },
): ControlClient {
  async function ask<T>(path: string, init: RequestInit, schema: z.ZodType<T>): Promise<T> {
    const response = await send(`${url}${path}`, {
      ...init,
      // A redirect would take the token elsewhere.
      redirect: 'error',
      headers: {
        accept: 'application/json',
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(init.body !== undefined && { 'content-type': 'application/json' }),
      },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    })
    const json = await readJson(response, url)
    if (!response.ok) throw explain(json, response.status, { url, isFresh })
    const parsed = schema.safeParse(json)
    if (!parsed.success) throw new GatewayError('upstream', `${url} does not answer as a control listener does`)
    return parsed.data
  }
  return {
    url,
    get: (path, schema) => ask(path, { method: 'GET' }, schema),
    post: (path, body, schema) => ask(path, { method: 'POST', body: JSON.stringify(body) }, schema),
  }
}

/** The control listener's URL in the form that it is known by. Throws GatewayError `config` if tokens must not go there. */
export function readControlUrl(text: string): string {
  if (!URL.canParse(text)) throw new GatewayError('config', `${makeVisible(text)} is not a URL`)
  const url = new URL(text)
  if (!isTrustworthyUrl(url)) throw new GatewayError('config', 'the URL must be https, or http on this machine')
  if (url.username !== '' || url.search !== '' || url.hash !== '') {
    throw new GatewayError('config', 'the URL must have no credentials, query or fragment')
  }
  return url.href.replace(/\/+$/, '')
}

async function send(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new GatewayError('upstream', `${new URL(url).origin} cannot be reached: ${makeVisible(why)}`, {
      cause: error,
    })
  }
}

async function readJson(response: Response, url: string): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of response.body ?? []) {
      size += chunk.length
      if (size > MAX_BYTES) throw new GatewayError('upstream', `${url} answers with more than it should`)
      chunks.push(chunk)
    }
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('upstream', `${url} answers ${response.status}, and nothing that can be read`, {
      cause: error,
    })
  }
}

/** Who signed in a moment ago gets the same token again. */
const UNFIT =
  ' This sign-in was given that token: people[].sign_in.parameters of the configuration says what to ask the provider for.'

function explain(json: unknown, status: number, from: { url: string; isFresh: boolean }): GatewayError {
  const problem = problemSchema.safeParse(json)
  if (!problem.success) return new GatewayError('upstream', `${from.url} answers ${status}`)
  const { code, detail } = problem.data
  const hint = code !== 'unauthenticated' ? '' : from.isFresh ? UNFIT : ' Run `countersign login`.'
  return new GatewayError('upstream', `${makeVisible(detail)}${hint} (${makeVisible(code)})`)
}
