import { createHash } from 'node:crypto'
import { GatewayError } from '../domain/error.ts'
import type { Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'

const LABEL = 'countersign policy set v1'
const PAGE = 100
const MOST_PAGES = 100

/** A published version, without its text. */
export interface Published {
  readonly version: number
  /** Hex SHA-256 of the canonical text. */
  readonly hash: string
  readonly publishedAt: Date
  readonly publishedBy: string
}

interface NewSet {
  readonly after: number
  readonly hash: string
  readonly canonical: Buffer
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly by: string
}

interface Row {
  readonly version: number | string
  readonly hash: string
  readonly published_at: Date
  readonly published_by: string
  readonly kid: string
  readonly mac: Buffer
  readonly is_whole: boolean
}

const COLUMNS = `version, hash, published_at, published_by, kid, mac, encode(sha256(canonical), 'hex') = hash AS is_whole`

/** The versions in the store. What carries no valid MAC is told to `onForged`, and otherwise as if it were not there. */
export interface PublishedSets {
  /** The highest version above another; null if there is none. */
  newest(tx: Tx, above: number): Promise<Published | null>
  /** The newest version with this content; null if it was never published. */
  withHash(tx: Tx, hash: string): Promise<Published | null>
  /** The canonical text of a version. Throws `GatewayError('store')` if it is not what was published. */
  text(tx: Tx, published: Published): Promise<Buffer>
  /**
   * Writes the version after another, which the caller found to be the newest before it judged the rest; null if some
   * replica was faster, and the caller has to look again.
   */
  insert(tx: Tx, set: NewSet): Promise<Published | null>
}

export function createPublishedSets(keys: KeyPair<SecretKey>, onForged: (version: string) => void): PublishedSets {
  function authentic(row: Row): Published | null {
    const published = toPublished(row)
    if (published && row.is_whole && isValidMac(keys, LABEL, macParts(published), { kid: row.kid, mac: row.mac }))
      return published
    onForged(String(row.version))
    return null
  }

  async function newest(tx: Tx, above: number): Promise<Published | null> {
    let below: number | string = '9223372036854775807'
    for (let page = 0; page < MOST_PAGES; page++) {
      const { rows }: { rows: Row[] } = await tx.query<Row>(
        `SELECT ${COLUMNS} FROM countersign.policy_set
         WHERE version > $1 AND version <= $2 ORDER BY version DESC LIMIT ${PAGE}`,
        [above, below],
      )
      for (const row of rows) {
        const published = authentic(row)
        if (published) return published
      }
      const last = rows.at(-1)
      if (!last || rows.length < PAGE) return null
      below = (BigInt(last.version) - 1n).toString()
    }
    throw new GatewayError('store', 'the store holds thousands of policy sets that no gateway published')
  }

  /** The next free number, past any that a forged row occupies; null if a published one follows already. */
  async function nextVersion(tx: Tx, after: number): Promise<number | null> {
    const { rows } = await tx.query<Row>(
      `SELECT ${COLUMNS} FROM countersign.policy_set WHERE version > $1 ORDER BY version LIMIT 1000`,
      [after],
    )
    if (rows.some((row) => authentic(row) !== null)) return null
    const taken = new Set(rows.map(({ version }) => String(version)))
    let version = after + 1
    while (taken.has(String(version))) version++
    return version
  }

  return {
    newest,
    async withHash(tx, hash) {
      const { rows } = await tx.query<Row>(
        `SELECT ${COLUMNS} FROM countersign.policy_set WHERE hash = $1 ORDER BY version DESC LIMIT ${PAGE}`,
        [hash],
      )
      for (const row of rows) {
        const published = authentic(row)
        if (published) return published
      }
      return null
    },
    async text(tx, { version, hash }) {
      const { rows } = await tx.query<{ canonical: Buffer }>(
        'SELECT canonical FROM countersign.policy_set WHERE version = $1',
        [version],
      )
      const canonical = rows[0]?.canonical
      if (canonical && createHash('sha256').update(canonical).digest('hex') === hash) return canonical
      throw new GatewayError('store', `policy version ${version} is not what was published`)
    },
    async insert(tx, { after, hash, canonical, at, by }) {
      const version = await nextVersion(tx, after)
      if (version === null) return null
      const published = { version, hash, publishedAt: new Date(at), publishedBy: by }
      const { kid, mac } = computeMac(keys, LABEL, macParts(published))
      const { rowCount } = await tx.query(
        `INSERT INTO countersign.policy_set (version, hash, canonical, published_at, published_by, kid, mac)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (version) DO NOTHING`,
        [version, hash, canonical, published.publishedAt, by, kid, mac],
      )
      return rowCount === 1 ? published : null
    },
  }
}

function toPublished(row: Row): Published | null {
  // An int8 that does not fit a number comes as text, and was published by nobody.
  if (typeof row.version !== 'number') return null
  return { version: row.version, hash: row.hash, publishedAt: row.published_at, publishedBy: row.published_by }
}

function macParts({ version, hash, publishedAt, publishedBy }: Published): readonly string[] {
  return [String(version), hash, String(publishedAt.getTime()), publishedBy]
}
