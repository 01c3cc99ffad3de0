import { type ShownWire, votedSchema } from '../control/wire.ts'
import type { Decision } from '../domain/approval.ts'
import { GatewayError } from '../domain/error.ts'
import { formatNotices, formatShown } from './approval-text.ts'
import type { Input } from './cli.ts'
import { UsageError } from './cli-parse.ts'
import { fold } from './fold.ts'
import { writeJson } from './json.ts'
import { ISSUER_OPTION, JSON_OPTION, type PersonContext, URL_OPTION } from './person-context.ts'
import { fetchShown, readApprovalId } from './shown.ts'
import { openKept, signInToVote } from './sign-in-as.ts'

export const VOTE_OPTIONS = {
  reason: { type: 'string', value: 'text', doc: 'For the agent to learn from; some rules require it' },
  'card-hash': {
    type: 'string',
    value: 'hash',
    doc: 'The hash of the card you saw, as `approvals show` says it: then its id is not asked for, and another card is refused',
  },
  replies: {
    type: 'string',
    value: 'number',
    doc: 'With --card-hash, how many replies of the agent you saw; none if left out',
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
  const asked = readApprovalId(args.id)
  const seen = options['card-hash']
  if (seen === undefined && context.ask === null) {
    throw new GatewayError(
      'config',
      'which card did you see? Without a terminal give --card-hash, as `approvals show` says it',
    )
  }
  if (options.reason === undefined && context.ask === null) await refuseUnreasoned(asked, options, context)
  const client = await signInToVote({ url: options.url, issuer: options.issuer }, context)
  const shown = await fetchShown(client, asked)
  const { id, card_hash: current } = shown.approval
  if (shown.card === null)
    throw new GatewayError('upstream', `the card of ${id} is no longer kept: there is nothing to vote on`)
  if (seen !== undefined && seen !== current) {
    throw new GatewayError('upstream', `the card of ${id} is not the one you saw: look at it again`)
  }
  const reason = await confirm(decision, { shown, isSeen: seen !== undefined, reason: options.reason }, context)
  if (reason === 'unconfirmed') return 1
  const replies = repliesSeen(shown, options)
  const body = { card_hash: current, ...reason, ...(decision === 'approve' && replies > 0 && { replies }) }
  const voted = await client.post(`/v1/approvals/${id}/${decision}`, body, votedSchema)
  for (const line of formatNotices(voted.notices)) context.err(line)
  if (options.json) context.out(writeJson(voted))
  else context.out(`Your vote to ${decision} counts. Approval ${id} is ${voted.approval.state}.`)
  return 0
}

/** Shows the card, unless it was seen, and asks for what is missing: the body's reason, if there is one. */
async function confirm(decision: Decision, vote: Vote, context: PersonContext): Promise<Reason | 'unconfirmed'> {
  const { shown, isSeen } = vote
  const { ask, err, clock, columns } = context
  if (!isSeen) for (const line of fold(formatShown(shown, clock.now()), columns.err)) err(line)

  let { reason } = vote
  if (reason === undefined && needsReason(shown)) {
    if (ask === null) throw new UsageError(NO_REASON)
    reason = (await ask('Reason: ')).trim()
    if (reason === '') {
      err('Nothing was voted: it needs a reason.')
      return 'unconfirmed'
    }
  }
  if (!isSeen) {
    const answer = await ask?.(`To ${decision} it, type its id (${shown.approval.id}): `)
    if (answer?.trim().toUpperCase() !== shown.approval.id) {
      err('Nothing was voted.')
      return 'unconfirmed'
    }
  }
  return reason === undefined ? {} : { reason }
}

/** Those that were shown just now, or that the person says they saw. */
function repliesSeen(shown: ShownWire, { replies, 'card-hash': hash }: VoteInput['options']): number {
  if (hash === undefined) return (shown.questions ?? []).filter(({ reply }) => reply !== null).length
  if (replies === undefined) return 0
  if (!/^\d$/.test(replies)) throw new UsageError('--replies is a number, as `approvals show` counts them')
  return Number(replies)
}

/**
 * Spares a script the sign-in for a vote that would be refused, where somebody is signed in to look.
 *
 * @throws UsageError
 */
async function refuseUnreasoned(
  id: string,
  where: Pick<VoteInput['options'], 'url' | 'issuer'>,
  context: PersonContext,
): Promise<void> {
  let shown: ShownWire | null
  try {
    const kept = await openKept(where, context)
    shown = kept && (await fetchShown(kept, id))
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    // What the kept sign-in cannot tell, the one for the vote does.
    return
  }
  if (shown && needsReason(shown)) throw new UsageError(NO_REASON)
}

function needsReason({ approval }: ShownWire): boolean {
  return approval.requirements.some((requirement) => requirement.reason_required)
}

const NO_REASON = 'a rule needs a reason for this vote: give --reason'

interface Vote {
  readonly shown: ShownWire
  /** Whether the person says by its hash which card they saw. */
  readonly isSeen: boolean
  readonly reason: string | undefined
}

/** As the body of a vote has it. */
interface Reason {
  readonly reason?: string
}
