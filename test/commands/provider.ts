import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { type ClientMetadata, type KoaContextWithOIDC } from 'oidc-provider'

const AUDIENCE = 'countersign-console'
const VOTE_CLIENT = 'countersign-cli'
const READ_CLIENT = 'countersign-cli-read'
const GROUPS: Readonly<Record<string, readonly string[]>> = { finn: ['finance'], olivia: ['finance'], stranger: [] }

/** A real OpenID provider whose people sign in by device code, for voting and for reading. */
export async function startProvider() {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // it listens on TCP
  const issuer = `http://127.0.0.1:${port}`
  const resource = 'https://approvals.example.com'
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const provider = new Provider(issuer, {
    clients: [VOTE_CLIENT, READ_CLIENT].map(publicClient),
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig' }] },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    cookies: { keys: ['only for this test'] },
    features: {
      deviceFlow: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          audience: AUDIENCE,
          scope: '',
          accessTokenFormat: 'jwt' as const,
          accessTokenTTL: 600,
          jwt: { sign: { alg: 'ES256' as const } },
        }),
        useGrantedResource: () => true,
      },
    },
    ttl: { AccessToken: 600, DeviceCode: 600, Grant: 600, Interaction: 600, Session: 600 },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_context, { uid }) => `/sign-in/${uid}` },
    loadExistingGrant: async ({ oidc }: KoaContextWithOIDC) => {
      const accountId = oidc.session?.accountId
      if (!oidc.client || !accountId) return undefined
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId })
      grant.addOIDCScope('openid')
      await grant.save()
      return grant
    },
    extraTokenClaims: (_context, token) =>
      'accountId' in token ? { groups: [...(GROUPS[token.accountId] ?? [])] } : undefined,
  })
  // Clients wait five seconds between polls unless they are told otherwise (RFC 8628, section 3.5).
  provider.use(async (context, next) => {
    await next()
    if (context.path === '/device/auth' && context.status === 200)
      Object.assign(context.body as object, { interval: 0.05 })
  })
  const handle = provider.callback()
  server.on(
    'request',
    (request, response) => void (signInPage(provider, request, response) ?? handle(request, response)),
  )

  return {
    issuer,
    offer: {
      name: 'idp',
      issuer,
      client_id: VOTE_CLIENT,
      read_client_id: READ_CLIENT,
      scope: 'openid',
      parameters: { resource },
    },
    /** As countersign.yaml has it. */
    people: {
      issuer,
      name: 'idp',
      audience: AUDIENCE,
      client_id: VOTE_CLIENT,
      read_client_id: READ_CLIENT,
      authorized_parties: [VOTE_CLIENT],
      sign_in: { scope: 'openid', parameters: { resource } },
      algorithms: ['ES256' as const],
      groups: { claim: 'groups' },
    },
    voteClient: VOTE_CLIENT,
    /** What a person does in a browser with the page they were told to open. */
    visit: (page: string, who: { as: string } | 'abort') => visit(page, who),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function publicClient(id: string): ClientMetadata {
  return {
    client_id: id,
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['urn:ietf:params:oauth:grant-type:device_code'],
    redirect_uris: [],
    response_types: [],
  }
}

function signInPage(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> | null {
  const url = new URL(request.url ?? '', 'http://localhost')
  if (!url.pathname.startsWith('/sign-in/')) return null
  const accountId = url.searchParams.get('as') ?? ''
  if (accountId === '') {
    response.end('who are you?')
    return Promise.resolve()
  }
  return provider.interactionFinished(
    request,
    response,
    { login: { accountId }, consent: {} },
    { mergeWithLastSubmission: false },
  )
}

async function visit(page: string, who: { as: string } | 'abort'): Promise<string> {
  const cookies = new Map<string, string>()
  async function go(url: string, form?: Record<string, string>): Promise<{ url: string; text: string }> {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [pair = ''] = cookie.split(';')
      cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
    }
    const location = response.headers.get('location')
    const text = await response.text()
    return location === null ? { url, text } : go(new URL(location, url).href)
  }
  const code = new URL(page).searchParams.get('user_code') ?? ''
  const first = await go(page)
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(first.text)?.[1] ?? ''
  const confirm = await go(new URL('/device', page).href, { xsrf, user_code: code })
  if (who === 'abort') return (await go(confirm.url, { xsrf, user_code: code, abort: 'yes' })).text
  const signIn = await go(confirm.url, { xsrf, user_code: code, confirm: 'yes' })
  return (await go(`${signIn.url}?as=${who.as}`)).text
}
