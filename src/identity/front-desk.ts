import { setTimeout as sleep } from 'node:timers/promises'
import { GatewayError } from '../domain/error.ts'
import type { Person } from '../domain/principal.ts'
import type { Clock } from '../platform/clock.ts'
import { type KeyPair, openValue, type SecretKey, sealValue } from '../platform/keys.ts'
import type { Session, Sessions } from './sessions.ts'
import type { PendingSignIn, SignIns } from './sign-in.ts'

/** Somebody in front of a browser, by their session. */
export interface Guest {
  /** Hex; names the session in forms and streams, and opens nothing. */
  readonly id: string
  readonly person: Person
}

/** Somebody who is signed in with a browser, and how they stand with their identity provider. */
export interface Visitor extends Guest {
  /** When the identity provider last said so; milliseconds since the epoch. */
  readonly checkedAt: number
  /** Milliseconds since the epoch. */
  readonly endsAt: number
  /** Whether the identity provider can be asked again without the person. */
  readonly isRenewable: boolean
}

export interface FrontDesk {
  readonly issuers: SignIns['issuers']
  /** Where to send a browser to sign in, and what it has to bring back, sealed. Null if there is no such issuer. */
  begin(how: Parameters<SignIns['begin']>[0]): Promise<{ readonly url: URL; readonly sealed: string } | null>
  complete(
    sealed: string,
    query: URLSearchParams,
  ): Promise<{ readonly secret: string; readonly returnTo: string } | { readonly fault: string }>
  /**
   * Null if nobody is signed in, or the identity provider does not say any more how they stand. `isUse`: a person did
   * something, rather than a page that was left open.
   *
   * @throws GatewayError `upstream` if the identity provider has to be asked, and cannot be.
   */
  find(secret: string, how?: { readonly isUse: boolean }): Promise<Visitor | null>
  /** Whether the session has not ended; asks nobody but the store, and is no use of it. */
  isOpen(secret: string): Promise<boolean>
  /** Ends the session; where to end the one at the identity provider, if there is such a place. */
  leave(secret: string): Promise<URL | null>
}

const PENDING_LABEL = 'console sign-in'
/** While another process asks the identity provider, its answer is waited for. */
const LOOK_MS = 100
const MOST_LOOKS = 60

/**
 * Who is in front of a browser. What the identity provider said of a person holds for `freshMs`; then it is asked again,
 * and if it does not answer for that person any more, they have to sign in again.
 */
export function createFrontDesk(parts: {
  readonly signIns: SignIns
  readonly sessions: Sessions
  /** `keys.cookie`. */
  readonly keys: KeyPair<SecretKey>
  readonly clock: Pick<Clock, 'now'>
  readonly freshMs: number
}): FrontDesk {
  const { signIns, sessions, keys, clock, freshMs } = parts

  const isFresh = (session: Session) => clock.now() - session.checkedAt < freshMs

  /** Asks the identity provider, or waits until another request, perhaps of another replica, has. */
  async function refresh(secret: string, session: Session): Promise<Session | null> {
    if (await sessions.claim(session)) return ask(secret)
    for (let look = 0; look < MOST_LOOKS; look++) {
      await sleep(LOOK_MS)
      const found = await sessions.find(secret, { isUse: false })
      if (!found || isFresh(found)) return found
    }
    throw new GatewayError('upstream', 'the identity provider was asked, and did not answer in time')
  }

  async function ask(secret: string): Promise<Session | null> {
    // What was looked at before its turn came may be old by now, and a refresh token is taken once.
    const session = await sessions.find(secret, { isUse: false })
    if (!session) return null
    try {
      if (isFresh(session)) return session
      const renewed = await signIns.renew(session, (tokens) => sessions.update(session, { ...session, tokens }))
      if (renewed) await sessions.update(session, renewed)
      else await sessions.end(session)
      return renewed && { ...session, ...renewed }
    } finally {
      await sessions.release(session)
    }
  }

  return {
    issuers: signIns.issuers,

    async begin(how) {
      const begun = await signIns.begin(how)
      if (!begun) return null
      const sealed = sealValue(keys, Buffer.from(JSON.stringify(begun.pending), 'utf8'), [PENDING_LABEL])
      return { url: begun.url, sealed: sealed.toString('base64url') }
    },

    async complete(sealed, query) {
      const opened = openValue(keys, Buffer.from(sealed, 'base64url'), [PENDING_LABEL])
      if (!opened) return { fault: 'this browser did not begin to sign in, or too long ago' }
      // Nobody but `begin` wrote it: it was authenticated.
      const pending = JSON.parse(opened.toString('utf8')) as PendingSignIn
      const signedIn = await signIns.complete(pending, query)
      if ('fault' in signedIn) return signedIn
      return { secret: await sessions.open(signedIn), returnTo: pending.returnTo }
    },

    async find(secret, how) {
      const session = await sessions.find(secret, how)
      const current = session && !isFresh(session) ? await refresh(secret, session) : session
      if (!current) return null
      const { id, person, checkedAt, endsAt, tokens } = current
      return { id, person, checkedAt, endsAt, isRenewable: tokens.refresh !== null }
    },

    isOpen: async (secret) => (await sessions.find(secret, { isUse: false })) !== null,

    async leave(secret) {
      const session = await sessions.find(secret)
      if (!session) return null
      await sessions.end(session)
      return signIns.endUrl(session).catch(() => null)
    },
  }
}
