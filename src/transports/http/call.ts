import type { Approval } from '../../domain/approval.ts'
import type { Exchange } from '../../domain/call.ts'
import type { Principal } from '../../domain/principal.ts'
import { readContext, readReply } from './context.ts'
import { type Line, storedLine } from './line.ts'
import type { Preferences } from './prefer.ts'
import { type KeptResponse, storeSink } from './sink.ts'

/** A call that came by HTTP, whichever protocol carries it out. */
export interface HttpCall {
  readonly id: string
  readonly principal: Principal
  readonly line: Line
  readonly asked: Asked
  /** Told of the approval that let the call through, before the response begins. */
  approvedBy(approval: Approval): void
  /** What a store kept of the response; null if a client got it. */
  readonly kept: (() => KeptResponse | null) | null
}

/** What the agent asks of the gateway itself with a call, and says of it. */
export type Asked = Required<Pick<Exchange, 'waitMs' | 'isDetached' | 'idempotencyKey' | 'claimed' | 'reply'>>

/** Reads it from the headers that are the gateway's own; `waitMs` is the longest that a call may wait on its connection. */
export function readAsked(
  own: ReadonlyMap<string, string>,
  how: {
    readonly prefer: Preferences
    readonly idempotencyKey: string | null
    readonly waitMs: number
    readonly isPromptKept: boolean
  },
): Asked {
  const { prefer, idempotencyKey } = how
  return {
    waitMs: Math.min(how.waitMs, (prefer.waitS ?? Number.POSITIVE_INFINITY) * 1000),
    isDetached: prefer.isDetached,
    idempotencyKey,
    claimed: readContext(own, how.isPromptKept),
    reply: readReply(own),
  }
}

/** One that is revived after its client left: the response is kept, as far as `maxKeptBytes`. */
export function detachedCall(
  { id, principal }: { readonly id: string; readonly principal: Principal },
  maxKeptBytes: number,
): HttpCall {
  const sink = storeSink(maxKeptBytes)
  return {
    id,
    principal,
    line: storedLine(sink),
    asked: { waitMs: 0, isDetached: true, idempotencyKey: null, claimed: {}, reply: null },
    approvedBy() {},
    kept: sink.kept,
  }
}
