import { formatNotices, formatShown } from './approval-text.ts'
import { defineCommand } from './cli.ts'
import { fold } from './fold.ts'
import { writeJson } from './json.ts'
import { ISSUER_OPTION, JSON_OPTION, type PersonContext, URL_OPTION } from './person-context.ts'
import { fetchShown, readApprovalId } from './shown.ts'
import { signInToRead } from './sign-in-as.ts'

export const APPROVAL_ARGUMENT = { doc: 'The approval’s id, as the card and the list say it' } as const

export const approvalsShow = defineCommand({
  summary: 'Shows an approval whole',
  details: 'The card, and the call exactly as it would be forwarded: nothing is cut, nothing is replaced.',
  args: { id: APPROVAL_ARGUMENT },
  options: { url: URL_OPTION, issuer: ISSUER_OPTION, json: JSON_OPTION },
  async run({ args, options }, context: PersonContext) {
    const id = readApprovalId(args.id)
    const client = await signInToRead({ url: options.url, issuer: options.issuer }, context)
    const shown = await fetchShown(client, id)
    if (options.json) return context.out(writeJson(shown))
    for (const line of formatNotices(shown.notices)) context.err(line)
    for (const line of fold(formatShown(shown, context.clock.now()), context.columns.out)) context.out(line)
  },
})
