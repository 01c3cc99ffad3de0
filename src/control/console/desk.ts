import type { ChatAccount } from '../../domain/channel.ts'
import type { Party, Person } from '../../domain/principal.ts'

/** Somebody who is signed in with a browser, as the console needs to know them. */
export interface Visitor {
  /** Hex; names the session in forms and streams, and opens nothing. */
  readonly id: string
  readonly person: Person
  /** When the identity provider last said so; milliseconds since the epoch. */
  readonly checkedAt: number
  /** Milliseconds since the epoch. */
  readonly endsAt: number
  /** Whether the identity provider can be asked again without the person. */
  readonly isRenewable: boolean
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

/** A chat account, and the person who proved that it is theirs. */
export interface ChatLink {
  readonly id: string
  readonly account: ChatAccount
  readonly person: Party & { readonly name: string | null }
  /** Milliseconds since the epoch. */
  readonly linkedAt: number
}

export interface LinkDesk {
  /** Of one person, or everybody's; newest first. */
  list(person: Party | null): Promise<readonly ChatLink[]>
  /** False if there is no such link, or none that this person may end. */
  unlink(how: { readonly id: string; readonly by: Person; readonly via: string }): Promise<boolean>
}

export type LinkFault =
  | 'expired'
  | 'used'
  | 'other_browser'
  | 'other_account'
  | 'not_signed_in'
  | 'not_offered'
  | 'account_taken'
  | 'person_taken'
  | 'signed_out'

type Refused = { readonly fault: LinkFault; readonly detail?: string }
type Linker = Pick<Visitor, 'id' | 'person'>

/** The steps from a ticket to a link; each is given what the one before sealed. */
export interface Linking {
  look(ticket: string, service: string): { readonly account: ChatAccount } | Refused
  begin(ticket: string, service: string, who: Linker): Promise<{ readonly url: URL; readonly sealed: string } | Refused>
  complete(
    sealed: string,
    query: URLSearchParams,
    who: Linker,
  ): Promise<{ readonly proof: string; readonly account: ChatAccount; readonly name: string | null } | Refused>
  confirm(proof: string, who: Linker): Promise<{ readonly link: ChatLink } | Refused>
}

export interface Passkey {
  readonly id: string
  readonly person: Party
  readonly name: string
  /** Milliseconds since the epoch. */
  readonly addedAt: number
  readonly usedAt: number | null
}

/** What a browser is asked, and what has to come back with its answer. */
export interface PasskeyAsk {
  readonly options: object
  readonly sealed: string
}

export type PasskeyFault = 'sign_in_too_old' | 'expired' | 'used' | 'unknown' | 'not_verified' | 'too_many'

/** The very vote that a passkey is used for. */
export interface VoteAbout {
  readonly approval: string
  readonly digest: string
  readonly cardHash: string
  readonly decision: 'approve'
}

interface PasskeyAnswer {
  readonly sealed: string
  /** As JSON. */
  readonly response: string
  readonly who: Linker
}

export interface PasskeyDesk {
  /** Of one person, or everybody's; oldest first. */
  list(person: Party | null): Promise<readonly Passkey[]>
  offer(who: Linker): Promise<PasskeyAsk | { readonly fault: PasskeyFault }>
  add(
    given: PasskeyAnswer & { readonly name: string },
  ): Promise<{ readonly passkey: Passkey } | { readonly fault: PasskeyFault }>
  /** Null if this person has no passkey. */
  challenge(about: VoteAbout, who: Linker): Promise<PasskeyAsk | null>
  prove(
    given: PasskeyAnswer & { readonly about: VoteAbout },
  ): Promise<{ readonly person: Person } | { readonly fault: PasskeyFault }>
  /** False if there is none, or none that this person may remove. */
  remove(how: { readonly id: string; readonly by: Person; readonly via: string }): Promise<boolean>
}
