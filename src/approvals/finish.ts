import type { Approval } from '../domain/approval.ts'
import type { Outcome, Stored } from '../domain/call.ts'
import type { Tx } from '../platform/database.ts'
import type { Ground } from './ground.ts'
import { decodeStored, encodeStored, type SealedField, sealAlso, unseal } from './seal.ts'
import { notify } from './store.ts'

interface Kept {
  readonly id: string
  readonly digest: Buffer
  readonly is_detached: boolean
  readonly wrapped: Buffer | null
  readonly sealed: Buffer | null
}

/**
 * Notes how the call that used an approval up has ended, and keeps the response of a detached one, encrypted. Only the
 * call that spent it is heard: a waiter that was told to come back has an outcome too, but not this approval's.
 */
export async function finish(
  ground: Ground,
  approval: Pick<Approval, 'id'>,
  { callId, outcome }: { callId: string; outcome: Outcome },
): Promise<void> {
  if (outcome.name === 'pending') return
  const { database, keys } = ground
  await database.transaction(async (tx) => {
    const { rows } = await tx.query<Kept>(
      `SELECT id, digest, is_detached, wrapped_key AS wrapped, sealed_response AS sealed FROM approval
       WHERE id = $1 AND state = 'spent' AND spent_call = $2 AND (outcome IS NULL OR outcome = 'unknown')
       FOR NO KEY UPDATE`,
      [approval.id, callId],
    )
    const kept = rows[0]
    if (!kept) return
    const { wrapped } = kept
    const response = kept.is_detached && wrapped !== null ? (outcome.response ?? null) : null
    const sealed =
      response &&
      wrapped &&
      sealAlso(keys.payload, { ...kept, wrapped }, { field: 'response', plaintext: encodeStored(response) })
    await tx.query('UPDATE approval SET outcome = $2, sealed_response = $3, stored_bytes = $4 WHERE id = $1', [
      kept.id,
      outcome.name,
      sealed,
      sealed?.length ?? 0,
    ])
    await notify(tx, [kept.id])
  })
}

/** A response that is kept, not read yet: to read one takes the work that its size says. */
export interface KeptResponse {
  readonly bytes: number
  /** Null if it was erased meanwhile. */
  read(): Promise<Stored | null>
}

/** The response of a detached call; null if there is none (yet, or any more). */
export async function findResponse(ground: Ground, id: string): Promise<KeptResponse | null> {
  // Postgres knows the length without fetching the bytes.
  const { rows } = await ground.database.query<{ bytes: number | null }>(
    'SELECT length(sealed_response) AS bytes FROM approval WHERE id = $1',
    [id],
  )
  const bytes = rows[0]?.bytes ?? null
  if (bytes === null) return null
  return { bytes, read: () => readSealed(ground, { id, column: 'response', fields: ['response'] }) }
}

/** The call as it was approved; null once it was used, or its approval ended. */
export async function readCall(ground: Ground, id: string): Promise<Stored | null> {
  return readSealed(ground, { id, column: 'call', fields: ['call', 'detached'] })
}

/** The same, only if its client asked for it to be carried out without it. Throws `GatewayError` if it did not. */
export async function readDetachedCall(ground: Ground, id: string): Promise<Stored | null> {
  return readSealed(ground, { id, column: 'call', fields: ['detached'] })
}

/** In a transaction: from now on the call is one that is carried out without its client. Nothing, if it is one already. */
export async function sealAsDetached({ keys }: Pick<Ground, 'keys'>, tx: Tx, id: string): Promise<void> {
  const { rows } = await tx.query<Kept>(
    `SELECT id, digest, is_detached, wrapped_key AS wrapped, sealed_call AS sealed FROM approval WHERE id = $1
     FOR NO KEY UPDATE`,
    [id],
  )
  const kept = rows[0]
  // Only under the lock it is known: another call may have asked for the same a moment ago.
  if (kept?.is_detached) return
  const { wrapped = null, sealed = null } = kept ?? {}
  const plaintext = kept && unseal(keys.payload, kept, { field: 'call', sealed })
  if (!kept || !plaintext || wrapped === null) return
  const detached = sealAlso(keys.payload, { ...kept, wrapped }, { field: 'detached', plaintext })
  await tx.query('UPDATE approval SET sealed_call = $2 WHERE id = $1', [id, detached])
}

async function readSealed(
  { database, keys }: Pick<Ground, 'database' | 'keys'>,
  { id, column, fields }: { id: string; column: 'call' | 'response'; fields: readonly [SealedField, SealedField?] },
): Promise<Stored | null> {
  // In base64 a MiB is read with half the work that it takes in hex, the form in which the driver has bytes.
  const { rows } = await database.query<Omit<Kept, 'sealed'> & { readonly sealed: string | null }>(
    `SELECT id, digest, is_detached, wrapped_key AS wrapped, encode(sealed_${column}, 'base64') AS sealed
     FROM approval WHERE id = $1`,
    [id],
  )
  const kept = rows[0]
  const sealed = kept?.sealed ? Buffer.from(kept.sealed, 'base64') : null
  const [first, second = first] = fields
  const bytes = kept ? open(first) : null
  return bytes && decodeStored(bytes)

  function open(field: SealedField): Buffer | null {
    try {
      return kept ? unseal(keys.payload, kept, { field, sealed }) : null
    } catch (error) {
      if (field === second) throw error
      return open(second)
    }
  }
}
