import { webApi } from '@slack/bolt'
import type { z } from 'zod'
import type { Logger } from '../../platform/logger.ts'
import { createBoltLogger } from './bolt-logger.ts'
import { createBoundedFetch } from './bounded-fetch.ts'

/** Every method of the Web API that this channel calls with its bot token, and the scopes each needs (one of a list). */
export const METHODS = {
  'auth.test': [],
  'chat.postEphemeral': ['chat:write'],
  'chat.postMessage': ['chat:write'],
  'chat.update': ['chat:write'],
  'conversations.history': ['channels:history', 'groups:history'],
  'users.info': ['users:read'],
  'views.open': [],
} as const satisfies Record<string, readonly string[]>

export type Method = keyof typeof METHODS

/**
 * `rate_limited`: not done, and not to be tried before `afterMs`. `unreachable`: no answer, or none that can be read; it
 * may have been done. `refused`: Slack said no, with one of its error codes.
 */
export type SlackFailure =
  | { readonly ok: false; readonly kind: 'rate_limited'; readonly afterMs: number }
  | { readonly ok: false; readonly kind: 'unreachable'; readonly cause: string }
  | { readonly ok: false; readonly kind: 'refused'; readonly error: string }

export type SlackAnswer<T> = { readonly ok: true; readonly data: T } | SlackFailure

export interface SlackClient {
  call<T>(
    method: Method,
    args: Record<string, unknown>,
    how: { readonly schema: z.ZodType<T>; readonly signal?: AbortSignal },
  ): Promise<SlackAnswer<T>>
}

/** Where a request that Slack refused for going too fast carries no time to wait. */
const DEFAULT_RATE_LIMIT_MS = 30_000

/** Errors by which Slack says that it, not the request, is at fault. */
const TRANSIENT = new Set(['internal_error', 'fatal_error', 'service_unavailable', 'request_timeout', 'timeout'])

/**
 * Calls Slack's Web API: once, within `timeoutMs`, with failures as values. It never repeats a request by itself: the
 * outbox that owes the message does, and it knows about every replica.
 */
export function createSlackClient(options: {
  readonly token: string
  readonly apiUrl: string
  readonly timeoutMs: number
  readonly stopping: AbortSignal
  readonly log: Logger
}): SlackClient {
  const { token, apiUrl, timeoutMs, stopping, log } = options
  const logger = createBoltLogger(log)

  function connect(signal: AbortSignal | undefined): webApi.WebClient {
    const signals = signal ? [stopping, signal] : [stopping]
    return new webApi.WebClient(token, {
      slackApiUrl: apiUrl,
      allowAbsoluteUrls: false,
      retryConfig: { retries: 0 },
      rejectRateLimitedCalls: true,
      fetch: createBoundedFetch({ timeoutMs, signals }),
      logger,
    })
  }

  return {
    async call(method, args, { schema, signal }) {
      try {
        const parsed = schema.safeParse(await connect(signal).apiCall(method, args))
        if (parsed.success) return { ok: true, data: parsed.data }
        return { ok: false, kind: 'unreachable', cause: `${method}: an answer of another form` }
      } catch (error) {
        return toFailure(error, method)
      }
    },
  }
}

function toFailure(error: unknown, method: Method): SlackFailure {
  if (error instanceof webApi.WebAPIRateLimitedError) {
    return { ok: false, kind: 'rate_limited', afterMs: error.retryAfter * 1000 }
  }
  if (error instanceof webApi.WebAPIPlatformError) {
    const code = String(error.data.error)
    if (/^rate_?limited$/.test(code)) return { ok: false, kind: 'rate_limited', afterMs: DEFAULT_RATE_LIMIT_MS }
    // The client takes a body that is not JSON, of a proxy for instance, for the error itself.
    const isCode = /^[a-z0-9_]{1,80}$/.test(code)
    if (isCode && !TRANSIENT.has(code)) return { ok: false, kind: 'refused', error: code }
    return { ok: false, kind: 'unreachable', cause: `${method}: ${isCode ? code : 'an unreadable answer'}` }
  }
  if (error instanceof webApi.WebAPIHTTPError) {
    return { ok: false, kind: 'unreachable', cause: `${method}: HTTP ${error.statusCode}` }
  }
  const cause = error instanceof webApi.WebAPIRequestError ? error.original : error
  return { ok: false, kind: 'unreachable', cause: `${method}: ${cause instanceof Error ? cause.message : 'failed'}` }
}
