import type { Approval } from '../../domain/approval.ts'
import type { Outcome } from '../../domain/call.ts'
import { callUrl, problemHeaders, problemOf } from '../../domain/problem.ts'
import { type Refusal, refuse } from '../../domain/refusal.ts'
import type { Line } from './line.ts'
import type { BodyFault } from './upload.ts'

/** What the gateway itself answers a call with. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

const DETACHED_RETRY_S = 5

/** Which call is answered, and where it was to go. */
interface About {
  readonly callId: string
  readonly service: { readonly publicUrl: string; readonly upstream: { readonly name: string } }
}

/** A refusal as HTTP says it: problem details (RFC 9457) under the status of its code. */
export function describeRefusal(why: Refusal, { callId, service }: About): Answer {
  const problem = problemOf(why, { callId, publicUrl: service.publicUrl })
  const metadataUrl = `${service.publicUrl}/.well-known/oauth-protected-resource/${service.upstream.name}`
  return { status: problem.status, headers: problemHeaders(why, metadataUrl), text: `${JSON.stringify(problem)}\n` }
}

/** Tells the client that its call is refused, and says what became of the call. */
export function tellRefusal(line: Line, why: Refusal, about: About): Outcome {
  const { status, headers, text } = describeRefusal(why, about)
  line.answer(status, headers, text)
  return { name: why.code === 'approval_pending' ? 'pending' : 'refused', refusal: why }
}

/** Tells a client that asked not to wait (RFC 7240, section 4.1) that its call is held. */
export function tellPending(line: Line, approval: Pick<Approval, 'id' | 'callId'>, { callId, service }: About): void {
  // By the call that opened the approval: this one may have attached to it.
  const statusUrl = callUrl(service.publicUrl, approval.callId)
  const told = { status: 'pending', call: callId, approval: approval.id, status_url: statusUrl }
  const headers = {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    location: `/.countersign/calls/${approval.callId}`,
    'preference-applied': 'respond-async',
    'retry-after': String(DETACHED_RETRY_S),
  }
  line.answer(202, headers, `${JSON.stringify(told)}\n`)
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
