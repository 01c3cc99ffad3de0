import { votedSchema } from '../control/wire.ts'
import type { Decision } from '../domain/approval.ts'
import { GatewayError } from '../domain/error.ts'
import { formatNotices, formatShown } from './approval-text.ts'
import type { Input } from './cli.ts'
import { fold } from './fold.ts'
import { writeJson } from './json.ts'
import { ISSUER_OPTION, JSON_OPTION, type PersonContext, URL_OPTION } from './person-context.ts'
import { fetchShown } from './shown.ts'
import { signInToVote } from './sign-in-as.ts'

export const VOTE_OPTIONS = {
  reason: { type: 'string', value: 'text', doc: 'For the agent to learn from; some rules require it' },
  'card-hash': {
    type: 'string',
    value: 'hash',
    doc: 'The hash of the card you saw, as `approvals show` says it: then nothing is asked, and another card is refused',
  },
  url: URL_OPTION,
  issuer: ISSUER_OPTION,
  json: JSON_OPTION,
} as const

type VoteInput = Input<typeof VOTE_OPTIONS, { readonly id: { readonly doc: string } }>

/** Signs in afresh, shows the card, asks, and votes on the card that was shown. Returns the exit code. */
export async function castVote(
  decision: Decision,
  { args, options }: VoteInput,
  context: PersonContext,
): Promise<number> {
  const seen = options['card-hash']
  if (seen === undefined && context.ask === null) {
    throw new GatewayError(
      'config',
      'which card did you see? Without a terminal give --card-hash, as `approvals show` says it',
    )
  }
  const client = await signInToVote({ url: options.url, issuer: options.issuer }, context)
  const shown = await fetchShown(client, args.id)
  const { id, card_hash: current } = shown.approval
  if (shown.card === null)
    throw new GatewayError('upstream', `the card of ${id} is no longer kept: there is nothing to vote on`)
  if (seen !== undefined && seen !== current) {
    throw new GatewayError('upstream', `the card of ${id} is not the one you saw: look at it again`)
  }
  if (seen === undefined && !(await isConfirmed(decision, shown, context))) {
    context.err('Nothing was voted.')
    return 1
  }
  const body = { card_hash: current, ...(options.reason !== undefined && { reason: options.reason }) }
  const voted = await client.post(`/v1/approvals/${id}/${decision}`, body, votedSchema)
  for (const line of formatNotices(voted.notices)) context.err(line)
  if (options.json) context.out(writeJson(voted))
  else context.out(`Your vote to ${decision} counts. Approval ${id} is ${voted.approval.state}.`)
  return 0
}

async function isConfirmed(
  decision: Decision,
  shown: Parameters<typeof formatShown>[0],
  { ask, err, clock, columns }: PersonContext,
): Promise<boolean> {
  for (const line of fold(formatShown(shown, clock.now()), columns)) err(line)
  const answer = await ask?.(`To ${decision} it, type its id (${shown.approval.id}): `)
  return answer?.trim().toUpperCase() === shown.approval.id
}
