import {
  AuthorizationResponseError,
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  ClientError,
  type Configuration,
  calculatePKCECodeChallenge,
  customFetch,
  discovery,
  fetchUserInfo,
  None,
  ResponseBodyError,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
  refreshTokenGrant,
} from 'openid-client'
import { GatewayError } from '../domain/error.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Person } from '../domain/principal.ts'
import { isRefusal } from '../domain/refusal.ts'
import type { Clock } from '../platform/clock.ts'
import { claimAt } from './claims.ts'
import { createFetcher, type Fetcher } from './fetch-json.ts'
import { issuerName } from './issuer-name.ts'
import type { PeopleIssuer } from './options.ts'
import type { People } from './people.ts'

/** What has to be remembered between a browser's leaving for its identity provider and its return. */
export interface PendingSignIn {
  readonly issuerName: string
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  /** Where on the console to go afterwards. */
  readonly returnTo: string
  /** Asked for: a sign-in no older than so many seconds (RFC 9470, section 4); null if any will do. */
  readonly maxAgeS: number | null
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

/** A person who signed in, and what their groups can be asked with again. */
export interface SignedIn {
  readonly person: Person
  readonly issuerName: string
  readonly tokens: SessionTokens
  /** When the identity provider last said this; milliseconds since the epoch. */
  readonly checkedAt: number
}

export interface SessionTokens {
  /** The `sub` of the ID token, which userinfo has to be about. */
  readonly sub: string
  readonly idToken: string
  readonly refresh: string | null
}

/** Why nobody is signed in, in words for that person. */
export interface SignInFault {
  readonly fault: string
}

export interface SignIns {
  readonly issuers: readonly { readonly name: string; readonly issuer: string }[]
  /** Null if no issuer has this name. Throws `GatewayError('upstream')` if it cannot be asked. */
  begin(how: {
    readonly issuerName: string
    readonly returnTo: string
    readonly maxAgeS: number | null
  }): Promise<{ readonly url: URL; readonly pending: PendingSignIn } | null>
  /** @param query what the identity provider sent along with the browser */
  complete(pending: PendingSignIn, query: URLSearchParams): Promise<SignedIn | SignInFault>
  /**
   * Asks the identity provider again how this person stands. Null if it does not say so any more. `keep` is given new
   * tokens as soon as they are there: the old refresh token may have been used up, whatever comes after.
   */
  renew(signedIn: SignedIn, keep: (tokens: SessionTokens) => Promise<void>): Promise<SignedIn | null>
  /** Where to send the browser to end the session at the identity provider too; null if it has no such place. */
  endUrl(signedIn: SignedIn): Promise<URL | null>
  close(): Promise<void>
}

const PENDING_MS = 10 * 60_000

/**
 * Signs people in with a browser: OpenID Connect's authorization code flow with PKCE (RFC 7636), state and nonce. Who
 * came back is decided by the same rules as for any token of a person.
 */
export function createSignIns(parts: {
  readonly issuers: readonly PeopleIssuer[]
  readonly people: Pick<People, 'identify' | 'update'>
  readonly callbackUrl: string
  readonly clock: Pick<Clock, 'now'>
}): SignIns {
  const { people, callbackUrl, clock } = parts
  const clients = new Map(parts.issuers.map((options) => [issuerName(options), createClient(options)]))

  async function readPerson(
    client: Client,
    tokens: { readonly idToken: string; readonly access: string; readonly claims: JsonObject },
  ): Promise<Person | SignInFault> {
    const person = await people.identify(tokens.idToken, 'vote')
    if (isRefusal(person) && person.code === 'unavailable') throw unavailable(client.options, new Error(person.detail))
    if (isRefusal(person)) return { fault: person.challenge?.description ?? person.detail }
    const { groups } = client.options
    if (groups?.claim === undefined || claimAt(tokens.claims, groups.claim) !== undefined) return person
    // Many providers tell groups only to whoever asks (OpenID Connect Core, section 5.3).
    const claims = await client.userInfo(tokens.access, String(tokens.claims['sub']))
    if (claims === null) return person
    return people.update(person, claims) ?? { fault: 'the groups of userinfo cannot be read' }
  }

  return {
    issuers: parts.issuers.map((options) => ({ name: issuerName(options), issuer: options.issuer })),

    async begin({ issuerName: name, returnTo, maxAgeS }) {
      const client = clients.get(name)
      if (!client) return null
      const [state, nonce, verifier] = [randomState(), randomNonce(), randomPKCECodeVerifier()]
      const { browser_scope: scope, browser_parameters: more } = client.options.sign_in
      const url = buildAuthorizationUrl(await client.configuration(), {
        ...onlyGiven(more),
        redirect_uri: callbackUrl,
        scope,
        code_challenge: await calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        state,
        nonce,
        ...(maxAgeS !== null && { max_age: String(maxAgeS) }),
      })
      return {
        url,
        pending: { issuerName: name, state, nonce, verifier, returnTo, maxAgeS, startedAt: clock.now() },
      }
    },

    async complete(pending, query) {
      const client = clients.get(pending.issuerName)
      if (!client) return { fault: 'the identity provider is no longer configured' }
      if (clock.now() - pending.startedAt > PENDING_MS) return { fault: 'signing in took too long' }
      const granted = await client.exchange(new URL(`${callbackUrl}?${query}`), pending)
      if ('fault' in granted) return granted
      const person = await readPerson(client, granted)
      if ('fault' in person) return person
      const { idToken, refresh, claims } = granted
      const tokens = { sub: String(claims['sub']), idToken, refresh }
      return { person, issuerName: pending.issuerName, tokens, checkedAt: clock.now() }
    },

    async renew(signedIn, keep) {
      const client = clients.get(signedIn.issuerName)
      const { tokens, person } = signedIn
      if (!client || tokens.refresh === null) return null
      const renewed = await client.refresh(tokens.refresh, tokens.sub)
      if (!renewed) return null
      const kept = { ...tokens, refresh: renewed.refresh ?? tokens.refresh }
      if (renewed.refresh !== null) await keep(kept)
      const claims = await renewedClaims(client, renewed, tokens.sub)
      const updated = claims && people.update(person, claims)
      return updated ? { ...signedIn, person: updated, tokens: kept, checkedAt: clock.now() } : null
    },

    async endUrl({ issuerName: name, tokens }) {
      const configuration = await clients.get(name)?.configuration()
      if (configuration?.serverMetadata().end_session_endpoint === undefined) return null
      return buildEndSessionUrl(configuration, { id_token_hint: tokens.idToken })
    },

    close: async () => {
      await Promise.all([...clients.values()].map((client) => client.close()))
    },
  }
}

function onlyGiven(parameters: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parameters).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])),
  )
}

