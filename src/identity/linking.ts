import { createHash, randomBytes } from 'node:crypto'
import type { ChatAccount, ChatSignIn } from '../domain/channel.ts'
import type { JsonObject } from '../domain/json.ts'
import { isSameParty, type Party } from '../domain/principal.ts'
import type { Clock } from '../platform/clock.ts'
import { type KeyPair, openValue, type SecretKey, sealValue } from '../platform/keys.ts'
import type { BindFault, ChatLink, ChatLinks } from './chat-links.ts'
import type { Guest } from './front-desk.ts'

/** Why an account was not linked. */
export type LinkFault =
  | BindFault
  /** The ticket, or what came of it, is none of this gateway's, or too old. */
  | 'expired'
  /** Another session, or another person, began. */
  | 'other_browser'
  /** Whoever signed in at the chat service is not who pressed the button. */
  | 'other_account'
  /** The chat service said no. */
  | 'not_signed_in'
  /** The configuration does not say how people sign in there. */
  | 'not_offered'

type Refused = { readonly fault: LinkFault; readonly detail?: string }

export interface Linking {
  /** A ticket for the one who just pressed a button with this account; it opens nothing by itself. */
  invite(account: ChatAccount): string
  /** Whose account it is about. */
  look(ticket: string, service: string): { readonly account: ChatAccount } | Refused
  /** Sends the browser to sign in at the chat service. `sealed` has to come back with it. */
  begin(ticket: string, service: string, who: Guest): Promise<{ readonly url: URL; readonly sealed: string } | Refused>
  /** The browser is back: what has to be confirmed, and what proves that it may be. */
  complete(
    sealed: string,
    query: URLSearchParams,
    who: Guest,
  ): Promise<{ readonly proof: string; readonly account: ChatAccount; readonly name: string | null } | Refused>
  confirm(proof: string, who: Guest): Promise<{ readonly link: ChatLink } | Refused>
}

interface Ticket {
  readonly account: ChatAccount
  readonly nonce: string
  readonly endsAt: number
}

/** What is sealed while the browser is at the chat service, and then until its person confirms. */
interface Pending {
  readonly ticket: Ticket
  readonly session: string
  readonly person: Party
  readonly endsAt: number
  readonly signIn: JsonObject | null
}

const TICKET_MS = 15 * 60_000
const PENDING_MS = 10 * 60_000
const LABELS = { ticket: 'chat link ticket', pending: 'chat link sign-in', proof: 'chat link proof' } as const

/**
 * Links a chat account to a person: only where one browser session is signed in at the identity provider, then signs in
 * at the chat service as the very account that pressed the button, and its person confirms. A ticket that was passed on
 * leads whoever has it to the chat service's own sign-in, and there it ends.
 */
export function createLinking(parts: {
  readonly links: Pick<ChatLinks, 'bind'>
  signInOf(service: string): ChatSignIn | null
  /** `keys.cookie`. */
  readonly keys: KeyPair<SecretKey>
  readonly clock: Pick<Clock, 'now'>
}): Linking {
  const { links, signInOf, keys, clock } = parts

  function seal(kind: keyof typeof LABELS, value: Ticket | Pending): string {
    return sealValue(keys, Buffer.from(JSON.stringify(value), 'utf8'), [LABELS[kind]]).toString('base64url')
  }

  /** Null if it was not sealed here for this, or is too old. */
  function open<Value extends Ticket | Pending>(kind: keyof typeof LABELS, sealed: string): Value | null {
    const opened = openValue(keys, Buffer.from(sealed, 'base64url'), [LABELS[kind]])
    if (!opened) return null
    // Nobody but `seal` wrote it: it was authenticated.
    const value = JSON.parse(opened.toString('utf8')) as Value
    return clock.now() < value.endsAt ? value : null
  }

  function openTicket(sealed: string, service: string): Ticket | null {
    const ticket = open<Ticket>('ticket', sealed)
    return ticket?.account.service === service ? ticket : null
  }

  function openOwn(kind: 'pending' | 'proof', sealed: string, who: Guest): Pending | Refused {
    const pending = open<Pending>(kind, sealed)
    if (!pending) return { fault: 'expired' }
    const isOwn = pending.session === who.id && isSameParty(pending.person, who.person)
    return isOwn ? pending : { fault: 'other_browser' }
  }

  return {
    invite(account) {
      return seal('ticket', { account, nonce: randomBytes(16).toString('base64url'), endsAt: clock.now() + TICKET_MS })
    },

    look(sealed, service) {
      const ticket = openTicket(sealed, service)
      return ticket ? { account: ticket.account } : { fault: 'expired' }
    },

    async begin(sealed, service, who) {
      const ticket = openTicket(sealed, service)
      if (!ticket) return { fault: 'expired' }
      const signIn = signInOf(service)
      if (!signIn) return { fault: 'not_offered' }
      const begun = await signIn.begin(ticket.account.team)
      const { issuer, subject } = who.person
      const endsAt = clock.now() + PENDING_MS
      const pending = { ticket, session: who.id, person: { issuer, subject }, endsAt, signIn: begun.pending }
      return { url: begun.url, sealed: seal('pending', pending) }
    },

    async complete(sealed, query, who) {
      const pending = openOwn('pending', sealed, who)
      if ('fault' in pending) return pending
      const { account } = pending.ticket
      const signIn = signInOf(account.service)
      if (!signIn || !pending.signIn) return { fault: 'not_offered' }
      const found = await signIn.complete(pending.signIn, query)
      if ('fault' in found) return { fault: 'not_signed_in', detail: found.fault }
      if (found.team !== account.team || found.user !== account.user) return { fault: 'other_account' }
      const proof = seal('proof', { ...pending, signIn: null, endsAt: clock.now() + PENDING_MS })
      return { proof, account, name: found.name }
    },

    async confirm(sealed, who) {
      const pending = openOwn('proof', sealed, who)
      if ('fault' in pending) return pending
      const { account, nonce, endsAt } = pending.ticket
      const hash = createHash('sha256').update('countersign chat ticket v1\0').update(nonce).digest()
      // As long as anything that came of it may be confirmed.
      return links.bind({ account, session: who, ticket: { hash, endsAt: endsAt + 2 * PENDING_MS } })
    },
  }
}
