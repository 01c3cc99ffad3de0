import type { ChatLinks } from '../../identity/chat-links.ts'
import type { FrontDesk as Reception } from '../../identity/front-desk.ts'
import type { Linking as Linked } from '../../identity/linking.ts'

/** Who is in front of the browser. */
export interface FrontDesk extends Reception {
  /** How long a session lasts at most, in milliseconds. */
  readonly lifetimeMs: number
}

export type LinkDesk = Pick<ChatLinks, 'list' | 'unlink'>

/** The steps from a ticket to a link; each is given what the one before sealed. Tickets are not made here. */
export type Linking = Omit<Linked, 'invite'>
