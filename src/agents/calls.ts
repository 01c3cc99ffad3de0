import { timingSafeEqual } from 'node:crypto'
import type { State } from '../domain/approval.ts'
import { type Principal, principalKey } from '../domain/principal.ts'
import type { OpenQuestion } from '../domain/question.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import type { AgentParts, OwnCall } from './desk.ts'
import { refuseWithoutResponse } from './outcome.ts'
import { type Replay, readReplay } from './replay.ts'

/** Seconds that `?wait=` may ask for at most; below the time-out of most clients. */
export const MAX_WAIT_S = 50
const RETRY_S = 2

export interface CallStatus {
  readonly call: string
  readonly approval: string
  readonly state: State
  readonly detached: boolean
  /** Why it was denied or withdrawn. */
  readonly reason: string | null
  /** How the call ended; null while it has not. */
  readonly outcome: string | null
  readonly created_at: string
  readonly expires_at: string
  readonly use_by: string | null
  /** What a reviewer asks; the next attempt of the call may carry a reply. */
  readonly question: OpenQuestion | null
}

/** `isOpen` says that asking again later will tell more. */
export interface StatusAnswer {
  readonly kind: 'status'
  readonly status: CallStatus
  readonly isOpen: boolean
  readonly retryAfterS: number
}

/**
 * `status`: what is known. `refusal`: a detached call that was not, or not surely, executed. `response`: the upstream's own, of a
 * detached call.
 */
export type CallAnswer =
  | StatusAnswer
  | { readonly kind: 'response'; readonly response: Replay; readonly call: OwnCall }
  | { readonly kind: 'refusal'; readonly refusal: Refusal; readonly call: OwnCall }

/** Looks after held calls for the agents that made them. What is another's does not exist. */
export function createCallLookup(parts: Parts) {
  return async (
    id: string,
    principal: Principal,
    patience: { waitMs: number; gone: AbortSignal } | null,
  ): Promise<CallAnswer | Refusal> => {
    const call = await parts.calls.ownCall(principal, id, patience)
    if (!call || !isOwn(call, principal)) return refuse('not_found', 'There is no such call of yours that was held.')
    return call.approval.isDetached ? answerDetached(call, parts) : answerStatus(call, false)
  }
}

type Parts = Pick<AgentParts, 'calls' | 'refuseFor' | 'charge'>

// Not that of a call that is refused: this one was executed.
const TOO_MUCH =
  'The response is kept. It is more than can be read for this agent now; slow down, and ask for it again.'

/** The queue looks only among this principal's; whoever answers makes sure. */
function isOwn({ approval }: OwnCall, principal: Principal): boolean {
  return timingSafeEqual(principalKey(approval.requester), principalKey(principal))
}

function isOpen({ approval, outcome }: OwnCall): boolean {
  const { state } = approval
  return state === 'pending' || state === 'approved' || (state === 'spent' && outcome === null)
}

async function answerDetached(call: OwnCall, { refuseFor, charge }: Parts): Promise<CallAnswer> {
  const { approval, outcome } = call
  if (isOpen(call)) return answerStatus(call, true)
  if (approval.state !== 'spent' || outcome === null) return { kind: 'refusal', refusal: refuseFor(approval), call }
  const excess = call.response && charge(approval.requester, call.response.bytes)
  if (excess) return { kind: 'refusal', refusal: { ...excess, detail: TOO_MUCH, approval: approval.id }, call }
  const stored = (await call.response?.read()) ?? null
  const response = stored && readReplay(stored)
  return response
    ? { kind: 'response', response, call }
    : { kind: 'refusal', refusal: refuseWithoutResponse(outcome, approval.id), call }
}

function answerStatus({ approval, outcome, question }: OwnCall, mayChange: boolean): CallAnswer {
  return {
    kind: 'status',
    isOpen: mayChange,
    retryAfterS: RETRY_S,
    status: {
      call: approval.callId,
      approval: approval.id,
      state: approval.state,
      detached: approval.isDetached,
      reason: approval.reason,
      outcome,
      created_at: new Date(approval.createdAt).toISOString(),
      expires_at: new Date(approval.expiresAt).toISOString(),
      use_by: approval.useBy === null ? null : new Date(approval.useBy).toISOString(),
      question,
    },
  }
}

/** Reads `?wait=` in whole seconds, capped; zero if it is not given. */
export function readWait(value: string | null): number | Refusal {
  if (value === null) return 0
  if (!/^\d{1,6}$/.test(value)) return refuse('malformed', 'wait is a whole number of seconds.')
  return Math.min(Number(value), MAX_WAIT_S) * 1000
}
