import type { OpenQuestion } from './question.ts'
import { CODES, type Code, type Refusal } from './refusal.ts'
import { formatRule } from './verdict.ts'

export const PROBLEM_MEDIA_TYPE = 'application/problem+json'

/** Where each problem is documented: the `type` of a problem is this with its code (RFC 9457, section 3.1.1). */
export const PROBLEM_BASE = 'https://countersign.dev/problems/'

/** Problem details (RFC 9457). `code` is the short form of `type`. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: string
  readonly call?: string
  readonly approval?: string
  /** Where the agent may ask what became of its call. */
  readonly status_url?: string
  /** `policy/rule` of the deciding rule. */
  readonly rule?: string
  /** What a reviewer asks about the call; the next attempt may carry a reply. */
  readonly question?: OpenQuestion
}

const TITLES: Readonly<Record<Code, string>> = {
  unauthenticated: 'The caller could not be identified',
  malformed: 'The request is not a call',
  denied: 'Denied by policy',
  not_approved: 'Denied by a reviewer',
  approval_pending: 'Waiting for approval',
  expired: 'The approval expired',
  withdrawn: 'The approval was withdrawn',
  suspended: 'The caller is suspended',
  not_found: 'Not found',
  already_spent: 'The approval was already used',
  too_large: 'The call is too large',
  unreadable: 'The body cannot be read',
  key_reused: 'The idempotency key belongs to another call',
  too_many_holds: 'Too many calls wait for approval',
  rate_limited: 'Too many calls',
  upstream_failed: 'The upstream failed',
  draining: 'The gateway is shutting down',
  unavailable: 'The gateway cannot decide now',
  upstream_timeout: 'The upstream did not answer in time',
}

/** Which call a refusal ends; `publicUrl` is the gateway's, as agents reach it. */
export interface ProblemContext {
  readonly callId?: string
  readonly publicUrl?: string
}

/**
 * A refusal as RFC 9457 problem details. `status_url` is there whenever the refusal is about an approval, and leads to
 * the approval rather than to this call: many calls may attach to one approval, and what becomes of it is known by it.
 */
export function problemOf(why: Refusal, { callId, publicUrl }: ProblemContext = {}): Problem {
  return {
    type: `${PROBLEM_BASE}${why.code}`,
    title: TITLES[why.code],
    status: CODES[why.code],
    detail: why.detail,
    code: why.code,
    ...(callId !== undefined && { call: callId }),
    ...(why.approval !== undefined && { approval: why.approval }),
    ...(why.approval !== undefined && publicUrl !== undefined && { status_url: callUrl(publicUrl, why.approval) }),
    ...(why.rule !== undefined && { rule: formatRule(why.rule) }),
    ...(why.question !== undefined && { question: why.question }),
  }
}

/** Where an agent asks after one of its own held calls: by the id of the call that opened the approval, or by the approval's. */
export function callUrl(publicUrl: string, id: string): string {
  return `${publicUrl.replace(/\/+$/, '')}/.countersign/calls/${id}`
}

/**
 * The headers that belong to a refusal: `Retry-After`, and for `unauthenticated` the challenge of RFC 6750, section 3,
 * with `resource_metadata` of RFC 9728, section 5.1.
 */
export function problemHeaders(why: Refusal, resourceMetadataUrl: string | null): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': PROBLEM_MEDIA_TYPE, 'cache-control': 'no-store' }
  if (why.retryAfterS !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil(why.retryAfterS)))
  if (why.code === 'unauthenticated') {
    const { error, description } = why.challenge ?? { error: null, description: why.detail }
    headers['www-authenticate'] = formatChallenge([
      ['error', error],
      ['error_description', description],
      ['resource_metadata', resourceMetadataUrl],
    ])
  }
  return headers
}

/** Without credentials in the request no `error` is given (RFC 6750, section 3.1). */
function formatChallenge(params: readonly (readonly [string, string | null])[]): string {
  const given = params.flatMap(([name, value]) => (value === null ? [] : [`${name}="${quotable(value)}"`]))
  return given.length === 0 ? 'Bearer' : `Bearer ${given.join(', ')}`
}

/** What may stand inside the quotes (RFC 6750, section 3): printable ASCII but `"` and `\`. */
function quotable(text: string): string {
  return text.replaceAll(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, "'")
}
