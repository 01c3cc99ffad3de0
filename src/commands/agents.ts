import { agentsList } from './agents-list.ts'
import { agentsResume } from './agents-resume.ts'
import { agentsSuspend } from './agents-suspend.ts'
import type { Group } from './cli.ts'
import type { PersonContext } from './person-context.ts'

export const agents: Group<PersonContext> = {
  kind: 'group',
  summary: 'Stops agents, and lets them go on',
  commands: { list: agentsList, suspend: agentsSuspend, resume: agentsResume },
}
