import type { types } from '@slack/bolt'
import type { Approval } from '../../domain/approval.ts'
import type { ClaimFault } from '../../domain/claim.ts'
import { formatButton } from './button.ts'
import { clean } from './foreign.ts'
import { label } from './parts.ts'
import { bold, type Inline, moment, plain } from './rich-text.ts'

/** Who says that they are looking at it; nothing if nobody does. */
export function showClaim({ claim, state }: Approval): Inline[][] {
  if (!claim || state !== 'pending') return []
  const { reviewer, until } = claim
  const name = clean(reviewer.name ?? reviewer.subject, 100)
  return [
    [bold('Looked at by '), plain(name), plain(' until '), moment(until), plain('; others may vote all the same')],
  ]
}

/** "I am looking at this", and "not any more": the same for everybody, since everybody sees the same card. */
export function claimButtons(approval: Approval): types.Button[] {
  const value = formatButton(approval)
  const claim: types.Button = {
    type: 'button',
    action_id: 'countersign.claim',
    text: label(approval.claim ? 'Take it over' : 'I am looking at this'),
    value,
  }
  if (!approval.claim) return [claim]
  return [claim, { type: 'button', action_id: 'countersign.release', text: label('Let it go'), value }]
}

/** Why a claim was not taken or let go, where that is another thing than with a vote. */
export function describeClaimFault(
  fault: Exclude<ClaimFault, 'not_found' | 'not_entitled' | 'already_decided'>,
): string {
  return fault === 'not_claimant'
    ? 'Nothing was recorded. Somebody else is looking at it. You may take it over, and vote in any case.'
    : 'Nothing was recorded. You are on the requesting side of this call: others decide on it.'
}
