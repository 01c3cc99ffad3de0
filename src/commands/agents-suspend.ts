import { defineCommand } from './cli.ts'
import type { PersonContext } from './person-context.ts'
import { SWITCH_ARGUMENTS, SWITCH_OPTIONS, turnSwitch } from './turn-switch.ts'

export const agentsSuspend = defineCommand({
  summary: 'Stops an agent, or every agent that acts for a person',
  details:
    'At once, on every replica: new calls are refused, held ones withdrawn, streams cut. Signs you in afresh, in a browser; the sign-in is for this once and is not kept.',
  args: SWITCH_ARGUMENTS,
  options: SWITCH_OPTIONS,
  run: (input, context: PersonContext) => turnSwitch('suspend', input, context),
})
