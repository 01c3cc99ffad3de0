import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import type { FakeState } from './state.ts'

/** Sign in with Slack, as https://slack.com/.well-known/openid-configuration describes it. */
export interface FakeOpenId {
  readonly clientId: string
  readonly clientSecret: string
  /** Redirect URLs of the app; each has to match exactly. */
  readonly redirectUrls: Set<string>
  /** Who sits before the browser, by the user id; null for somebody who says no. */
  signedInAs: string | null
  /** Of which workspace the signed-in account is; the app's own if null. */
  teamOf: string | null
  /** Changes the claims of the next ID tokens, as only Slack itself could, or somebody with another key. */
  alter: (claims: Record<string, unknown>) => Record<string, unknown>
  /** Signs the next ID tokens with a key that is not in the key set. */
  isForging: boolean
  /** Every authorization request, with its parameters. */
  readonly requests: URLSearchParams[]
  /** True if it was one of its own paths, which is answered then. */
  serve(request: IncomingMessage, body: string, response: ServerResponse): Promise<boolean>
}

interface Code {
  readonly redirectUri: string
  readonly nonce: string | null
  readonly user: string
  readonly team: string
  readonly at: number
  isUsed: boolean
}

const CODE_MS = 10 * 60_000
const SCOPES = ['openid', 'profile', 'email']

export async function createFakeOpenId(state: FakeState, base: () => string): Promise<FakeOpenId> {
  const { privateKey, publicKey } = await generateKeyPair('RS256')
  const other = await generateKeyPair('RS256')
  const jwk = { ...(await exportJWK(publicKey)), kid: 'slack-1', alg: 'RS256', use: 'sig' }
  const codes = new Map<string, Code>()

  const openid: FakeOpenId = {
    clientId: '024.42',
    clientSecret: randomBytes(16).toString('hex'),
    redirectUrls: new Set(),
    signedInAs: null,
    teamOf: null,
    alter: (claims) => claims,
    isForging: false,
    requests: [],
    async serve(request, body, response) {
      const url = new URL(request.url ?? '', base())
      switch (url.pathname) {
        case '/.well-known/openid-configuration':
          json(response, describe(base()))
          return true
        case '/openid/connect/keys':
          json(response, { keys: [jwk] })
          return true
        case '/openid/connect/authorize':
          authorize(url.searchParams, response)
          return true
        case '/api/openid.connect.token':
          await token(request, body, response)
          return true
        default:
          return false
      }
    },
  }

  /** What is wrong with the client or the redirect is shown to the person, never sent anywhere (RFC 6749, 4.1.2.1). */
  function authorize(query: URLSearchParams, response: ServerResponse): void {
    openid.requests.push(query)
    const redirectUri = query.get('redirect_uri') ?? ''
    if (query.get('client_id') !== openid.clientId) return void page(response, 'invalid_client_id')
    if (!openid.redirectUrls.has(redirectUri)) return void page(response, 'bad_redirect_uri')
    if (query.get('response_type') !== 'code') return void page(response, 'invalid_response_type')
    const scopes = (query.get('scope') ?? '').split(' ')
    if (!scopes.includes('openid') || scopes.some((scope) => !SCOPES.includes(scope)))
      return void page(response, 'invalid_scope')
    const back = new URL(redirectUri)
    const asked = query.get('state')
    if (asked !== null) back.searchParams.set('state', asked)
    const { signedInAs: user } = openid
    if (user === null) back.searchParams.set('error', 'access_denied')
    else {
      const code = `${randomBytes(8).toString('hex')}.${randomBytes(24).toString('hex')}`
      const team = openid.teamOf ?? state.teamId
      const nonce = query.get('nonce')
      codes.set(code, { redirectUri, nonce, user, team, at: state.clock.now(), isUsed: false })
      back.searchParams.set('code', code)
    }
    response.writeHead(302, { location: back.href }).end()
  }

  /** Slack's methods answer 200 whatever happens, with `ok` false. */
  async function token(request: IncomingMessage, body: string, response: ServerResponse): Promise<void> {
    const refuse = (error: string) => json(response, { ok: false, error })
    if (request.method !== 'POST') return refuse('invalid_post_type')
    if (!request.headers['content-type']?.startsWith('application/x-www-form-urlencoded'))
      return refuse('invalid_post_type')
    const form = new URLSearchParams(body)
    const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1]
    const [id, secret] =
      basic === undefined
        ? [form.get('client_id'), form.get('client_secret')]
        : Buffer.from(basic, 'base64').toString().split(':').map(decodeURIComponent)
    if (id !== openid.clientId) return refuse('invalid_client_id')
    if (secret !== openid.clientSecret) return refuse('bad_client_secret')
    if (form.get('grant_type') !== 'authorization_code') return refuse('invalid_grant_type')
    const code = codes.get(form.get('code') ?? '')
    if (!code || state.clock.now() - code.at > CODE_MS) return refuse('invalid_code')
    if (code.isUsed) return refuse('code_already_used')
    if (form.get('redirect_uri') !== code.redirectUri) return refuse('bad_redirect_uri')
    code.isUsed = true
    const accessToken = `xoxp-${randomBytes(16).toString('hex')}`
    json(response, {
      ok: true,
      access_token: accessToken,
      token_type: 'Bearer',
      id_token: await idToken(code, accessToken),
      state: form.get('state') ?? '',
    })
  }

  async function idToken({ user, team, nonce }: Code, accessToken: string): Promise<string> {
    const now = Math.floor(state.clock.now() / 1000)
    const hash = createHash('sha256').update(accessToken).digest()
    const claims = openid.alter({
      iss: base(),
      sub: user,
      aud: openid.clientId,
      iat: now,
      exp: now + 300,
      auth_time: now,
      ...(nonce !== null && { nonce }),
      at_hash: hash.subarray(0, hash.length / 2).toString('base64url'),
      'https://slack.com/team_id': team,
      'https://slack.com/user_id': user,
      name: state.users.get(user)?.name ?? user,
      given_name: user,
      family_name: '',
      locale: 'en-US',
      'https://slack.com/team_name': 'fake',
      'https://slack.com/team_domain': 'fake',
    })
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: 'slack-1' })
      .sign(openid.isForging ? other.privateKey : privateKey)
  }

  return openid
}

function describe(issuer: string): Record<string, unknown> {
  return {
    issuer,
    authorization_endpoint: `${issuer}/openid/connect/authorize`,
    token_endpoint: `${issuer}/api/openid.connect.token`,
    userinfo_endpoint: `${issuer}/api/openid.connect.userInfo`,
    jwks_uri: `${issuer}/openid/connect/keys`,
    scopes_supported: SCOPES,
    response_types_supported: ['code'],
    response_modes_supported: ['form_post'],
    grant_types_supported: ['authorization_code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    claims_supported: ['sub', 'auth_time', 'iss'],
    claims_parameter_supported: false,
    request_parameter_supported: false,
    request_uri_parameter_supported: true,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'client_secret_basic'],
  }
}

function json(response: ServerResponse, body: Record<string, unknown>): void {
  response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body))
}

function page(response: ServerResponse, error: string): void {
  response.writeHead(200, { 'content-type': 'text/html' }).end(`<h1>Something went wrong: ${error}</h1>`)
}