/** What the provider says of the groups now: in a new ID token, or else to whoever asks. */
async function renewedClaims(
  client: Client,
  { access, claims }: { readonly access: string; readonly claims: JsonObject | null },
  sub: string,
): Promise<JsonObject | null> {
  const claim = client.options.groups?.claim
  if (claims && (claim === undefined || claimAt(claims, claim) !== undefined)) return claims
  return client.userInfo(access, sub)
}

interface Granted {
  readonly idToken: string
  readonly access: string
  readonly refresh: string | null
  readonly claims: JsonObject
}

/** One issuer, as the console talks to it. */
interface Client {
  readonly options: PeopleIssuer
  configuration(): Promise<Configuration>
  exchange(returned: URL, pending: PendingSignIn): Promise<Granted | SignInFault>
  /** Null if the issuer refuses. */
  refresh(
    token: string,
    sub: string,
  ): Promise<{ access: string; refresh: string | null; claims: JsonObject | null } | null>
  /** Null if it has no such endpoint, or refuses. */
  userInfo(accessToken: string, sub: string): Promise<JsonObject | null>
  close(): Promise<void>
}

function createClient(options: PeopleIssuer): Client {
  const fetcher = createFetcher({ ca: options.ca })
  let discovered: Promise<Configuration> | null = null

  /** Discovered once; what failed is tried again by whoever comes next. */
  function configuration(): Promise<Configuration> {
    discovered ??= discover(options, fetcher).catch((error: unknown) => {
      discovered = null
      throw error
    })
    return discovered
  }

  return {
    options,
    configuration,

    async exchange(returned, { state, nonce, verifier, maxAgeS }) {
      try {
        const tokens = await authorizationCodeGrant(await configuration(), returned, {
          pkceCodeVerifier: verifier,
          expectedState: state,
          expectedNonce: nonce,
          idTokenExpected: true,
          ...(maxAgeS !== null && { maxAge: maxAgeS }),
        })
        // It was demanded above.
        const { id_token: idToken = '', access_token: access, refresh_token: refresh = null } = tokens
        return { idToken, access, refresh, claims: { ...(tokens.claims() as JsonObject | undefined) } }
      } catch (error) {
        if (isAway(error)) throw unavailable(options, error)
        return { fault: explain(error) }
      }
    },

    async refresh(token, sub) {
      try {
        const tokens = await refreshTokenGrant(await configuration(), token)
        const claims = (tokens.claims() as JsonObject | undefined) ?? null
        if (claims && claims['sub'] !== sub) return null
        return { access: tokens.access_token, refresh: tokens.refresh_token ?? null, claims }
      } catch (error) {
        if (error instanceof ResponseBodyError && !isAway(error)) return null
        throw unavailable(options, error)
      }
    },

    async userInfo(accessToken, sub) {
      const known = await configuration()
      if (known.serverMetadata().userinfo_endpoint === undefined) return null
      try {
        return (await fetchUserInfo(known, accessToken, sub)) as JsonObject
      } catch (error) {
        if (isAway(error)) throw unavailable(options, error)
        return null
      }
    },

    close: () => fetcher.close(),
  }
}

