import type { Party } from '../domain/principal.ts'
import type { Database, Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type Keys } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'

/** A passkey, as its person sees it. Times are milliseconds since the epoch. */
export interface Passkey {
  readonly id: string
  readonly person: Party
  readonly name: string
  readonly addedAt: number
  readonly usedAt: number | null
}

export interface PasskeyRow {
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

export type PasskeyFacts = Omit<PasskeyRow, 'used_at' | 'kid' | 'mac'>

const LABEL = 'countersign passkey v1'
const COLUMNS = 'id, credential_id, issuer, subject, name, public_key, counter, added_at, used_at, kid, mac'
const MOST_LISTED = 1000

/** The rows of passkeys. Each carries a MAC, so that a key that somebody writes into the table is nobody's. */
export function createPasskeyTable(parts: {
  readonly database: Database
  readonly keys: Pick<Keys, 'mac'>
  readonly log: Logger
}) {
  const { database, keys, log } = parts

  async function read(tx: Tx, where: string, params: readonly unknown[]): Promise<readonly PasskeyRow[]> {
    const { rows } = await tx.query<PasskeyRow>(
      `SELECT ${COLUMNS} FROM passkey WHERE ${where} ORDER BY added_at, id LIMIT ${MOST_LISTED}`,
      [...params],
    )
    return rows.filter((row) => {
      const isGenuine = isValidMac(keys.mac, LABEL, macParts(row), row)
      if (!isGenuine) log.error({ event: 'passkey_forged', passkey: row.id }, 'a passkey was not added by a gateway')
      return isGenuine
    })
  }

  return {
    /** Everybody's; oldest first, as everywhere here. */
    all: (tx: Tx = database) => read(tx, 'true', []),

    of: ({ issuer, subject }: Party, tx: Tx = database) => read(tx, 'issuer = $1 AND subject = $2', [issuer, subject]),

    async find(tx: Tx, id: string): Promise<PasskeyRow | null> {
      const [row] = await read(tx, 'id = $1', [id])
      return row ?? null
    },

    async insert(tx: Tx, facts: PasskeyFacts): Promise<PasskeyRow> {
      const row = { ...facts, used_at: null, ...computeMac(keys.mac, LABEL, macParts(facts)) }
      await tx.query(
        `INSERT INTO passkey (id, credential_id, issuer, subject, name, public_key, counter, added_at, kid, mac)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
        [...macColumns(row), row.added_at, row.kid, row.mac],
      )
      return row
    },

    /** False unless the counter still is the one that was checked: of two devices with one key, one is a copy. */
    async count(tx: Tx, row: PasskeyRow, counter: number): Promise<boolean> {
      const { kid, mac } = computeMac(keys.mac, LABEL, macParts({ ...row, counter }))
      const { rowCount } = await tx.query(
        `UPDATE passkey SET counter = $3, used_at = clock_timestamp(), kid = $4, mac = $5
         WHERE id = $1 AND counter = $2`,
        [row.id, row.counter, counter, kid, mac],
      )
      return rowCount === 1
    },

    async remove(tx: Tx, id: string): Promise<boolean> {
      const { rowCount } = await tx.query('DELETE FROM passkey WHERE id = $1', [id])
      return rowCount === 1
    },
  }
}

function macColumns(row: PasskeyFacts) {
  const { id, credential_id: credentialId, issuer, subject, name, public_key: publicKey, counter } = row
  return [id, credentialId, issuer, subject, name, publicKey, counter] as const
}

function macParts(row: PasskeyFacts): (string | Uint8Array)[] {
  const { id, credential_id: credentialId, issuer, subject, name, public_key: publicKey, counter, added_at: at } = row
  return [id, credentialId, issuer, subject, name, publicKey, String(counter), String(at.getTime())]
}

export function toPasskey({ id, issuer, subject, name, added_at: addedAt, used_at: usedAt }: PasskeyRow): Passkey {
  return {
    id,
    person: { issuer, subject },
    name,
    addedAt: addedAt.getTime(),
    usedAt: usedAt?.getTime() ?? null,
  }
}
