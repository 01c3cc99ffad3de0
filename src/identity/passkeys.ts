import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { isIP } from 'node:net'
import {
  type AuthenticationResponseJSON,
  generateAuthenticationOptions,
  generateRegistrationOptions,
  type RegistrationResponseJSON,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
} from '@simplewebauthn/server'
import { z } from 'zod'
import { lengthPrefixed } from '../domain/bytes.ts'
import type { Appended, Entry, Kind } from '../domain/entry.ts'
import { isSameParty, type Party, type Person } from '../domain/principal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database, Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type Keys, openValue, sealValue } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'
import type { Guest } from './front-desk.ts'

/** A passkey, as its person sees it. Times are milliseconds since the epoch. */
export interface Passkey {
  readonly id: string
  readonly person: Party
  readonly name: string
  readonly addedAt: number
  readonly usedAt: number | null
}

/** The very vote that a passkey is used for: all of it is in what the authenticator signs. */
export interface VoteAbout {
  readonly approval: string
  /** Hex. */
  readonly digest: string
  readonly cardHash: string
  readonly decision: 'approve'
}

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

interface Row {
  readonly id: string
  readonly credential_id: Buffer
  readonly issuer: string
  readonly subject: string
  readonly name: string
  readonly public_key: Buffer
  readonly counter: number
  readonly added_at: Date
  readonly used_at: Date | null
  readonly kid: string
  readonly mac: Buffer
}

type Facts = Omit<Row, 'used_at' | 'kid' | 'mac'>

interface Pending {
  readonly nonce: string
  readonly session: string
  readonly person: Party
  /** Null where a passkey is added. */
  readonly about: VoteAbout | null
  readonly endsAt: number
}

