import { type DelegationDesk, type Known, MOST_AHEAD_MS, MOST_AWAY_MS } from '../domain/delegation.ts'
import { GatewayError } from '../domain/error.ts'
import { isSameParty, type Party } from '../domain/principal.ts'
import { sqlState, type Tx } from '../platform/database.ts'
import { newApprovalId } from '../platform/id.ts'
import {
  absentPerson,
  DELEGATIONS_SCHEMA,
  type DelegationRow,
  isGenuineDelegation,
  readDelegations,
  readStandIns,
  signDelegation,
  toDelegation,
} from './delegations.ts'
import { delegatedEntry, delegationEndedEntry } from './entries.ts'
import type { Ground } from './ground.ts'
import { toSignedPerson } from './signed-person.ts'
import { readNow } from './store.ts'

const MOST_KNOWN = 500

/** Who stands in for whom: said by the person who is away, about nobody but themselves. */
export function createDelegationDesk(ground: Ground): DelegationDesk {
  const { database, keys, hasSchema } = ground

  async function assertSchema(tx: Tx): Promise<void> {
    if (await hasSchema(tx, DELEGATIONS_SCHEMA)) return
    throw new GatewayError('store', `the schema is older than ${DELEGATIONS_SCHEMA}: nobody can be stood in for yet`)
  }

  return {
    async list(person) {
      if (!(await hasSchema(database, DELEGATIONS_SCHEMA))) return []
      const rows = await readDelegations(database, { open: person })
      return rows.filter((row) => isGenuineDelegation(keys.mac, row)).map(toDelegation)
    },

    known: (person) => readKnown(ground, person),

    async make({ by, delegate, from, until, via }) {
      if (isSameParty(by, delegate)) return { fault: 'oneself' }
      const known = (await readKnown(ground, by)).find((one) => isSameParty(one, delegate))
      if (!known) return { fault: 'not_known' }
      try {
        return await database.transaction(async (tx) => {
          await assertSchema(tx)
          const now = await readNow(tx)
          const begins = Math.max(from, now.getTime())
          // What is no number is not within anything.
          const isBounded = until > begins && until - begins <= MOST_AWAY_MS && begins - now.getTime() <= MOST_AHEAD_MS
          if (!isBounded) return { fault: 'bad_period' }
          // What is over makes room for the next.
          await tx.query(
            `UPDATE delegation SET ended_at = until
             WHERE issuer = $1 AND subject = $2 AND ended_at IS NULL AND until <= clock_timestamp()`,
            [by.issuer, by.subject],
          )
          const facts = {
            id: newApprovalId(),
            ...toSignedPerson(by),
            delegate_issuer: delegate.issuer,
            delegate_subject: delegate.subject,
            delegate_name: known.name,
            made_at: now,
            begins_at: new Date(begins),
            until: new Date(until),
          }
          const row: DelegationRow = { ...facts, ...signDelegation(keys.mac, facts), ended_at: null }
          await insert(tx, row)
          await ground.within(tx, [delegatedEntry(row, { via })])
          return { delegation: toDelegation(row) }
        })
      } catch (error) {
        // There is one already (unique_violation).
        if (sqlState(error) === '23505') return { fault: 'already_delegated' }
        throw error
      }
    },

    async end({ id, by, via }) {
      const isDone = await database.transaction(async (tx) => {
        await assertSchema(tx)
        const [row] = await readDelegations(tx, { ids: [id] })
        if (!row || !isGenuineDelegation(keys.mac, row)) return false
        if (!isSameParty(row, by) && !by.roles.includes('admin')) return false
        const { rowCount } = await tx.query(
          `UPDATE delegation SET ended_at = date_trunc('milliseconds', clock_timestamp())
           WHERE id = $1 AND ended_at IS NULL AND until > clock_timestamp()`,
          [id],
        )
        if (rowCount !== 1) return false
        await ground.within(tx, [delegationEndedEntry(row, { by, via })])
        return true
      })
      // Whatever the row may say later, on this replica it is over.
      if (isDone) ground.ended.note([id])
      return isDone
    },

    absentees: async (person) => (await readStandIns(ground, database, person)).map(absentPerson),
  }
}

/** Found one by one along an index: there may be a million votes. */
async function readKnown(
  { database, hasSchema }: Pick<Ground, 'database' | 'hasSchema'>,
  person: Party,
): Promise<readonly Known[]> {
  if (!(await hasSchema(database, DELEGATIONS_SCHEMA))) return []
  const { rows } = await database.query<Known>(
    `WITH RECURSIVE voter AS (
       (SELECT issuer, subject FROM vote ORDER BY issuer, subject LIMIT 1)
       UNION ALL
       SELECT next.issuer, next.subject FROM voter CROSS JOIN LATERAL (
         SELECT v.issuer, v.subject FROM vote v WHERE (v.issuer, v.subject) > (voter.issuer, voter.subject)
         ORDER BY v.issuer, v.subject LIMIT 1) next
     ), known AS (
       (SELECT issuer, subject FROM voter LIMIT $3)
       UNION SELECT issuer, subject FROM chat_link
       UNION SELECT issuer, subject FROM passkey
     )
     SELECT issuer, subject, (SELECT v.name FROM vote v
       WHERE v.issuer = known.issuer AND v.subject = known.subject ORDER BY v.at DESC LIMIT 1) AS name
     FROM known WHERE (issuer, subject) <> ($1, $2) ORDER BY issuer, subject LIMIT $3`,
    [person.issuer, person.subject, MOST_KNOWN],
  )
  return rows
}

async function insert(tx: Tx, row: DelegationRow): Promise<void> {
  await tx.query(
    `INSERT INTO delegation (id, issuer, subject, name, groups, roles, assurance, authenticated_at, delegate_issuer,
       delegate_subject, delegate_name, made_at, begins_at, until, kid, mac)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
    [
      row.id,
      row.issuer,
      row.subject,
      row.name,
      JSON.stringify(row.groups),
      JSON.stringify(row.roles),
      row.assurance,
      row.authenticated_at,
      row.delegate_issuer,
      row.delegate_subject,
      row.delegate_name,
      row.made_at,
      row.begins_at,
      row.until,
      row.kid,
      row.mac,
    ],
  )
}
