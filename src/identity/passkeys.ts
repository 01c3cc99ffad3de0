import { createHash, randomUUID } from 'node:crypto'
import { isIP } from 'node:net'
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server'
import { z } from 'zod'
import { lengthPrefixed } from '../domain/bytes.ts'
import type { Appended, Entry, Kind } from '../domain/entry.ts'
import { isSameParty, type Party, type Person } from '../domain/principal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database, Tx } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'
import type { Guest } from './front-desk.ts'
import {
  bytesOf,
  CHALLENGE_MS,
  createPasskeyChallenges,
  type PasskeyChallenge,
  type VoteAbout,
} from './passkey-challenge.ts'
import { createPasskeyTable, type Passkey, type PasskeyFacts, toPasskey } from './passkey-table.ts'

/** What a browser is asked, and what has to come back with its answer. */
export interface PasskeyAsk {
  /** For `navigator.credentials`, with bytes in base64url (WebAuthn level 3, section 5.1.8). */
  readonly options: object
  readonly sealed: string
}

export type PasskeyFault =
  /** A passkey is added after a fresh sign-in only. */
  | 'sign_in_too_old'
  /** What came back was asked of another session, for something else, or too long ago. */
  | 'expired'
  | 'used'
  /** None of this person's. */
  | 'unknown'
  /** The signature, the place, the counter, or that the person was verified does not hold. */
  | 'not_verified'
  | 'too_many'

type Refused = { readonly fault: PasskeyFault }

export interface Passkeys {
  /** Of one person, or everybody's; oldest first. */
  list(person: Party | null): Promise<readonly Passkey[]>
  offer(who: Guest): Promise<PasskeyAsk | Refused>
  add(given: {
    readonly sealed: string
    /** As JSON. */
    readonly response: string
    readonly name: string
    readonly who: Guest
  }): Promise<{ readonly passkey: Passkey } | Refused>
  /** Null if this person has no passkey. */
  challenge(about: VoteAbout, who: Guest): Promise<PasskeyAsk | null>
  /** The person, known by their passkey for this very vote. */
  prove(given: {
    readonly sealed: string
    readonly response: string
    readonly about: VoteAbout
    readonly who: Guest
  }): Promise<{ readonly person: Person } | Refused>
  /** False if there is none, or none that this person may remove: their own, or anybody's as an admin. */
  remove(how: { readonly id: string; readonly by: Person; readonly via: string }): Promise<boolean>
}

/** How old the sign-in may be after which one is added, and how far the clocks may be apart. */
const [FRESH_MS, SKEW_MS] = [5 * 60_000, 60_000]
const MOST_OF_ONE = 10

/** Loaded when somebody has a passkey to show: it takes longer than all else that loads with this file. */
const webauthn = () => import('@simplewebauthn/server')

const base64url = z
  .string()
  .regex(/^[A-Za-z0-9_-]+$/)
  .max(6000)
const credential = {
  id: base64url.max(1400),
  rawId: base64url.max(1400),
  type: z.literal('public-key'),
  clientExtensionResults: z.strictObject({}),
}
const addedSchema = z.object({
  ...credential,
  response: z.object({ clientDataJSON: base64url, attestationObject: base64url }),
})
const usedSchema = z.object({
  ...credential,
  response: z.object({ clientDataJSON: base64url, authenticatorData: base64url, signature: base64url }),
})

/** Whether browsers make passkeys for this place: they belong to a name, and an address is none (WebAuthn, section 5.1.2). */
export function hasPasskeys(publicUrl: string): boolean {
  const { hostname } = new URL(publicUrl)
  return isIP(hostname.replace(/^\[|\]$/g, '')) === 0
}

/**
 * Passkeys of people (WebAuthn), for votes that a rule asks one for. Each is used over a challenge that names the approval,
 * its digest, the card that was seen and the decision, with the person verified by their device.
 */
