import { createHash, randomBytes } from 'node:crypto'
import { lengthPrefixed } from '../domain/bytes.ts'
import { isSameParty, type Party } from '../domain/principal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Tx } from '../platform/database.ts'
import { type Keys, openValue, sealValue } from '../platform/keys.ts'
import type { Guest } from './front-desk.ts'
import { useUp } from './tickets.ts'

/** The very vote that a passkey is used for: all of it is in what the authenticator signs. */
export interface VoteAbout {
  readonly approval: string
  /** Hex. */
  readonly digest: string
  readonly cardHash: string
  readonly decision: 'approve'
}

/** What was asked, as it comes back sealed. */
export interface PasskeyChallenge {
  readonly nonce: string
  readonly session: string
  readonly person: Party
  /** Null where a passkey is added. */
  readonly about: VoteAbout | null
  /** Milliseconds since the epoch. */
  readonly endsAt: number
}

const LABEL = 'passkey challenge'
/** How long somebody has for an answer. */
export const CHALLENGE_MS = 10 * 60_000
const SKEW_MS = 60_000

/** Challenges: each is asked of one session about one thing, and answered once. */
export function createPasskeyChallenges({ keys, clock }: { keys: Pick<Keys, 'cookie'>; clock: Pick<Clock, 'now'> }) {
  return {
    begin(who: Guest, about: VoteAbout | null): { challenge: PasskeyChallenge; sealed: string } {
      const { issuer, subject } = who.person
      const nonce = randomBytes(32).toString('base64url')
      const challenge = {
        nonce,
        session: who.id,
        person: { issuer, subject },
        about,
        endsAt: clock.now() + CHALLENGE_MS,
      }
      const sealed = sealValue(keys.cookie, Buffer.from(JSON.stringify(challenge), 'utf8'), [LABEL])
      return { challenge, sealed: sealed.toString('base64url') }
    },

    /** Null unless it was asked of this session, for this. */
    open(sealed: string, who: Guest, about: VoteAbout | null): PasskeyChallenge | null {
      const opened = openValue(keys.cookie, Buffer.from(sealed, 'base64url'), [LABEL])
      if (!opened) return null
      // Nobody but `begin` wrote it: it was authenticated.
      const challenge = JSON.parse(opened.toString('utf8')) as PasskeyChallenge
      const isOwn = challenge.session === who.id && isSameParty(challenge.person, who.person)
      return isOwn && isSameVote(challenge.about, about) && clock.now() < challenge.endsAt ? challenge : null
    },

    /** False if it was answered before. */
    useUp(tx: Tx, { nonce, endsAt }: PasskeyChallenge): Promise<boolean> {
      const hash = createHash('sha256').update('countersign passkey challenge v1\0').update(nonce).digest()
      return useUp(tx, { hash, endsAt: endsAt + SKEW_MS })
    },
  }
}

/** What the authenticator signs, along with where it was asked (WebAuthn, section 5.8.1): SHA-256 of all that it is for. */
export function bytesOf({ nonce, session, person, about }: PasskeyChallenge): Buffer {
  const named = about ? ['vote', about.approval, about.digest, about.cardHash, about.decision] : ['add']
  return createHash('sha256')
    .update(
      lengthPrefixed('countersign passkey challenge v1', [nonce, session, person.issuer, person.subject, ...named]),
    )
    .digest()
}

function isSameVote(a: VoteAbout | null, b: VoteAbout | null): boolean {
  if (a === null || b === null) return a === b
  return a.approval === b.approval && a.digest === b.digest && a.cardHash === b.cardHash && a.decision === b.decision
}
