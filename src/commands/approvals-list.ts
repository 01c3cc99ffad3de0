import { listedSchema } from '../control/wire.ts'
import { STATES } from '../domain/approval.ts'
import { nearestName } from '../domain/nearest.ts'
import { makeVisible } from '../domain/visible.ts'
import { formatList, formatNotices } from './approval-text.ts'
import { defineCommand } from './cli.ts'
import { UsageError } from './cli-parse.ts'
import { fold } from './fold.ts'
import { writeJson } from './json.ts'
import { ISSUER_OPTION, JSON_OPTION, type PersonContext, URL_OPTION } from './person-context.ts'
import { signInToRead } from './sign-in-as.ts'

export const approvalsList = defineCommand({
  summary: 'Lists the approvals you may see',
  options: {
    state: { type: 'string', multiple: true, doc: `Only these: ${STATES.join(', ')}; those still open if left out` },
    upstream: { type: 'string', value: 'name', doc: 'Only those of this upstream' },
    limit: { type: 'string', value: 'count', doc: 'At most so many, up to 100; 50 if left out' },
    after: { type: 'string', value: 'next', doc: 'The page after the one that said this' },
    url: URL_OPTION,
    issuer: ISSUER_OPTION,
    json: JSON_OPTION,
  },
  async run({ options }, context: PersonContext) {
    const states = readStates(options.state)
    const client = await signInToRead({ url: options.url, issuer: options.issuer }, context)
    const query = new URLSearchParams()
    if (states.length > 0) query.set('state', states.join(','))
    for (const name of ['upstream', 'limit', 'after'] as const) {
      const value = options[name]
      if (value !== undefined) query.set(name, value)
    }
    const page = await client.get(`/v1/approvals?${query}`, listedSchema)
    if (options.json) return context.out(writeJson(page))
    for (const line of formatNotices(page.notices)) context.err(line)
    for (const line of fold(formatList(page.approvals, context.clock.now()), context.columns.out)) context.out(line)
    if (page.next !== null) context.err(`There are more: --after ${page.next}`)
  },
})

/** Each may be several, separated by commas, as the API has them. */
function readStates(given: readonly string[]): readonly string[] {
  const states = given.flatMap((text) => text.split(','))
  const known: readonly string[] = STATES
  const unknown = states.find((state) => !known.includes(state))
  if (unknown === undefined) return states
  const near = nearestName(unknown, known)
  const hint = near === null ? `there are ${known.join(', ')}` : `did you mean ${near}?`
  throw new UsageError(`unknown state ${makeVisible(unknown)}; ${hint}`)
}