async function discover(options: PeopleIssuer, fetcher: Fetcher): Promise<Configuration> {
  const { issuer, client_id: clientId, client_secret: secret } = options
  const server = new URL(options.discovery ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
  try {
    const found = await discovery(server, clientId, secret, secret === undefined ? None() : undefined, {
      execute: server.protocol === 'http:' ? [allowInsecureRequests] : [],
      timeout: 10,
      [customFetch]: (url, { method, headers, body, signal }) =>
        fetcher.send(url, { method, headers, body: textOf(body), signal }),
    })
    if (found.serverMetadata().issuer !== issuer) {
      throw new GatewayError('upstream', `the issuer ${issuer} calls itself otherwise`)
    }
    return found
  } catch (error) {
    throw unavailable(options, error)
  }
}

/** The library sends forms, or nothing. */
export function textOf(body: unknown): string | null {
  return body === undefined || body === null ? null : String(body)
}

function unavailable({ issuer }: PeopleIssuer, error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  const cause = error instanceof ClientError ? (error.cause ?? error) : error
  return new GatewayError('upstream', `the identity provider ${issuer} cannot be asked`, { cause })
}

/** Whether the identity provider did not answer, or only that it cannot now: that says nothing of a person. */
export function isAway(error: unknown): boolean {
  if (error instanceof GatewayError) return true
  if (error instanceof ResponseBodyError) return error.status >= 500 || error.status === 429
  const cause = error instanceof ClientError ? error.cause : null
  return cause instanceof GatewayError || (cause instanceof Response && cause.status >= 500)
}

/** What the identity provider, or the check of its answer, said; never a token. */
export function explain(error: unknown): string {
  if (error instanceof AuthorizationResponseError || error instanceof ResponseBodyError) {
    return `the identity provider said ${error.error}`
  }
  if (error instanceof ClientError) return `the identity provider's answer is not in order (${error.code ?? 'unknown'})`
  throw error
}
