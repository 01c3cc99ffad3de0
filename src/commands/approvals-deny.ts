import { APPROVAL_ARGUMENT } from './approvals-show.ts'
import { castVote, VOTE_OPTIONS } from './cast-vote.ts'
import { defineCommand } from './cli.ts'
import type { PersonContext } from './person-context.ts'

export const approvalsDeny = defineCommand({
  summary: 'Denies a held call, or takes an approval back before it is used',
  details:
    'Signs you in afresh, in a browser, and shows the card once more. The sign-in is for this vote and is not kept.',
  args: { id: APPROVAL_ARGUMENT },
  options: VOTE_OPTIONS,
  run: (input, context: PersonContext) => castVote('deny', input, context),
})
