import type { Person } from '../../domain/principal.ts'

/** Somebody who is signed in with a browser, as the console needs to know them. */
export interface Visitor {
  /** Hex; names the session in forms and streams, and opens nothing. */
  readonly id: string
  readonly person: Person
  /** When the identity provider last said so; milliseconds since the epoch. */
  readonly checkedAt: number
  /** Milliseconds since the epoch. */
  readonly endsAt: number
}

/** Who is in front of the browser. */
export interface FrontDesk {
  readonly issuers: readonly { readonly name: string; readonly issuer: string }[]
  /** Where to send a browser to sign in, and what it has to bring back, sealed. Null if there is no such issuer. */
  begin(how: {
    readonly issuerName: string
    readonly returnTo: string
    readonly maxAgeS: number | null
  }): Promise<{ readonly url: URL; readonly sealed: string } | null>
  complete(
    sealed: string,
    query: URLSearchParams,
  ): Promise<{ readonly secret: string; readonly returnTo: string } | { readonly fault: string }>
  /**
   * Null if nobody is signed in, or the identity provider does not say any more how they stand. `isUse`: a person did
   * something, rather than a page that was left open.
   */
  find(secret: string, how?: { readonly isUse: boolean }): Promise<Visitor | null>
  /** Whether the session has not ended. */
  isOpen(secret: string): Promise<boolean>
  /** Ends the session; where to end the one at the identity provider, if there is such a place. */
  leave(secret: string): Promise<URL | null>
  /** How long a session lasts at most, in milliseconds. */
  readonly lifetimeMs: number
}
