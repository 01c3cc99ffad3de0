import { whoamiSchema } from '../control/wire.ts'
import { GatewayError } from '../domain/error.ts'
import { makeVisible } from '../domain/visible.ts'
import { defineCommand } from './cli.ts'
import { createControlClient } from './control-client.ts'
import { signIn } from './device-flow.ts'
import { writeJson } from './json.ts'
import { ISSUER_OPTION, JSON_OPTION, type PersonContext, URL_OPTION } from './person-context.ts'
import { openSessions } from './sessions.ts'
import { findProvider, findUrl } from './sign-in-as.ts'

export const login = defineCommand({
  summary: 'Signs a person in, to list and show approvals',
  details:
    'Opens a sign-in that you finish in a browser, on this machine or another. What is kept afterwards lists and shows\n' +
    'approvals until it expires, and cannot vote: approve and deny sign in afresh each time.',
  options: { url: URL_OPTION, issuer: ISSUER_OPTION, json: JSON_OPTION },
  async run({ options }, context: PersonContext) {
    const { clock, configDir, signal, out } = context
    const url = await findUrl(options.url, context)
    const provider = await findProvider(url, options.issuer, context)
    if (provider.read_client_id === null) {
      throw new GatewayError(
        'config',
        `${url} has no sign-in that could be kept (people[].read_client_id is not configured); list and show sign in each time`,
      )
    }
    const { token, expiresAt } = await signIn(provider, provider.read_client_id, context)
    const me = await createControlClient(url, { token, signal, isFresh: true }).get('/v1/whoami', whoamiSchema)
    // Whatever the listener says of its clients: a token that can vote is not put where an agent could read it.
    if (me.may_vote) throw new GatewayError('upstream', 'not kept: this sign-in could vote, and must not be able to')
    await openSessions(configDir, clock.now).save({ url, token, expiresAt })
    const until = new Date(expiresAt).toISOString()
    if (options.json) out(writeJson({ url, issuer: me.issuer, subject: me.subject, expires_at: until }))
    else out(`Signed in to ${url} as ${makeVisible(me.name ?? me.subject)}, to list and show, until ${until}.`)
  },
})
