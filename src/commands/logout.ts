import { defineCommand } from './cli.ts'
import { readControlUrl } from './control-client.ts'
import { writeJson } from './json.ts'
import { JSON_OPTION, type PersonContext, URL_OPTION } from './person-context.ts'
import { openSessions } from './sessions.ts'

export const logout = defineCommand({
  summary: 'Forgets what login kept',
  options: { url: { ...URL_OPTION, doc: 'Only for this control listener; all if left out' }, json: JSON_OPTION },
  async run({ options }, { out, clock, configDir }: PersonContext) {
    const url = options.url === undefined ? null : readControlUrl(options.url)
    const removed = await openSessions(configDir, clock.now).remove(url)
    if (options.json) out(writeJson({ signed_out: removed }))
    else out(removed.length === 0 ? 'Nobody was signed in.' : `Signed out of ${removed.join(', ')}.`)
  },
})
