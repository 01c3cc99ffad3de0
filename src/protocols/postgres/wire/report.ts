import type { Code, Refusal } from '../../../domain/refusal.ts'
import { encodeBackend } from './backend.ts'

/** What a client is told when something is not done, in the protocol's own terms (PostgreSQL 18, appendix A). */
export interface Fault {
  readonly code: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
  /** The character of the query that it is about, from 1 on. */
  readonly position?: number
}

/** An error that ends a statement. */
export function encodeError(fault: Fault): Buffer {
  return encodeReport('error', 'ERROR', fault)
}

/** An error that ends the session. */
export function encodeFatal(fault: Fault): Buffer {
  return encodeReport('error', 'FATAL', fault)
}

export function encodeNotice(fault: Fault): Buffer {
  return encodeReport('notice', 'NOTICE', fault)
}

function encodeReport(type: 'error' | 'notice', severity: string, fault: Fault): Buffer {
  const { code, message, detail, hint, position } = fault
  return encodeBackend({
    type,
    report: {
      S: severity,
      V: severity,
      C: code,
      M: plain(message),
      ...(detail === undefined ? {} : { D: plain(detail) }),
      ...(hint === undefined ? {} : { H: plain(hint) }),
      ...(position === undefined ? {} : { P: String(position) }),
    },
  })
}

/** A text of the protocol ends at a NUL. */
function plain(text: string): string {
  return text.replaceAll('\0', '�')
}

/** Each refusal as a SQLSTATE. */
const STATES: Readonly<Record<Code, string>> = {
  unauthenticated: '28P01',
  malformed: '08P01',
  denied: '42501',
  not_approved: '42501',
  approval_pending: '42501',
  expired: '42501',
  withdrawn: '57014',
  suspended: '42501',
  not_found: '42501',
  already_spent: '42501',
  too_large: '54000',
  unreadable: '42501',
  key_reused: '42501',
  too_many_holds: '53400',
  rate_limited: '53400',
  upstream_failed: '08006',
  draining: '57P01',
  unavailable: '58000',
  upstream_timeout: '08006',
}

const HINTS: Readonly<Partial<Record<Code, string>>> = {
  denied: 'Ask for less, or ask whoever keeps the policy for a rule. A repetition is denied as well.',
  not_approved: 'Read the reason before another attempt: an identical statement is denied for some time.',
  approval_pending:
    'Repeat the identical statement with identical parameters, on this or on another connection: it attaches to the same approval.',
  expired: 'Nobody decided in time. Repeat the statement to ask again.',
  too_many_holds: 'Wait until people have decided on what is open, or cancel some of it.',
  rate_limited: 'Repeat the statement later.',
  draining: 'Connect again and repeat the statement.',
  unavailable: 'Repeat the statement later.',
}

/** What became of the statement, which the sentence after it explains. */
export const FATE = /^(?:Not executed|Perhaps executed|Cut off)\. /

/** A refusal as an error of the protocol: its first sentence is the message, what follows the detail. */
export function faultOf(why: Refusal): Fault {
  const { code, detail, approval } = why
  const hint = HINTS[code]
  const end = detail.indexOf('. ', FATE.exec(detail)?.[0].length ?? 0)
  const message = end === -1 ? detail : detail.slice(0, end + 1)
  const rest = end === -1 ? '' : detail.slice(end + 2)
  const told = rest.replace(/^\(rule (\S+)\)$/, 'Rule $1.')
  const unnamed = approval === undefined || detail.includes(approval) ? '' : `Approval ${approval}.`
  const named = [told, unnamed].filter((each) => each !== '').join(' ')
  return {
    code: STATES[code],
    message,
    ...(named === '' ? {} : { detail: named }),
    ...(hint === undefined ? {} : { hint }),
  }
}
