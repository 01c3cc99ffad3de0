import type { OutcomeName } from '../domain/entry.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'

/** What an agent is told of a call that ran, but has no response to be fetched. The upstream may have acted. */
export function refuseWithoutResponse(outcome: OutcomeName, approval: string): Refusal {
  const about = { approval }
  switch (outcome) {
    case 'upstream_timeout':
      return refuse(
        'upstream_timeout',
        'The upstream did not answer in time. It may have acted: look before you repeat the call.',
        about,
      )
    case 'upstream_failed':
      return refuse(
        'upstream_failed',
        'The upstream failed. It may have acted: look before you repeat the call.',
        about,
      )
    case 'refused':
      return refuse('withdrawn', 'Not executed. The call was refused when it was about to be forwarded.', about)
    case 'rolled_back':
      return refuse('withdrawn', 'Not executed. It touched more than was approved, and was undone.', about)
    case 'unknown':
    case 'cut':
    case 'client_gone':
      return refuse(
        'upstream_failed',
        'It is not known how the call ended. It may have acted: look before you repeat it.',
        about,
      )
    case 'forwarded':
    case 'pending':
      return refuse('not_found', 'The call was executed. Its response is not kept (any more).', about)
  }
}
