import { createHash, randomBytes } from 'node:crypto'
import { lengthPrefixed } from '../domain/bytes.ts'
import type { Party } from '../domain/principal.ts'
import type { Database, Tx } from '../platform/database.ts'
import { type KeyPair, openValue, type SecretKey, sealValue } from '../platform/keys.ts'
import type { SignedIn } from './sign-in.ts'

/** Somebody who is signed in with a browser. */
export interface Session extends SignedIn {
  /** Hex of what the cookie hashes to: names the session, and opens nothing. */
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly endsAt: number
}

export interface Sessions {
  /** The secret for the cookie: 256 bits in base64url. */
  open(signedIn: SignedIn): Promise<string>
  /**
   * Null for a secret of no session, or of one that has ended, or was not used for too long. `isUse`: a person did
   * something, rather than a page that was left open.
   */
  find(secret: string, how?: { readonly isUse: boolean }): Promise<Session | null>
  /** Whether this process may ask the identity provider again; false while another one does. */
  claim(session: Pick<Session, 'id'>): Promise<boolean>
  /** Lets others ask: this process has got an answer, or none. */
  release(session: Pick<Session, 'id'>): Promise<void>
  /** Keeps what the identity provider said since; whoever claimed it still does. */
  update(session: Session, signedIn: SignedIn): Promise<void>
  /**
   * Gives what the groups are asked with to somebody else, who alone has it then: a refresh token of which there are two
   * copies is one that was stolen, to many identity providers. Null if the session is over, or is being asked about.
   */
  handOver(tx: Tx, session: Pick<Session, 'id'>): Promise<SignedIn | null>
  end(session: Pick<Session, 'id'>): Promise<void>
  /** Ends every session of a person; how many there were. */
  endAll(party: Party): Promise<number>
  /** Forgets what has ended. */
  sweep(): Promise<void>
}

export interface SessionLimits {
  readonly lifetimeMs: number
  /** Without a request for so long it is over. */
  readonly idleMs: number
}

const SECRET_BYTES = 32
const SECRET = /^[A-Za-z0-9_-]{43}$/
const LABEL = 'console session'
/** Browsers of one person; the oldest is signed out. */
const MOST_OF_ONE = 20
/** A row is not written for every request. */
const SEEN_EVERY_MS = 60_000
/** More than asking an identity provider may take. */
const ASKING_MS = 30_000

/** Sessions of people, in the store, so that every replica knows them. */
export function createSessions(parts: {
  readonly database: Database
  /** `keys.cookie`. */
  readonly keys: KeyPair<SecretKey>
  readonly limits: SessionLimits
}): Sessions {
  const { database, keys, limits } = parts

  return {
    async open(signedIn) {
      const secret = randomBytes(SECRET_BYTES).toString('base64url')
      const hash = hashOf(secret)
      const who = personKey(signedIn.person)
      await database.transaction(async (tx) => {
        await tx.query(
          `DELETE FROM session WHERE id_hash IN (
             SELECT id_hash FROM session WHERE person_key = $1 ORDER BY started_at DESC OFFSET $2)`,
          [who, MOST_OF_ONE - 1],
        )
        await tx.query(
          `INSERT INTO session (id_hash, person_key, sealed, ends_at)
           VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond')`,
          [hash, who, seal(hash, signedIn), limits.lifetimeMs],
        )
      })
      return secret
    },

    async find(secret, { isUse } = { isUse: true }) {
      if (!SECRET.test(secret)) return null
      const hash = hashOf(secret)
      const { rows } = await database.query<{ sealed: Buffer; ends_at: Date; unseen_ms: number }>(
        `SELECT sealed, ends_at, (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::float8 AS unseen_ms
         FROM session WHERE id_hash = $1 AND ends_at > clock_timestamp()
           AND seen_at > clock_timestamp() - $2 * interval '1 millisecond'`,
        [hash, limits.idleMs],
      )
      const [row] = rows
      const opened = row && openValue(keys, row.sealed, [LABEL, hash])
      if (!row || !opened) return null
      if (isUse && row.unseen_ms > SEEN_EVERY_MS) {
        await database.query('UPDATE session SET seen_at = clock_timestamp() WHERE id_hash = $1', [hash])
      }
      // Nobody but `seal` wrote it: it was authenticated.
      const signedIn = JSON.parse(opened.toString('utf8')) as SignedIn
      return { ...signedIn, id: hash.toString('hex'), endsAt: row.ends_at.getTime() }
    },

    async claim({ id }) {
      const { rowCount } = await database.query(
        `UPDATE session SET asking_until = clock_timestamp() + $2 * interval '1 millisecond'
         WHERE id_hash = $1 AND (asking_until IS NULL OR asking_until < clock_timestamp())`,
        [Buffer.from(id, 'hex'), ASKING_MS],
      )
      return rowCount === 1
    },

    async release({ id }) {
      await database.query('UPDATE session SET asking_until = NULL WHERE id_hash = $1', [Buffer.from(id, 'hex')])
    },

    async update({ id }, signedIn) {
      const hash = Buffer.from(id, 'hex')
      await database.query('UPDATE session SET sealed = $2 WHERE id_hash = $1', [hash, seal(hash, signedIn)])
    },

    async handOver(tx, { id }) {
      const hash = Buffer.from(id, 'hex')
      const { rows } = await tx.query<{ sealed: Buffer }>(
        `SELECT sealed FROM session WHERE id_hash = $1 AND ends_at > clock_timestamp()
           AND (asking_until IS NULL OR asking_until < clock_timestamp()) FOR UPDATE`,
        [hash],
      )
      const [row] = rows
      const opened = row && openValue(keys, row.sealed, [LABEL, hash])
      if (!opened) return null
      // Nobody but `seal` wrote it: it was authenticated.
      const signedIn = JSON.parse(opened.toString('utf8')) as SignedIn
      const left = { ...signedIn, tokens: { ...signedIn.tokens, refresh: null } }
      await tx.query('UPDATE session SET sealed = $2 WHERE id_hash = $1', [hash, seal(hash, left)])
      return signedIn
    },

    async end({ id }) {
      await database.query('DELETE FROM session WHERE id_hash = $1', [Buffer.from(id, 'hex')])
    },

    async endAll(party) {
      const { rowCount } = await database.query('DELETE FROM session WHERE person_key = $1', [personKey(party)])
      return rowCount
    },

    async sweep() {
      await database.query(
        `DELETE FROM session WHERE ends_at < clock_timestamp()
           OR seen_at < clock_timestamp() - $1 * interval '1 millisecond'`,
        [limits.idleMs],
      )
    },
  }

  function seal(hash: Buffer, { person, issuerName, tokens, checkedAt }: SignedIn): Buffer {
    const text = JSON.stringify({ person, issuerName, tokens, checkedAt } satisfies SignedIn)
    return sealValue(keys, Buffer.from(text, 'utf8'), [LABEL, hash])
  }
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update('countersign session v1\0').update(secret).digest()
}

function personKey({ issuer, subject }: Party): Buffer {
  return createHash('sha256')
    .update(lengthPrefixed('countersign person v1', [issuer, subject]))
    .digest()
}
