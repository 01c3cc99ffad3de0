import type { Entry } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import { isSameParty, type Person } from '../domain/principal.ts'
import type { Requirement } from '../domain/verdict.ts'
import type { Tx } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import { decidedEntry, voteEntry } from './entries.ts'
import {
  findLiveGrants,
  type GrantRow,
  isAbout,
  isGenuineGrant,
  rulesOf,
  type Sought,
  toGrant,
  viaGrant,
} from './grants.ts'
import type { Ground } from './ground.ts'
import { type Cast, meetsAll } from './quorum.ts'
import type { ApprovalRow } from './row.ts'
import { toSignedPerson } from './signed-person.ts'
import type { Standing } from './standing.ts'
import { move, readNow } from './store.ts'
import { signVote, type VoteRow, writeVote } from './votes.ts'

/** A grant, with the person for whom it stands as they stand now. */
export interface Backing {
  readonly grant: GrantRow
  readonly person: Person
}

/**
 * Grants that let a call go without asking anybody: of different people, who would meet all requirements if they approved
 * it at this moment, and no more of them than that takes. Empty if there are none. Asking how people stand may take a
 * network: not to be called in a transaction.
 */
export async function findBacking(
  { database, keys }: Pick<Ground, 'database' | 'keys'>,
  {
    call,
    isPlain,
    requirements,
    standing,
  }: {
    call: Sought
    /** Whether its verb and its resource say all of what it would do, to the last character. */
    isPlain: boolean
    requirements: readonly Requirement[]
    standing: Standing
  },
): Promise<readonly Backing[]> {
  const live = await findLiveGrants(database, { call, requirements })
  const fitting = live.filter(
    (grant) => isGenuineGrant(keys.mac, grant) && isAbout(grant, call) && (isPlain || grant.covers === 'call'),
  )
  if (fitting.length === 0) return []
  const candidates = await Promise.all(
    onePerPerson(fitting, requirements).map(async (grant) => ({ grant, person: await standing(toGrant(grant).by) })),
  )
  const now = await readNow(database)
  const standingNow = candidates.flatMap(({ grant, person }) => (person ? [{ grant, person }] : []))
  if (!isEnough(standingNow, requirements, now)) return []
  // What ends last is kept for later.
  return standingNow.reduceRight<readonly Backing[]>((kept, one) => {
    const without = kept.filter((other) => other !== one)
    return isEnough(without, requirements, now) ? without : kept
  }, standingNow)
}

/**
 * Approves an approval that was opened a moment ago, in the same transaction, by votes that name the grants. Null, and
 * nothing is done, if it was opened a moment too late for them.
 */
export async function standIn(
  { keys }: Pick<Ground, 'keys'>,
  tx: Tx,
  { row, backing }: { row: ApprovalRow; backing: readonly Backing[] },
): Promise<{ row: ApprovalRow; votes: readonly VoteRow[]; entries: readonly Entry[] } | null> {
  const at = row.created_at
  if (backing.length === 0 || !isEnough(backing, row.requirements, at)) return null
  const votes = backing.map((one) => signFor(one, { row, keys: keys.mac }))
  for (const vote of votes) await writeVote(tx, vote)
  const moved = await move(tx, row.id, { event: 'approve', at, reason: null })
  // It was inserted by this very transaction.
  if (!moved) throw new GatewayError('internal', 'an approval that was just opened is not pending')
  const entries = [...votes.map((vote) => voteEntry(row, vote)), decidedEntry(row, { state: moved.state })]
  return { row: moved, votes, entries }
}

function signFor({ grant, person }: Backing, { row, keys }: { row: ApprovalRow; keys: Keys['mac'] }): VoteRow {
  const facts = {
    ...toSignedPerson(person),
    decision: 'approve' as const,
    reason: grant.reason,
    via: viaGrant(grant.id),
    card_hash: row.card_hash,
    at: row.created_at,
  }
  return { ...facts, approval: row.id, ...signVote(keys, row, facts) }
}

function isEnough(some: readonly Backing[], requirements: readonly Requirement[], at: Date): boolean {
  return meetsAll(
    { requirements, openedAt: at },
    some.map((one) => castOf(one, at)),
  )
}

/** A yes of the grant's person, for the rules that it is about and no others. */
function castOf({ grant, person }: Backing, at: Date): Cast {
  return { ...person, at, grantedRules: rulesOf(grant) }
}

/** One that is about most of what is asked; of equal ones the one that ends first. */
function onePerPerson(grants: readonly GrantRow[], requirements: readonly Requirement[]): readonly GrantRow[] {
  const reach = (grant: GrantRow) => {
    const rules = rulesOf(grant)
    return requirements.filter((one) => one.grant !== undefined && rules.has(one.grant.ruleHash)).length
  }
  const chosen: GrantRow[] = []
  for (const grant of grants) {
    const at = chosen.findIndex((one) => isSameParty(one, grant))
    const other = chosen[at]
    if (!other) chosen.push(grant)
    else if (reach(grant) > reach(other)) chosen[at] = grant
  }
  return chosen
}
