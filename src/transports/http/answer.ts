import type { Approval } from '../../domain/approval.ts'
import { callUrl, problemHeaders, problemOf } from '../../domain/problem.ts'
import { type Refusal, refuse } from '../../domain/refusal.ts'
import type { BodyFault } from './upload.ts'

/** What the gateway itself answers a call with. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

const DETACHED_RETRY_S = 5

/** A refusal as HTTP says it: problem details (RFC 9457) under the status of its code. */
export function describeRefusal(
  why: Refusal,
  {
    callId,
    service,
  }: { callId: string; service: { readonly publicUrl: string; readonly upstream: { readonly name: string } } },
): Answer {
  const problem = problemOf(why, { callId, publicUrl: service.publicUrl })
  const metadataUrl = `${service.publicUrl}/.well-known/oauth-protected-resource/${service.upstream.name}`
  return { status: problem.status, headers: problemHeaders(why, metadataUrl), text: `${JSON.stringify(problem)}\n` }
}

/** What a client is told that asked not to wait (RFC 7240, section 4.1), once its call is held. */
export function describePending(
  approval: Pick<Approval, 'id' | 'callId'>,
  { callId, publicUrl }: { callId: string; publicUrl: string },
): Answer {
  // By the call that opened the approval: this one may have attached to it.
  const statusUrl = callUrl(publicUrl, approval.callId)
  const told = { status: 'pending', call: callId, approval: approval.id, status_url: statusUrl }
  return {
    status: 202,
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      location: `/.countersign/calls/${approval.callId}`,
      'preference-applied': 'respond-async',
      'retry-after': String(DETACHED_RETRY_S),
    },
    text: `${JSON.stringify(told)}\n`,
  }
}

/** Why a call is refused whose body has to be read, and cannot be. */
export function refuseUnread(fault: BodyFault | 'malformed', maxBytes: number): Refusal {
  switch (fault) {
    case 'too_large':
      return refuse(
        'too_large',
        `Not executed. This call has to be read to be judged, and its body is larger than ${maxBytes} bytes.`,
      )
    case 'gone':
      return refuse('malformed', 'Not executed. The client left before its body was read.')
    case 'stalled':
      return refuse('malformed', 'Not executed. The rest of the body did not come in time.')
    case 'no_room':
      return NO_ROOM
    case 'malformed':
      return refuse('malformed', 'Not executed. The body is not in chunks that every server reads alike.')
  }
}

export const NO_ROOM = refuse(
  'rate_limited',
  'Not executed. Too many bodies are being read at once; repeat the call later.',
  { retryAfterS: 2 },
)
