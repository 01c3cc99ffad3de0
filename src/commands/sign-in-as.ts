import { signInSchema } from '../control/wire.ts'
import { GatewayError } from '../domain/error.ts'
import { nearestName } from '../domain/nearest.ts'
import { makeVisible } from '../domain/visible.ts'
import { type ControlClient, createControlClient, readControlUrl } from './control-client.ts'
import { type Provider, signIn } from './device-flow.ts'
import type { PersonContext } from './person-context.ts'
import { openSessions } from './sessions.ts'

/** Where a command goes, and with which provider its person signs in. */
export interface Where {
  readonly url: string | undefined
  readonly issuer: string | undefined
}

/**
 * A client for votes: signs in by a device flow of its own, every time. Its token lives as long as the command, in
 * memory, and is never kept: an agent on the same machine could read what is.
 */
export async function signInToVote(where: Where, context: PersonContext): Promise<ControlClient> {
  const url = await findUrl(where.url, context)
  const provider = await findProvider(url, where.issuer, context)
  const { token } = await signIn(provider, provider.client_id, context)
  return createControlClient(url, { token, signal: context.signal, isFresh: true })
}

/** A client for listing and showing: with what `login` keeps, or else signed in for this once. */
export async function signInToRead(where: Where, context: PersonContext): Promise<ControlClient> {
  const url = await findUrl(where.url, context)
  const session = await openSessions(context.configDir, context.clock.now).find(url)
  if (session) return createControlClient(url, { token: session.token, signal: context.signal })
  const provider = await findProvider(url, where.issuer, context)
  if (provider.read_client_id !== null) {
    throw new GatewayError('config', `nobody is signed in to ${url}: run countersign login --url ${url}`)
  }
  const { token } = await signIn(provider, provider.client_id, context)
  return createControlClient(url, { token, signal: context.signal, isFresh: true })
}

/** A client with what `login` keeps, to look before a sign-in; null if nothing is kept that could be used. */
export async function openKept(where: Where, context: PersonContext): Promise<ControlClient | null> {
  const url = await findUrl(where.url, context)
  const session = await openSessions(context.configDir, context.clock.now).find(url)
  return session && createControlClient(url, { token: session.token, signal: context.signal })
}

/** The URL of the command line, of the environment, or of the only session. */
export async function findUrl(given: string | undefined, context: PersonContext): Promise<string> {
  const named = given ?? context.defaultUrl
  if (named !== null) return readControlUrl(named)
  const [only, ...more] = await openSessions(context.configDir, context.clock.now).all()
  if (only && more.length === 0) return only.url
  throw new GatewayError('config', 'which control listener? Give --url, or set COUNTERSIGN_URL')
}

export async function findProvider(url: string, name: string | undefined, context: PersonContext): Promise<Provider> {
  const { issuers } = await createControlClient(url, { token: null, signal: context.signal }).get(
    '/v1/sign-in',
    signInSchema,
  )
  const names = issuers.map((issuer) => issuer.name)
  if (name !== undefined) {
    const found = issuers.find((issuer) => issuer.name === name || issuer.issuer === name)
    if (found) return found
    const near = nearestName(name, names)
    throw new GatewayError('config', `no identity provider ${name}${near === null ? '' : `; did you mean ${near}?`}`)
  }
  const [only, ...more] = issuers
  if (!only) throw new GatewayError('config', `${url} offers no sign-in from the command line`)
  if (more.length > 0) throw new GatewayError('config', `which one? Give --issuer: ${makeVisible(names.join(', '))}`)
  return only
}