const LABEL = 'countersign passkey v1'
const PENDING_LABEL = 'passkey challenge'
const COLUMNS = 'id, credential_id, issuer, subject, name, public_key, counter, added_at, used_at, kid, mac'
const PENDING_MS = 10 * 60_000
/** How old the sign-in may be after which one is added, and how far the clocks may be apart. */
const [FRESH_MS, SKEW_MS] = [5 * 60_000, 60_000]
const MOST_OF_ONE = 10
const MOST_LISTED = 1000

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
 * its digest, the card that was seen and the decision, with the person verified by their device. Rows carry a MAC, so that
 * a key that somebody writes into the table is nobody's.
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
  const { database, keys, within, clock, log } = parts
  const { hostname: rpId, origin } = new URL(parts.publicUrl)

  async function read(tx: Tx, where: string, params: readonly unknown[]): Promise<readonly Row[]> {
    const { rows } = await tx.query<Row>(
      `SELECT ${COLUMNS} FROM passkey WHERE ${where} ORDER BY added_at, id LIMIT ${MOST_LISTED}`,
      [...params],
    )
    return rows.filter((row) => {
      const isGenuine = isValidMac(keys.mac, LABEL, macParts(row), row)
      if (!isGenuine) log.error({ event: 'passkey_forged', passkey: row.id }, 'a passkey was not added by a gateway')
      return isGenuine
    })
  }

  const readOf = ({ issuer, subject }: Party, tx: Tx = database) =>
    read(tx, 'issuer = $1 AND subject = $2', [issuer, subject])

  function begin(who: Guest, about: VoteAbout | null): { pending: Pending; sealed: string } {
    const { issuer, subject } = who.person
    const nonce = randomBytes(32).toString('base64url')
    const pending = { nonce, session: who.id, person: { issuer, subject }, about, endsAt: clock.now() + PENDING_MS }
    const sealed = sealValue(keys.cookie, Buffer.from(JSON.stringify(pending), 'utf8'), [PENDING_LABEL])
    return { pending, sealed: sealed.toString('base64url') }
  }

  /** Null unless it was asked of this session, for this. */
  function open(sealed: string, who: Guest, about: VoteAbout | null): Pending | null {
    const opened = openValue(keys.cookie, Buffer.from(sealed, 'base64url'), [PENDING_LABEL])
    if (!opened) return null
    // Nobody but `begin` wrote it: it was authenticated.
    const pending = JSON.parse(opened.toString('utf8')) as Pending
    const isOwn = pending.session === who.id && isSameParty(pending.person, who.person)
    return isOwn && isSameVote(pending.about, about) && clock.now() < pending.endsAt ? pending : null
  }

  /** Every challenge is answered once. */
  async function useUp(tx: Tx, { nonce, endsAt }: Pending): Promise<boolean> {
    const hash = createHash('sha256').update('countersign passkey challenge v1\0').update(nonce).digest()
    const { rowCount } = await tx.query(
      'INSERT INTO used_ticket (id_hash, ends_at) VALUES ($1, $2) ON CONFLICT DO NOTHING',
      [hash, new Date(endsAt + SKEW_MS)],
    )
    return rowCount === 1
  }

  /** What the library throws says what does not hold; it is logged, and a person is told no more than that. */
  async function orNull<Value>(work: () => Promise<Value>): Promise<Value | null> {
    try {
      return await work()
    } catch (error) {
      log.info({ event: 'passkey_refused', err: error }, 'a passkey was not accepted')
      return null
    }
  }

  function sign(facts: Facts): { kid: string; mac: Buffer } {
    return computeMac(keys.mac, LABEL, macParts(facts))
  }

  return {
    list: async (person) => (await (person ? readOf(person) : read(database, 'true', []))).map(toPasskey),

    async offer(who) {
      if (!isFresh(who.person, clock.now())) return { fault: 'sign_in_too_old' }
      const { pending, sealed } = begin(who, null)
      const { issuer, subject, name } = who.person
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
        challenge: bytes(challengeOf(pending)),
        attestationType: 'none',
        excludeCredentials: (await readOf(who.person)).map((row) => ({ id: row.credential_id.toString('base64url') })),
        authenticatorSelection: { userVerification: 'required', residentKey: 'preferred' },
        timeout: PENDING_MS / 2,
      })
      return { options, sealed }
    },

    async add({ sealed, response, name, who }) {
      const pending = open(sealed, who, null)
      if (!pending) return { fault: 'expired' }
      const given = parse(addedSchema, response)
      const verified =
        given &&
        (await orNull(() =>
          verifyRegistrationResponse({
            // Checked above; what the types ask for besides is not read.
            response: given as RegistrationResponseJSON,
            expectedChallenge: challengeOf(pending).toString('base64url'),
            expectedOrigin: origin,
            expectedRPID: rpId,
            requireUserVerification: true,
          }),
        ))
      if (!verified?.verified) return { fault: 'not_verified' }
      const { credential: made, credentialDeviceType: device } = verified.registrationInfo
      const { issuer, subject } = who.person
      const facts: Facts = {
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
        if (!(await useUp(tx, pending))) return { fault: 'used' } as const
        if ((await readOf(who.person, tx)).length >= MOST_OF_ONE) return { fault: 'too_many' } as const
        const { kid, mac } = sign(facts)
        await tx.query(
          `INSERT INTO passkey (id, credential_id, issuer, subject, name, public_key, counter, added_at, kid, mac)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
          [
            facts.id,
            facts.credential_id,
            issuer,
            subject,
            name,
            facts.public_key,
            facts.counter,
            facts.added_at,
            kid,
            mac,
          ],
        )
        await within(tx, [entryOf('passkey_added', facts, { by: who.person, via: 'console', device })])
        return { passkey: toPasskey({ ...facts, used_at: null, kid, mac }) }
      })
    },

    async challenge(about, who) {
      const own = await readOf(who.person)
      if (own.length === 0) return null
      const { pending, sealed } = begin(who, about)
      const options = await generateAuthenticationOptions({
        rpID: rpId,
        challenge: bytes(challengeOf(pending)),
        allowCredentials: own.map((row) => ({ id: row.credential_id.toString('base64url') })),
        userVerification: 'required',
        timeout: PENDING_MS / 2,
      })
      return { options, sealed }
    },

    async prove({ sealed, response, about, who }) {
      const pending = open(sealed, who, about)
      if (!pending) return { fault: 'expired' }
      const given = parse(usedSchema, response)
      if (!given) return { fault: 'not_verified' }
      const own = await readOf(who.person)
      const row = own.find((one) => one.credential_id.toString('base64url') === given.id)
      if (!row) return { fault: 'unknown' }
      const verified = await orNull(() =>
        verifyAuthenticationResponse({
          // Checked above; what the types ask for besides is not read.
          response: given as AuthenticationResponseJSON,
          expectedChallenge: challengeOf(pending).toString('base64url'),
          expectedOrigin: origin,
          expectedRPID: rpId,
          credential: { id: given.id, publicKey: bytes(row.public_key), counter: row.counter },
          requireUserVerification: true,
        }),
      )
      if (!verified?.verified) return { fault: 'not_verified' }
      const { newCounter } = verified.authenticationInfo
      const isDone = await database.transaction(async (tx) => {
        if (!(await useUp(tx, pending))) return false
        const { kid, mac } = sign({ ...row, counter: newCounter })
        // Only from the counter that was checked: of two devices with one key, one is a copy.
        const { rowCount } = await tx.query(
          `UPDATE passkey SET counter = $3, used_at = clock_timestamp(), kid = $4, mac = $5
           WHERE id = $1 AND counter = $2`,
          [row.id, row.counter, newCounter, kid, mac],
        )
        return rowCount === 1
      })
      return isDone ? { person: { ...who.person, assurance: 'passkey' } } : { fault: 'used' }
    },

    async remove({ id, by, via }) {
      return database.transaction(async (tx) => {
        const [row] = await read(tx, 'id = $1', [id])
        if (!row || !(isSameParty(row, by) || by.roles.includes('admin'))) return false
        const { rowCount } = await tx.query('DELETE FROM passkey WHERE id = $1', [id])
        if (rowCount !== 1) return false
        await within(tx, [entryOf('passkey_removed', row, { by, via, device: null })])
        return true
      })
    },
  }
}

/** What the authenticator signs, along with where it was asked (WebAuthn, section 5.8.1): SHA-256 of all that it is for. */
function challengeOf({ nonce, session, person, about }: Pending): Buffer {
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

function macParts(row: Facts): (string | Uint8Array)[] {
  const { id, credential_id: credentialId, issuer, subject, name, public_key: publicKey, counter, added_at: at } = row
  return [id, credentialId, issuer, subject, name, publicKey, String(counter), String(at.getTime())]
}

function toPasskey({ id, issuer, subject, name, added_at: addedAt, used_at: usedAt }: Row): Passkey {
  return {
    id,
    person: { issuer, subject },
    name,
    addedAt: addedAt.getTime(),
    usedAt: usedAt?.getTime() ?? null,
  }
}

/** The library wants bytes of their own, not a view of a pool. */
function bytes(buffer: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer)
}

/** Whose it is stands where others have the requester, so that it can be erased like every name. */
function entryOf(
  kind: Kind,
  { id, issuer, subject }: Facts,
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
