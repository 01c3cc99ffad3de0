import { type AgentWire, agentsSchema } from '../control/wire.ts'
import { makeVisible } from '../domain/visible.ts'
import { formatNotices, formatTable } from './approval-text.ts'
import { defineCommand } from './cli.ts'
import { fold } from './fold.ts'
import { writeJson } from './json.ts'
import { ISSUER_OPTION, JSON_OPTION, type PersonContext, URL_OPTION } from './person-context.ts'
import { signInToRead } from './sign-in-as.ts'

export const agentsList = defineCommand({
  summary: 'Lists the agents you may see',
  details:
    'When each was last seen, its calls, holds and denials of the last 24 hours, and who or what stopped it, and why.',
  options: { url: URL_OPTION, issuer: ISSUER_OPTION, json: JSON_OPTION },
  async run({ options }, context: PersonContext) {
    const client = await signInToRead({ url: options.url, issuer: options.issuer }, context)
    const listed = await client.get('/v1/agents', agentsSchema)
    if (options.json) return context.out(writeJson(listed))
    for (const line of formatNotices(listed.notices)) context.err(line)
    for (const line of fold(formatAgents(listed.agents), context.columns.out)) context.out(line)
  },
})

function formatAgents(agents: readonly AgentWire[]): readonly string[] {
  if (agents.length === 0) return ['There are none.']
  const rows = agents.map(({ issuer, subject, seen_at: seenAt, calls, holds, denials, ...state }) => {
    const numbers = [calls, holds, denials].map(String)
    return [makeVisible(subject), makeVisible(issuer), seenAt ?? 'never', ...numbers, stateOf(state)]
  })
  return formatTable([['SUBJECT', 'ISSUER', 'LAST SEEN', 'CALLS', 'HELD', 'DENIED', 'STATE'], ...rows])
}

function stateOf({ suspension, held_by: holds }: Pick<AgentWire, 'suspension' | 'held_by'>): string {
  if (suspension) {
    const { since, by, reason, breaker } = suspension
    const who = breaker === null ? by.subject : `circuit breaker ${breaker}`
    return makeVisible(`stopped ${since} by ${who}${reason === null ? '' : `: ${reason}`}`)
  }
  if (holds.length === 0) return 'runs'
  const by = holds.map(({ breaker, since, reason }) => `${since} by circuit breaker ${breaker}: ${reason}`)
  return makeVisible(`every call held ${by.join('; ')}`)
}
