import { randomBytes } from 'node:crypto'
import type { JWK } from 'jose'
import {
  type ClientMetadata,
  type Configuration,
  errors,
  interactionPolicy,
  type KoaContextWithOIDC,
} from 'oidc-provider'
import { AGENT, CONSOLE, isPersonName, PEOPLE, READER } from './company.ts'
import { codePage, confirmPage, donePage } from './pages.ts'

const TOKEN_LIFETIME_S = 3600
const SIGN_IN_LIFETIME_S = 600

export interface ProviderParts {
  readonly issuer: string
  /** The resource (RFC 8707) an agent's token is for: the gateway's public URL. */
  readonly gatewayUrl: string
  /** The resource a person's token is for: the control listener's public URL. */
  readonly controlUrl: string
  readonly agentSecret: string
  readonly signingKey: JWK
}

/** How the demo's company wants its OpenID provider. */
export function providerSettings(parts: ProviderParts): Configuration {
  const { issuer, gatewayUrl, controlUrl, agentSecret, signingKey } = parts
  const resources = new Map([
    [gatewayUrl, { audience: gatewayUrl, scope: '' }],
    [controlUrl, { audience: CONSOLE, scope: 'approvals' }],
  ])
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
        ...deviceClient(CONSOLE, 'Countersign, for a vote,'),
        grant_types: [DEVICE_GRANT, 'authorization_code', 'refresh_token'],
        redirect_uris: [`${controlUrl}/sign-in/callback`],
        response_types: ['code'],
      },
      deviceClient(READER, 'Countersign, to list and show,'),
    ],
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    jwks: { keys: [signingKey] },
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      deviceFlow: {
        enabled: true,
        userCodeInputSource(context, form, _out, error) {
          context.body = codePage(form, { isRetry: error !== undefined })
        },
        userCodeConfirmSource(context, form, client, _device, code) {
          context.body = confirmPage(form, { client: client.clientName ?? client.clientId, code })
        },
        successSource(context) {
          context.body = donePage()
        },
      },
      resourceIndicators: {
        enabled: true,
        // What a command line gets is for the control listener, asked for or not; what a browser gets, for userinfo alone.
        defaultResource(context, client) {
          if (client?.clientId === AGENT.id) return gatewayUrl
          return context.oidc.route === 'device_authorization' ? controlUrl : []
        },
        useGrantedResource: () => true,
        getResourceServerInfo(_context, resource) {
          const info = resources.get(resource)
          if (!info) throw new errors.InvalidTarget()
          const jwt = { sign: { alg: 'ES256' as const } }
          return { ...info, accessTokenFormat: 'jwt' as const, accessTokenTTL: TOKEN_LIFETIME_S, jwt }
        },
      },
    },
    ttl: {
      AccessToken: TOKEN_LIFETIME_S,
      IdToken: TOKEN_LIFETIME_S,
      ClientCredentials: TOKEN_LIFETIME_S,
      Grant: TOKEN_LIFETIME_S,
      DeviceCode: SIGN_IN_LIFETIME_S,
      Interaction: SIGN_IN_LIFETIME_S,
      Session: SIGN_IN_LIFETIME_S,
    },
    scopes: ['openid', 'offline_access', 'profile'],
    claims: { openid: ['sub'], profile: ['name', 'groups'] },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, ...describePerson(id) }) }),
    issueRefreshToken: async (_context, client) => client.clientId === CONSOLE,
    interactions: { policy: askEachTime(), url: (_context, { uid }) => `/sign-in/${uid}` },
    // Whoever signs in here means it: there is nothing further to consent to.
    async loadExistingGrant({ oidc }: KoaContextWithOIDC) {
      const accountId = oidc.session?.accountId
      if (!oidc.client || !accountId) return undefined
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId })
      grant.addOIDCScope('openid profile')
      grant.addResourceScope(controlUrl, resources.get(controlUrl)?.scope ?? '')
      await grant.save()
      return grant
    },
    extraTokenClaims({ oidc }, token) {
      if (token.kind === 'ClientCredentials') return { groups: [...AGENT.groups], owner: `${issuer}|${AGENT.owner}` }
      const id = 'accountId' in token ? token.accountId : null
      if (!isPersonName(id)) return undefined
      return { ...describePerson(id), auth_time: oidc.entities.DeviceCode?.authTime }
    },
  }
}

function describePerson(id: string): { groups: string[]; name: string } | undefined {
  if (!isPersonName(id)) return undefined
  const { groups, name } = PEOPLE[id]
  return { groups: [...groups], name }
}

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'

function deviceClient(id: string, name: string): ClientMetadata {
  return {
    client_id: id,
    client_name: name,
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: [DEVICE_GRANT],
    redirect_uris: [],
    response_types: [],
  }
}

/**
 * One browser plays several people here: a sign-in never goes on as whoever signed in before. There is no page for
 * consent: the confirmation of the code is one.
 */
function askEachTime(): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base()
  const { Check } = interactionPolicy
  const check = new Check('asked_each_time', 'everybody says who they are each time', ({ oidc }) =>
    oidc.result?.login ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT,
  )
  policy.get('login')?.checks.add(check)
  policy.remove('consent')
  return policy
}
