import type { Appended, Entry } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import { type Principal, principalKey } from '../domain/principal.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Database, Tx } from '../platform/database.ts'
import { newUserId } from '../platform/id.ts'
import { deriveSecret, type Keys, openValue, type SecretKey, sealValue, selectKey } from '../platform/keys.ts'
import { createSchemaCheck } from '../platform/schema.ts'

/** What an agent logs in with where its client keeps a user and a password for longer than a token lasts. */
export interface MintedCredential {
  /** The one that it is for. */
  readonly upstream: string
  readonly user: string
  readonly password: string
  /** Milliseconds since the epoch. */
  readonly endsAt: number
}

/** Somebody says that it is such a user: what it has to prove, and who it is then. */
export interface LoginChallenge {
  /** The password that it has to know; for a user who does not exist one that nobody knows, so that all takes its way. */
  readonly password: string
  /** The same at every attempt with one user name. */
  readonly salt: Buffer
  /** Who it is, unless it is suspended; or the one refusal that there is, whatever was wrong. */
  settle(isProven: boolean): Principal | Refusal
}

/** User names and passwords of the gateway's own, each of one principal, for one upstream and some time. */
export interface Minted {
  /** Throws `GatewayError` if the store cannot be reached. */
  mint(principal: Principal, upstream: string): Promise<MintedCredential | Refusal>
  /**
   * Takes user names for which `isMintedUser` holds. Throws `GatewayError` if the store cannot be reached.
   * @param how.source where the client is, for counting what is refused
   */
  challenge(user: string, how: { readonly upstream: string; readonly source: string }): Promise<LoginChallenge>
  /** Forgets what has ended. */
  sweep(): Promise<void>
}

export interface MintedParts {
  readonly database: Database
  /** For those whom nobody knows yet, so that however many they are, they keep nobody else from the store. */
  readonly lookups: Tx
  readonly keys: Pick<Keys, 'mac' | 'payload'>
  readonly options: {
    readonly lifetimeMs: number
    /** Of one principal at one time; 0: none are minted, and none are good. */
    readonly mostOfOne: number
  }
  /** Chains entries inside a transaction, last in it. */
  within(tx: Tx, entries: readonly Entry[]): Promise<Appended>
  isSuspended(principal: Principal): boolean
  /** Whether tokens of this issuer are still accepted. */
  isTrusted(issuer: string): boolean
  /** Told of each attempt that came to nothing. */
  onRefused(source: string): void
  readonly clock: Pick<Clock, 'now'>
}

interface Row {
  readonly id: string
  readonly upstream: string
  /** The principal, encrypted. */
  readonly sealed: Buffer
  readonly ends_at: Date
  /** Of the key that the password is derived with. */
  readonly kid: string
}

/** The first schema with a place for them; in an older one there are none. */
const SCHEMA = 14
const PREFIX = 'cs_'
const USER = /^cs_[0-9a-hjkmnp-tv-z]{20}$/
const SEALED = 'minted credential'
const PASSWORD = 'countersign minted password v1'
const SALT = 'countersign minted salt v1'
const SALT_BYTES = 16

/** Whether a user name is of the form of those that are minted: nobody else's has it by chance. */
export function isMintedUser(user: string): boolean {
  return USER.test(user)
}

/**
 * The password is never kept: it is derived, with a key that the database does not hold, from everything that its row
 * says. Whoever writes rows or changes them gets passwords that nobody knows.
 */