export function createPasskeys(parts: {
  readonly database: Database
  readonly keys: Pick<Keys, 'mac' | 'cookie'>
  /** Chains entries in a transaction; called last in it. */
  within(tx: Tx, entries: readonly Entry[]): Promise<Appended>
  readonly publicUrl: string
  readonly clock: Pick<Clock, 'now'>
  readonly log: Logger
}): Passkeys {
  const { database, within, clock, log } = parts
  const { hostname: rpId, origin } = new URL(parts.publicUrl)
  const table = createPasskeyTable(parts)
  const challenges = createPasskeyChallenges(parts)

  /** What the library throws says what does not hold; it is logged, and a person is told no more than that. */
  async function orNull<Value>(work: () => Promise<Value>): Promise<Value | null> {
    try {
      return await work()
    } catch (error) {
      log.info({ event: 'passkey_refused', err: error }, 'a passkey was not accepted')
      return null
    }
  }

  function expectedOf(challenge: PasskeyChallenge) {
    return {
      expectedChallenge: bytesOf(challenge).toString('base64url'),
      expectedOrigin: origin,
      expectedRPID: rpId,
      requireUserVerification: true,
    }
  }

  return {
    list: async (person) => (await (person ? table.of(person) : table.all())).map(toPasskey),

    async offer(who) {
      if (!isFresh(who.person, clock.now())) return { fault: 'sign_in_too_old' }
      const { challenge, sealed } = challenges.begin(who, null)
      const { issuer, subject, name } = who.person
      const { generateRegistrationOptions } = await webauthn()
      const options = await generateRegistrationOptions({
        rpName: 'Countersign',
        rpID: rpId,
        userName: name ?? subject,
        userDisplayName: name ?? subject,
        userID: bytes(
          createHash('sha256')
            .update(lengthPrefixed('countersign passkey user v1', [issuer, subject]))
            .digest(),
        ),
        challenge: bytes(bytesOf(challenge)),
        attestationType: 'none',
        excludeCredentials: (await table.of(who.person)).map((row) => ({
          id: row.credential_id.toString('base64url'),
        })),
        authenticatorSelection: { userVerification: 'required', residentKey: 'preferred' },
        timeout: CHALLENGE_MS / 2,
      })
      return { options, sealed }
    },

    async add({ sealed, response, name, who }) {
      const challenge = challenges.open(sealed, who, null)
      if (!challenge) return { fault: 'expired' }
      const given = parse(addedSchema, response)
      const verified =
        given &&
        (await orNull(async () =>
          (
            await webauthn()
          ).verifyRegistrationResponse({
            // Checked above; what the types ask for besides is not read.
            response: given as RegistrationResponseJSON,
            ...expectedOf(challenge),
          }),
        ))
      if (!verified?.verified) return { fault: 'not_verified' }
      const { credential: made, credentialDeviceType: device } = verified.registrationInfo
      const { issuer, subject } = who.person
      const facts: PasskeyFacts = {
        id: randomUUID(),
        credential_id: Buffer.from(made.id, 'base64url'),
        issuer,
        subject,
        name,
        public_key: Buffer.from(made.publicKey),
        counter: made.counter,
        added_at: new Date(clock.now()),
      }
      return database.transaction(async (tx) => {
        if (!(await challenges.useUp(tx, challenge))) return { fault: 'used' } as const
        if ((await table.of(who.person, tx)).length >= MOST_OF_ONE) return { fault: 'too_many' } as const
        const row = await table.insert(tx, facts)
        await within(tx, [entryOf('passkey_added', facts, { by: who.person, via: 'console', device })])
        return { passkey: toPasskey(row) }
      })
    },

    async challenge(about, who) {
      const own = await table.of(who.person)
      if (own.length === 0) return null
      const { challenge, sealed } = challenges.begin(who, about)
      const { generateAuthenticationOptions } = await webauthn()
      const options = await generateAuthenticationOptions({
        rpID: rpId,
        challenge: bytes(bytesOf(challenge)),
        allowCredentials: own.map((row) => ({ id: row.credential_id.toString('base64url') })),
        userVerification: 'required',
        timeout: CHALLENGE_MS / 2,
      })
      return { options, sealed }
    },

    async prove({ sealed, response, about, who }) {
      const challenge = challenges.open(sealed, who, about)
      if (!challenge) return { fault: 'expired' }
      const given = parse(usedSchema, response)
      if (!given) return { fault: 'not_verified' }
      const own = await table.of(who.person)
      const row = own.find((one) => one.credential_id.toString('base64url') === given.id)
      if (!row) return { fault: 'unknown' }
      const verified = await orNull(async () =>
        (await webauthn()).verifyAuthenticationResponse({
          // Checked above; what the types ask for besides is not read.
          response: given as AuthenticationResponseJSON,
          ...expectedOf(challenge),
          credential: { id: given.id, publicKey: bytes(row.public_key), counter: row.counter },
        }),
      )
      if (!verified?.verified) return { fault: 'not_verified' }
      const { newCounter } = verified.authenticationInfo
      const isDone = await database.transaction(async (tx) => {
        if (!(await challenges.useUp(tx, challenge))) return false
        return table.count(tx, row, newCounter)
      })
      return isDone ? { person: { ...who.person, assurance: 'passkey' } } : { fault: 'used' }
    },

    async remove({ id, by, via }) {
      return database.transaction(async (tx) => {
        const row = await table.find(tx, id)
        if (!row || !(isSameParty(row, by) || by.roles.includes('admin'))) return false
        if (!(await table.remove(tx, id))) return false
        await within(tx, [entryOf('passkey_removed', row, { by, via, device: null })])
        return true
      })
    },
  }
}

function isFresh({ authenticatedAt }: Person, nowMs: number): boolean {
  if (authenticatedAt === null) return false
  const ageMs = nowMs - authenticatedAt * 1000
  return ageMs <= FRESH_MS && ageMs >= -SKEW_MS
}

function parse<Value>(schema: z.ZodType<Value>, text: string): Value | null {
  try {
    return schema.safeParse(JSON.parse(text)).data ?? null
  } catch {
    // Not JSON: no browser sent it.
    return null
  }
}

/** The library wants bytes of their own, not a view of a pool. */
function bytes(buffer: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer)
}

/** Whose it is stands where others have the requester, so that it can be erased like every name. */
function entryOf(
  kind: Kind,
  { id, issuer, subject }: PasskeyFacts,
  { by, via, device }: { by: Person; via: string; device: string | null },
): Entry {
  const nobody = { onBehalfOf: null, actors: [], owner: null, groups: [], client: null, expiresAt: 0 }
  return {
    kind,
    principal: { issuer, subject, ...nobody },
    reviewer: by,
    detail: { passkey: id, ...(device !== null && { device }), assurance: by.assurance, via },
  }
}
