import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import Provider, { type Configuration, type KoaContextWithOIDC } from 'oidc-provider'

/** Who exists in the demo's company. */
export const PEOPLE = {
  finn: { name: 'Finn from finance', groups: ['finance'] },
  olivia: { name: 'Olivia, who owns the support agent', groups: ['finance', 'support'] },
  aud: { name: 'Aud, the auditor', groups: ['audit'] },
} as const
export type PersonName = keyof typeof PEOPLE

export const AGENT = { id: 'support-agent', groups: ['support-agents'], owner: 'olivia' } as const
/** The OAuth client through which people sign in, and the audience of their tokens. */
export const CONSOLE = 'countersign-console'

export interface DemoIdentityProvider {
  readonly issuer: string
  readonly agentSecret: string
  close(): Promise<void>
}

/**
 * A real OpenID provider with three people, one agent, and a sign-in page where one says who one is: no passwords,
 * since it is reachable from this machine only.
 */
export async function startIdentityProvider(where: {
  host: string
  port: number
  /** The resource (RFC 8707) an agent's token is for: the gateway's public URL. */
  gatewayUrl: string
  /** The resource a person's token is for: the control listener's public URL. */
  controlUrl: string
  agentSecret?: string
}): Promise<DemoIdentityProvider> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(where.port, where.host, resolve)
  })
  // A server that listens on TCP has an address with a port.
  const { port } = server.address() as AddressInfo
  const issuer = `http://127.0.0.1:${port}`
  const agentSecret = where.agentSecret ?? randomBytes(24).toString('base64url')
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const signingKey = { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig' }
  const provider = new Provider(issuer, configure({ ...where, issuer, agentSecret, signingKey }))
  const handle = provider.callback()
  server.on('request', (request, response) => {
    serve(provider, request, response)
      .then((isServed) => (isServed ? undefined : handle(request, response)))
      .catch(() => response.destroy())
  })
  return { issuer, agentSecret, close: () => close(server) }
}

function configure(how: {
  issuer: string
  gatewayUrl: string
  controlUrl: string
  agentSecret: string
  signingKey: JWK
}): Configuration {
  const { issuer, gatewayUrl, controlUrl, agentSecret, signingKey } = how
  const resources: Record<string, { audience: string; scope: string }> = {
    [gatewayUrl]: { audience: gatewayUrl, scope: '' },
    [controlUrl]: { audience: CONSOLE, scope: 'approvals:read approvals:vote' },
  }
  return {
    clients: [
      {
        client_id: AGENT.id,
        client_secret: agentSecret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
      {
        client_id: CONSOLE,
        client_name: 'Countersign',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        grant_types: ['urn:ietf:params:oauth:grant-type:device_code'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    jwks: { keys: [signingKey] },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_context, client) => (client?.clientId === AGENT.id ? gatewayUrl : controlUrl),
        useGrantedResource: () => true,
        getResourceServerInfo: (_context, resource) => {
          const info = resources[resource]
          if (!info) throw new Error(`no resource ${resource}`)
          return {
            ...info,
            accessTokenFormat: 'jwt' as const,
            accessTokenTTL: 3600,
            jwt: { sign: { alg: 'ES256' as const } },
          }
        },
      },
    },
    ttl: { AccessToken: 3600, ClientCredentials: 3600, DeviceCode: 600, Grant: 3600, Interaction: 600, Session: 3600 },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_context, interaction) => `/sign-in/${interaction.uid}` },
    // Whoever signs in here means it: there is nothing further to consent to.
    loadExistingGrant: async (context: KoaContextWithOIDC) => {
      const { oidc } = context
      const accountId = oidc.session?.accountId
      if (!oidc.client || !accountId) return undefined
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId })
      grant.addOIDCScope('openid')
      grant.addResourceScope(controlUrl, resources[controlUrl]?.scope ?? '')
      await grant.save()
      return grant
    },
    extraTokenClaims: (_context, token) => {
      if (token.kind === 'ClientCredentials') return { groups: [...AGENT.groups], owner: `${issuer}|${AGENT.owner}` }
      const person = 'accountId' in token ? PEOPLE[token.accountId as PersonName] : undefined
      return person && { groups: [...person.groups], name: person.name, auth_time: Math.floor(Date.now() / 1000) }
    },
  }
}

/** The sign-in page: GET shows who there is, POST says who one is. */
async function serve(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  const uid = /^\/sign-in\/([\w-]+)(\?|$)/.exec(request.url ?? '')?.[1]
  if (!uid) return false
  const who = new URL(request.url ?? '', 'http://localhost').searchParams.get('as')
  if (request.method === 'POST' && who !== null && Object.hasOwn(PEOPLE, who)) {
    await provider.interactionFinished(
      request,
      response,
      { login: { accountId: who } },
      { mergeWithLastSubmission: false },
    )
    return true
  }
  const buttons = Object.entries(PEOPLE).map(
    ([id, { name }]) => `<form method="post" action="/sign-in/${uid}?as=${id}"><button>${name}</button></form>`,
  )
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
  response.end(`<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Sign in</title>
<style>body{font:18px system-ui;max-width:28rem;margin:15vh auto;padding:0 1rem}button{font:inherit;padding:.7rem 1rem;margin:.3rem 0;width:100%}</style>
<h1>Who are you?</h1>${buttons.join('')}</html>`)
  return true
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
