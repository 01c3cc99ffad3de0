import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { type Configuration, interactionPolicy } from 'oidc-provider'
import { providerSettings } from '../../src/demo/provider-settings.ts'

export interface TestProvider {
  readonly issuer: string
  /** Who can sign in, and how they stand; may be changed at any time. */
  readonly people: Map<string, { name: string; groups: readonly string[] }>
  /** Requests so far. */
  readonly hits: { token: number; userinfo: number }
  /** Down: connections are taken, and end without an answer. */
  isDown: boolean
  /** Only userinfo says that it cannot now. */
  isUserinfoDown: boolean
  close(): Promise<void>
}

const START = {
  finn: { name: 'Finn from finance', groups: ['finance'] },
  fay: { name: 'Fay from finance', groups: ['finance'] },
  olivia: { name: 'Olivia, who owns the support agent', groups: ['finance', 'support'] },
  aud: { name: 'Aud, the auditor', groups: ['audit'] },
  otto: { name: 'Otto, who operates the gateway', groups: ['operations'] },
} as const

/**
 * The demo's OpenID provider, but with people who come, go and change their groups, and one that can be down. Where it is
 * like Google, it takes no scope `offline_access`, and gives a refresh token only for `access_type=offline`, once until
 * its person consents anew (https://developers.google.com/identity/protocols/oauth2/web-server#offline).
 */
export async function startTestProvider(where: {
  port: number
  controlUrl: string
  isLikeGoogle?: boolean
}): Promise<TestProvider> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(where.port, '127.0.0.1', resolve)
  })
  const issuer = `http://127.0.0.1:${where.port}`
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const people: TestProvider['people'] = new Map(Object.entries(START))
  const settings = providerSettings({
    issuer,
    gatewayUrl: 'https://gateway.example.com',
    controlUrl: where.controlUrl,
    agentSecret: randomBytes(24).toString('base64url'),
    signingKey: { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig' },
  })
  const offline = new Set<string>()
  const consented = new Set<string>()
  const provider = new Provider(issuer, {
    ...settings,
    ...(where.isLikeGoogle && googleSettings(settings, offline)),
    ttl: { ...settings.ttl, RefreshToken: 3600 },
    findAccount(_context, id) {
      const person = people.get(id)
      if (!person) return undefined
      return { accountId: id, claims: () => ({ sub: id, name: person.name, groups: [...person.groups] }) }
    },
    // Nothing of a person is in a token that a browser's sign-in gets: groups are asked for.
    extraTokenClaims: () => undefined,
  })
  provider.on('authorization.success', ({ oidc }, sent) => {
    const { accountId = '' } = oidc.session ?? {}
    const isConsent = oidc.prompts.has('consent') || !consented.has(accountId)
    if (oidc.params?.['access_type'] !== 'offline' || !isConsent) return
    consented.add(accountId)
    offline.add(String(sent?.['code']))
  })
  const hits = { token: 0, userinfo: 0 }
  const state: TestProvider = { issuer, people, hits, isDown: false, isUserinfoDown: false, close }
  const answer = provider.callback()

  server.on('request', (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', issuer)
    if (state.isDown) return void request.socket.destroy()
    if (pathname === '/token') hits.token += 1
    if (pathname === '/me') hits.userinfo += 1
    if (pathname === '/me' && state.isUserinfoDown) return void response.writeHead(503).end()
    const isOffline = searchParams.get('scope')?.split(' ').includes('offline_access') ?? false
    if (where.isLikeGoogle && isOffline) return void response.writeHead(400).end('Error 400: invalid_scope')
    if (!pathname.startsWith('/sign-in/')) return void answer(request, response)
    const accountId = searchParams.get('as')
    if (accountId === null) return void response.end(signInPage([...people.keys()]))
    const result = accountId === 'nobody' ? { error: 'access_denied' } : { login: { accountId }, consent: {} }
    provider
      .interactionFinished(request, response, result, { mergeWithLastSubmission: false })
      .catch(() => response.destroy())
  })

  function close(): Promise<void> {
    return new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }
  return state
}

/** @param offline the codes that a refresh token is given for */
function googleSettings({ interactions }: Configuration, offline: ReadonlySet<string>): Configuration {
  const consent = new interactionPolicy.Prompt({ name: 'consent', requestable: true })
  return {
    interactions: { ...interactions, policy: [...(interactions?.policy ?? []), consent] },
    extraParams: ['access_type', 'hd'],
    issueRefreshToken: async (_context, _client, code) => offline.has(code.jti),
  }
}

function signInPage(names: readonly string[]): string {
  const forms = names.map((name) => `<form method="post" action="?as=${name}"><button>${name}</button></form>`)
  return `<!doctype html><html lang="en"><title>Who are you?</title><h1>Who are you?</h1>${forms.join('')}</html>`
}
