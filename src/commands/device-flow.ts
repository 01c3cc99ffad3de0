import {
  allowInsecureRequests,
  type Configuration,
  type DeviceAuthorizationResponse,
  discovery,
  initiateDeviceAuthorization,
  None,
  pollDeviceAuthorizationGrant,
} from 'openid-client'
import type { SignInWire } from '../control/wire.ts'
import { counted } from '../domain/counted.ts'
import { GatewayError } from '../domain/error.ts'
import { makeVisible } from '../domain/visible.ts'
import { isTrustworthyUrl } from '../identity/options.ts'
import type { PersonContext } from './person-context.ts'

/** An identity provider as the control listener names it. */
export type Provider = SignInWire['issuers'][number]

export interface SignedIn {
  readonly token: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

const DISCOVERY_TIMEOUT_S = 15
/** Where the provider does not say how long its token lives. */
const ASSUMED_LIFETIME_S = 300

/**
 * Signs a person in through a browser anywhere (RFC 8628). The token is returned and kept nowhere.
 *
 * @throws GatewayError `upstream` with one line: denied, too late, or the provider cannot do it.
 */
export async function signIn(
  provider: Provider,
  clientId: string,
  { err, signal, clock }: Pick<PersonContext, 'err' | 'signal' | 'clock'>,
): Promise<SignedIn> {
  try {
    const configuration = await discover(provider, clientId)
    const { scope, parameters } = provider
    const pending = await initiateDeviceAuthorization(configuration, { ...parameters, scope })
    for (const line of invite(pending)) err(line)
    const tokens = await pollDeviceAuthorizationGrant(configuration, pending, resourceOf(parameters), { signal })
    const expiresAt = clock.now() + (tokens.expires_in ?? ASSUMED_LIFETIME_S) * 1000
    return { token: tokens.access_token, expiresAt }
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw new GatewayError('upstream', `no sign-in at ${provider.issuer}: ${explain(error)}`, { cause: error })
  }
}

function discover({ issuer }: Provider, clientId: string): Promise<Configuration> {
  const url = new URL(issuer)
  if (!isTrustworthyUrl(url))
    throw new GatewayError('upstream', 'the identity provider is neither https nor on this machine')
  // Plain http only ever on this machine, which the line above made sure of.
  const execute = url.protocol === 'http:' ? [allowInsecureRequests] : []
  return discovery(url, clientId, undefined, None(), { execute, timeout: DISCOVERY_TIMEOUT_S })
}

/** Only a resource (RFC 8707) is for the token endpoint, too. */
function resourceOf(parameters: Provider['parameters']): Record<string, string> {
  const { resource } = parameters
  return resource === undefined ? {} : { resource }
}

function invite(pending: DeviceAuthorizationResponse): readonly string[] {
  const { verification_uri: page, verification_uri_complete: direct, user_code: code, expires_in: seconds } = pending
  const lines = [`Open ${readPage(page)} and enter the code ${makeVisible(code)}`]
  if (direct !== undefined) lines.push(`or open ${readPage(direct)}`)
  return [...lines, `Waiting for you to sign in, for ${counted(Math.round(seconds / 60), 'minute')} at most …`]
}

function readPage(text: string): string {
  if (!URL.canParse(text) || !isTrustworthyUrl(new URL(text))) {
    throw new GatewayError('upstream', 'the identity provider names a sign-in page that is not https')
  }
  return new URL(text).href
}

const MESSAGES: Readonly<Record<string, string>> = {
  access_denied: 'it was denied in the browser',
  expired_token: 'nobody signed in before the code expired',
  unauthorized_client: 'the client may not sign in by device code',
  invalid_client: 'the client is not known, or is not a public one',
  OAUTH_TIMEOUT: 'nobody signed in in time',
  OAUTH_ABORT: 'it was interrupted',
}

/** By what RFC 8628 answers (`error`), or by how the client library ended (`code`). */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return 'it failed'
  const codes = ['error', 'code']
    .map((field): unknown => Reflect.get(error, field))
    .filter((code) => typeof code === 'string')
  return (
    codes.map((code) => MESSAGES[String(code)]).find((message) => message !== undefined) ?? makeVisible(error.message)
  )
}