export function createMinted(parts: MintedParts): Minted {
  const { database, lookups, keys, options, within, isSuspended, isTrusted, onRefused, clock } = parts
  const hasSchema = createSchemaCheck()

  /** A row that is in no store: it has ended, and opens as nobody. */
  function nobody(id: string): Row {
    return { id, upstream: '', sealed: Buffer.alloc(0), ends_at: new Date(0), kid: keys.mac.kid }
  }

  function open({ id, sealed, ends_at: endsAt }: Row): Principal | null {
    const opened = openValue(keys.payload, sealed, [SEALED, id])
    if (!opened) return null
    // Nobody but `mint` wrote it: it was authenticated.
    const principal = JSON.parse(opened.toString('utf8')) as Principal
    return isTrusted(tokenIssuer(principal)) ? { ...principal, expiresAt: Math.floor(endsAt.getTime() / 1000) } : null
  }

  async function find(id: string, upstream: string): Promise<Row | null> {
    if (options.mostOfOne === 0 || !(await hasSchema(lookups, SCHEMA))) return null
    const { rows } = await lookups.query<Row>(
      `SELECT id, upstream, sealed, ends_at, kid FROM minted_credential
       WHERE id = $1 AND upstream = $2 AND ends_at > $3`,
      [id, upstream, new Date(clock.now())],
    )
    // Looked at here as well: what has ended, no database makes go on.
    return rows.find(({ ends_at: endsAt }) => endsAt.getTime() > clock.now()) ?? null
  }

  return {
    async mint(principal, upstream) {
      if (options.mostOfOne === 0) return NONE
      if (isSuspended(principal)) return SUSPENDED
      if (!(await hasSchema(database, SCHEMA))) return NOT_MIGRATED
      return database.transaction(async (tx) => {
        const whose = principalKey(principal)
        const now = clock.now()
        const { live, first_end: firstEnd } = await count(tx, whose, now)
        if (live >= options.mostOfOne && firstEnd) return tooMany(firstEnd.getTime() - now)
        const id = newUserId()
        const sealed = sealValue(keys.payload, Buffer.from(JSON.stringify(principal), 'utf8'), [SEALED, id])
        const endsAt = now + options.lifetimeMs
        const row: Row = { id, upstream, sealed, ends_at: new Date(endsAt), kid: keys.mac.kid }
        await tx.query(
          `INSERT INTO minted_credential (id, upstream, principal_key, sealed, kid, ends_at)
           VALUES ($1, $2, $3, $4, $5, $6)`,
          [id, upstream, whose, sealed, row.kid, row.ends_at],
        )
        const user = PREFIX + id
        const detail = { user, ends_at: row.ends_at.toISOString() }
        await within(tx, [{ kind: 'credential_minted', principal, upstream, detail }])
        return { upstream, user, password: passwordOf(row, keys.mac.current), endsAt }
      })
    },

    async challenge(user, { upstream, source }) {
      const id = user.slice(PREFIX.length)
      const found = await find(id, upstream)
      const key = found && selectKey(keys.mac, found.kid)
      const row = found && key ? found : nobody(id)
      return {
        password: passwordOf(row, key ?? keys.mac.current),
        salt: deriveSecret(keys.mac.current, SALT, [id]).subarray(0, SALT_BYTES),
        settle(isProven) {
          const principal = isProven ? open(row) : null
          if (principal) return isSuspended(principal) ? NO_SESSION : principal
          onRefused(source)
          return REFUSED
        },
      }
    },

    async sweep() {
      if (!(await hasSchema(database, SCHEMA))) return
      await database.query('DELETE FROM minted_credential WHERE ends_at < $1', [new Date(clock.now())])
    },
  }
}

function passwordOf({ id, upstream, sealed, ends_at: endsAt }: Row, key: SecretKey): string {
  return deriveSecret(key, PASSWORD, [id, upstream, String(endsAt.getTime()), sealed]).toString('base64url')
}

/** Requests of the same moment do not see each other's: together they may exceed it, by as many as may be under way. */
async function count(tx: Tx, whose: Buffer, now: number): Promise<{ live: number; first_end: Date | null }> {
  const { rows } = await tx.query<{ live: number; first_end: Date | null }>(
    `SELECT count(*) AS live, min(ends_at) AS first_end FROM minted_credential
     WHERE principal_key = $1 AND ends_at > $2`,
    [whose, new Date(now)],
  )
  const [row] = rows
  if (!row) throw new GatewayError('store', 'the store does not count')
  return row
}

/** Of a token that names whom the agent acts for, that is the subject's. */
function tokenIssuer({ issuer, onBehalfOf }: Principal): string {
  return onBehalfOf?.issuer ?? issuer
}

const NONE = refuse('not_found', 'Not minted. This gateway makes no credentials: use a token.')
const SUSPENDED = refuse('suspended', 'Not minted. This agent is suspended; a person has to resume it.')
const NO_SESSION = refuse('suspended', 'Not executed. This agent is suspended; a person has to resume it.')
const NOT_MIGRATED = refuse(
  'unavailable',
  'Not minted. The store has no place for it yet: its operator has to run `countersign migrate`.',
  { retryAfterS: 60 },
)

function tooMany(untilOneEndsMs: number): Refusal {
  return refuse(
    'rate_limited',
    'Not minted. This agent has as many credentials as it may have; use those, or wait until one has ended.',
    { retryAfterS: untilOneEndsMs / 1000 },
  )
}

const REFUSED = refuse(
  'unauthenticated',
  'Not executed. User name and password are not accepted: one of them is wrong, or they have ended.',
)
