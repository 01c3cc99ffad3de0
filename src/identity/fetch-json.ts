import { Agent, fetch } from 'undici'
import { GatewayError } from '../domain/error.ts'

const TIMEOUT_MS = 5_000
const MAX_BYTES = 512 * 1024

export interface Sent {
  readonly method?: string
  readonly headers: Record<string, string>
  readonly body?: string | null
  readonly signal?: AbortSignal | undefined
}

/** A fetch of small documents from one issuer: bounded in time and size, and never redirected. */
export interface Fetcher {
  /** A response of whatever status, already read whole. Throws `GatewayError('upstream')` if there is none. */
  send(url: string, request: Sent): Promise<Response>
  /** A response of 200, already read whole. Throws `GatewayError('upstream')`, also for any other answer. */
  fetch(url: string, options: { headers: Record<string, string>; signal?: AbortSignal | undefined }): Promise<Response>
  /** The JSON that is there, whatever type it is said to have. Throws `GatewayError('upstream')`. */
  fetchJson(url: string, signal: AbortSignal): Promise<unknown>
  close(): Promise<void>
}

export function createFetcher(options: { ca?: string | undefined; timeoutMs?: number }): Fetcher {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
  const dispatcher = new Agent({
    connections: 2,
    connect: { timeout: timeoutMs, ...(options.ca === undefined ? {} : { ca: options.ca }) },
  })

  async function send(url: string, { method = 'GET', headers, body = null, signal }: Sent): Promise<Response> {
    const timeout = AbortSignal.timeout(timeoutMs)
    try {
      const response = await fetch(url, {
        method,
        headers,
        body,
        redirect: 'manual',
        dispatcher,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      })
      const read = await readBounded(response.body)
      const type = response.headers.get('content-type')
      return new Response(read.length === 0 ? null : read, {
        status: response.status,
        headers: type === null ? {} : { 'content-type': type },
      })
    } catch (error) {
      if (error instanceof GatewayError) throw error
      throw toFault(error, `the issuer did not answer in order at ${url}`)
    }
  }

  async function fetchWhole(url: string, { headers, signal }: Parameters<Fetcher['fetch']>[1]): Promise<Response> {
    const response = await send(url, { headers, signal })
    if (response.status !== 200) {
      throw new GatewayError('upstream', `the issuer answered ${response.status} at ${url}`)
    }
    return response
  }

  return {
    send,
    fetch: fetchWhole,
    async fetchJson(url, signal) {
      const response = await fetchWhole(url, {
        headers: { accept: 'application/jwk-set+json, application/json' },
        signal,
      })
      try {
        return await response.json()
      } catch {
        // Without the cause, which only quotes what was there instead.
        throw new GatewayError('upstream', `the issuer did not answer with JSON at ${url}`)
      }
    },
    close: () => dispatcher.destroy(),
  }
}

/** What `fetch` refuses by itself, a blocked port for one, has a cause without a code, whose message says it all. */
function toFault(error: unknown, tried: string): GatewayError {
  const cause = error instanceof TypeError ? error.cause : undefined
  if (cause instanceof Error && !('code' in cause)) return new GatewayError('upstream', `${tried}: ${cause.message}`)
  return new GatewayError('upstream', tried, { cause: error })
}

async function readBounded(body: AsyncIterable<Uint8Array> | null): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new GatewayError('upstream', `the issuer answered more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
