import type { OpenQuestion } from './question.ts'
import type { RuleRef } from './verdict.ts'

/** Every `code` an agent can meet, with its HTTP status (RFC 9457 problem details). A closed list: docs/codes.md. */
export const CODES = {
  unauthenticated: 401,
  malformed: 400,
  denied: 403,
  not_approved: 403,
  approval_pending: 403,
  expired: 403,
  withdrawn: 403,
  suspended: 403,
  not_found: 404,
  already_spent: 409,
  too_large: 413,
  unreadable: 415,
  key_reused: 422,
  too_many_holds: 429,
  rate_limited: 429,
  upstream_failed: 502,
  draining: 503,
  unavailable: 503,
  upstream_timeout: 504,
} as const satisfies Record<string, number>

export type Code = keyof typeof CODES

/** An expected "no", as a value. Exceptions are faults. */
export interface Refusal {
  readonly refused: true
  readonly code: Code
  /** Its first sentence is written for a model to act on: "Not executed. …". Never holds a secret. */
  readonly detail: string
  readonly rule?: RuleRef
  /** The approval this refusal is about, by id. */
  readonly approval?: string
  /** What a reviewer asks about the call that waits. */
  readonly question?: OpenQuestion
  /** Seconds after which a repetition may succeed (RFC 9110, section 10.2.3). */
  readonly retryAfterS?: number
  /** For `unauthenticated`: the `error` and `error_description` of RFC 6750, section 3. */
  readonly challenge?: { readonly error: string | null; readonly description: string }
}

export function refuse(code: Code, detail: string, more: Omit<Refusal, 'refused' | 'code' | 'detail'> = {}): Refusal {
  return { refused: true, code, detail, ...more }
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value && value.refused === true
}
