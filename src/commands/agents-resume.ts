import { defineCommand } from './cli.ts'
import type { PersonContext } from './person-context.ts'
import { SWITCH_ARGUMENTS, SWITCH_OPTIONS, turnSwitch } from './turn-switch.ts'

export const agentsResume = defineCommand({
  summary: 'Lets a stopped agent go on',
  details:
    'For operators and admins; nobody resumes an agent of their own. Signs you in afresh, in a browser; the sign-in is for this once and is not kept.',
  args: SWITCH_ARGUMENTS,
  options: SWITCH_OPTIONS,
  run: (input, context: PersonContext) => turnSwitch('resume', input, context),
})
