import { switchedSchema } from '../control/wire.ts'
import { NEVER_SEEN } from '../domain/agent.ts'
import { makeVisible } from '../domain/visible.ts'
import { formatNotices } from './approval-text.ts'
import type { Input } from './cli.ts'
import { writeJson } from './json.ts'
import { ISSUER_OPTION, JSON_OPTION, type PersonContext, URL_OPTION } from './person-context.ts'
import { signInToVote } from './sign-in-as.ts'

export const SWITCH_ARGUMENTS = {
  issuer: { doc: 'The issuer, as the list and the card say it' },
  subject: { doc: 'The agent, or the person for whom agents act' },
} as const

export const SWITCH_OPTIONS = {
  reason: { type: 'string', value: 'text', required: true, doc: 'Why; it goes into the audit log' },
  url: URL_OPTION,
  issuer: ISSUER_OPTION,
  json: JSON_OPTION,
} as const

/** Signs in afresh, and stops an agent or lets it go on. */
export async function turnSwitch(
  way: 'suspend' | 'resume',
  { args, options }: Input<typeof SWITCH_OPTIONS, typeof SWITCH_ARGUMENTS>,
  context: PersonContext,
): Promise<void> {
  const client = await signInToVote({ url: options.url, issuer: options.issuer }, context)
  const body = { issuer: args.issuer, subject: args.subject, reason: options.reason }
  const switched = await client.post(`/v1/agents/${way}`, body, switchedSchema)
  for (const line of formatNotices(switched.notices)) context.err(line)
  if (options.json) return context.out(writeJson(switched))
  const state = switched.agent.suspension ? 'is stopped' : 'may go on'
  context.out(`${makeVisible(args.subject)} ${state}${switched.changed ? '' : ', as it was'}.`)
  if (switched.agent.seen_at === null) context.out(NEVER_SEEN)
}
