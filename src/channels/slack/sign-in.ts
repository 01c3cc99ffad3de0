import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  ClientError,
  ClientSecretPost,
  type Configuration,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  randomNonce,
  randomState,
} from 'openid-client'
import { z } from 'zod'
import type { ChatSignIn } from '../../domain/channel.ts'
import { GatewayError } from '../../domain/error.ts'
import { createFetcher } from '../../identity/fetch-json.ts'
import { explain, isAway, textOf } from '../../identity/sign-in.ts'

/** What is kept while the browser is at Slack. */
const pendingSchema = z.object({ state: z.string(), nonce: z.string() })

/** The claims by which Slack names an account; `sub` alone does not say of which workspace. */
const claimsSchema = z.object({
  'https://slack.com/team_id': z.string().regex(/^[TE][A-Z0-9]{2,20}$/),
  'https://slack.com/user_id': z.string().regex(/^[UW][A-Z0-9]{2,20}$/),
  name: z.string().max(200).optional(),
})

/**
 * Sign in with Slack (https://docs.slack.dev/authentication/sign-in-with-slack): OpenID Connect's authorization code flow
 * with state and nonce. Slack's token endpoint knows no `code_verifier`, so that there is no PKCE; the code is bound to
 * this browser by the nonce, and redeemed with the client's secret. The ID token's signature is verified.
 */
export function createSlackSignIn(parts: {
  /** The Web API's, of which Slack's OpenID issuer is the origin. */
  readonly apiUrl: string
  readonly clientId: string
  readonly clientSecret: string
  readonly callbackUrl: string
  readonly timeoutMs: number
}): ChatSignIn & { close(): Promise<void> } {
  const { apiUrl, clientId, clientSecret, callbackUrl, timeoutMs } = parts
  const fetcher = createFetcher({ timeoutMs })
  const { origin: issuer, protocol } = new URL(apiUrl)
  let discovered: Promise<Configuration> | null = null

  /** Discovered once; what failed is tried again by whoever comes next. */
  function configuration(): Promise<Configuration> {
    discovered ??= discover().catch((error: unknown) => {
      discovered = null
      throw unavailable(error)
    })
    return discovered
  }

  async function discover(): Promise<Configuration> {
    const found = await discovery(
      new URL('/.well-known/openid-configuration', issuer),
      clientId,
      undefined,
      ClientSecretPost(clientSecret),
      {
        execute: [enableNonRepudiationChecks, ...(protocol === 'http:' ? [allowInsecureRequests] : [])],
        timeout: timeoutMs / 1000,
        [customFetch]: (url, { method, headers, body, signal }) =>
          fetcher.send(url, { method, headers, body: textOf(body), signal }),
      },
    )
    if (found.serverMetadata().issuer === issuer) return found
    throw new GatewayError('upstream', `the issuer ${issuer} calls itself otherwise`)
  }

  function unavailable(error: unknown): GatewayError {
    if (error instanceof GatewayError) return error
    const cause = error instanceof ClientError ? (error.cause ?? error) : error
    return new GatewayError('upstream', `Slack (${issuer}) cannot be asked who signs in`, { cause })
  }

  return {
    async begin(team) {
      const pending = { state: randomState(), nonce: randomNonce() }
      const url = buildAuthorizationUrl(await configuration(), {
        redirect_uri: callbackUrl,
        scope: 'openid profile',
        response_type: 'code',
        team,
        ...pending,
      })
      return { url, pending }
    },

    async complete(given, query) {
      const { state, nonce } = pendingSchema.parse(given)
      try {
        const tokens = await authorizationCodeGrant(await configuration(), new URL(`${callbackUrl}?${query}`), {
          expectedState: state,
          expectedNonce: nonce,
          idTokenExpected: true,
        })
        const claims = claimsSchema.safeParse(tokens.claims())
        if (!claims.success) return { fault: 'Slack does not say which account it is' }
        const { 'https://slack.com/team_id': team, 'https://slack.com/user_id': user, name = null } = claims.data
        return { team, user, name }
      } catch (error) {
        if (isAway(error)) throw unavailable(error)
        return { fault: explain(error).replace(/^the identity provider/, 'Slack') }
      }
    },

    close: () => fetcher.close(),
  }
}
