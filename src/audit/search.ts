import { parseParty } from '../domain/principal.ts'
import type { Tx } from '../platform/database.ts'
import { type LogEntry, readEntries } from './entries.ts'
import { readStoreHead } from './rows.ts'

/** What somebody looks for in the log; what is left out may be anything. */
export interface Search {
  /** By the entries' own time, in milliseconds since the epoch: from then on, and before then. */
  readonly from?: number
  readonly until?: number
  readonly kinds?: readonly string[]
  /** `issuer|subject`, or a subject of any known issuer. */
  readonly agent?: string
  readonly reviewer?: string
  readonly upstream?: string
  readonly verb?: string
  readonly effect?: string
  readonly outcome?: string
  readonly call?: string
  readonly approval?: string
}

export interface Found {
  /** Newest first. */
  readonly entries: readonly LogEntry[]
  /** Where to go on: entries before this one. Null if there are no more. */
  readonly next: number | null
  /** Whether it stopped because it had looked at enough, and not because the page was full. */
  readonly isCut: boolean
}

interface Ground {
  readonly tx: Tx
  /** Whose subjects may be written without their issuer. */
  readonly issuers: readonly string[]
  readonly reach: Reach
}

/** How far is looked where no index leads to what is looked for. */
export interface Reach {
  /** Entries that one statement looks at. */
  readonly stretch: number
  /** Stretches that one page is worth. */
  readonly most: number
}
export const REACH: Reach = { stretch: 20_000, most: 10 }

/** How many probes find a moment in a log: five questions for thirty million entries. */
const PROBES = 32
/** Replicas' clocks differ, so that times in the log are not quite in its order. Farther apart they are not looked for. */
const CLOCKS_APART_MS = 3_600_000

/** One page of what is looked for, from the newest entry or from `before` back. */
export async function findPage(
  ground: Ground,
  search: Search,
  { before, limit }: { before: number | null; limit: number },
): Promise<Found> {
  const plan = await makePlan(ground, search)
  if (!plan) return { entries: [], next: null, isCut: false }
  const seqs: number[] = []
  let below = Math.min(before ?? plan.below, plan.below)
  for (let stretch = 0; stretch < ground.reach.most && below > plan.first; stretch++) {
    const first = plan.isIndexed ? plan.first : Math.max(plan.first, below - ground.reach.stretch)
    const wanted = limit + 1 - seqs.length
    seqs.push(...(await findSeqs(ground.tx, plan, { first, below, order: 'DESC', limit: wanted })))
    if (seqs.length > limit) return page(ground.tx, seqs.slice(0, limit), seqs[limit - 1] ?? null, false)
    below = first
  }
  const isCut = below > plan.first
  return page(ground.tx, seqs, isCut ? below : null, isCut)
}

async function page(tx: Tx, seqs: readonly number[], next: number | null, isCut: boolean): Promise<Found> {
  return { entries: (await readEntries(tx, seqs)).toReversed(), next, isCut }
}

const BATCH = 500

/**
 * All that is looked for, oldest first, a batch at a time; up to where the log ended when it began. A batch may be empty, so
 * that whoever has left is noticed.
 */
export async function* scan(ground: Ground, search: Search, after = 0): AsyncGenerator<readonly LogEntry[]> {
  const plan = await makePlan(ground, search)
  if (!plan) return
  let first = Math.max(plan.first, after + 1)
  while (first < plan.below) {
    const below = plan.isIndexed ? plan.below : Math.min(plan.below, first + ground.reach.stretch)
    const seqs = await findSeqs(ground.tx, plan, { first, below, order: 'ASC', limit: BATCH })
    yield await readEntries(ground.tx, seqs)
    first = seqs.length === BATCH ? (seqs.at(-1) ?? below) + 1 : below
  }
}

/** A search as the store is asked. */
interface Plan {
  readonly way: keyof typeof WAYS
  /** Whether an index leads to what is looked for, so that all of the log can be asked for it at once. */
  readonly isIndexed: boolean
  readonly first: number
  readonly below: number
  readonly params: readonly unknown[]
}

/** Null if nothing can be found: nobody of that name is in the log. */
async function makePlan(ground: Ground, search: Search): Promise<Plan | null> {
  const { tx } = ground
  const { from, until } = search
  const agents = search.agent === undefined ? null : await findCommitments(ground, search.agent)
  const reviewers = search.reviewer === undefined ? null : await findCommitments(ground, search.reviewer)
  if (agents?.length === 0 || reviewers?.length === 0) return null
  const { seq: last } = await readStoreHead(tx)
  const way = chooseWay(search)
  return {
    way,
    isIndexed: way !== 'any',
    first: from === undefined ? 1 : await findMoment(tx, from - CLOCKS_APART_MS, last),
    below: until === undefined ? last + 1 : await findMoment(tx, until + CLOCKS_APART_MS, last),
    params: [
      from === undefined ? null : new Date(from),
      until === undefined ? null : new Date(until),
      search.kinds ?? null,
      agents,
      reviewers,
      search.upstream ?? null,
      search.verb ?? null,
      search.effect ?? null,
      search.outcome ?? null,
      search.call ?? null,
      search.approval ?? null,
    ],
  }
}

/**
 * What leads to few entries is said first, so that its index is used; the rest is compared in what it leads to. Where it
 * says `OFFSET 0` the planner may not do it in another order: expecting to find them soon, it would walk the whole log.
 */
const WAYS = {
  call: 'call_id = $10::uuid OFFSET 0',
  approval: 'approval_id = $11::text OFFSET 0',
  reviewer: 'reviewer IS NOT NULL AND reviewer = ANY ($5::bytea[]) OFFSET 0',
  seldom: `kind NOT IN ('intent', 'outcome')`,
  any: 'true',
} as const

function chooseWay({ call, approval, reviewer, kinds }: Search): Plan['way'] {
  if (call !== undefined) return 'call'
  if (approval !== undefined) return 'approval'
  if (reviewer !== undefined) return 'reviewer'
  return kinds && !kinds.some((kind) => kind === 'intent' || kind === 'outcome') ? 'seldom' : 'any'
}

async function findSeqs(
  tx: Tx,
  { way, params }: Plan,
  how: { first: number; below: number; order: 'ASC' | 'DESC'; limit: number },
): Promise<readonly number[]> {
  // Ten texts in all: what varies otherwise is in the parameters.
  const { rows } = await tx.query<{ seq: number }>(
    `SELECT seq FROM (SELECT * FROM countersign.audit_entry WHERE seq >= $12::bigint AND seq < $13::bigint
         AND ${WAYS[way]}) AS led
     WHERE ($1::timestamptz IS NULL OR at >= $1) AND ($2::timestamptz IS NULL OR at < $2)
       AND ($3::text[] IS NULL OR kind = ANY ($3)) AND ($4::bytea[] IS NULL OR subject = ANY ($4))
       AND ($5::bytea[] IS NULL OR reviewer = ANY ($5)) AND ($6::text IS NULL OR upstream = $6)
       AND ($7::text IS NULL OR verb = $7) AND ($8::text IS NULL OR effect = $8)
       AND ($9::text IS NULL OR outcome = $9) AND ($10::uuid IS NULL OR call_id = $10)
       AND ($11::text IS NULL OR approval_id = $11)
     ORDER BY seq ${how.order} LIMIT $14`,
    [...params, how.first, how.below, how.limit],
  )
  return rows.map(({ seq }) => seq)
}

/** The commitments that stand for somebody; several, where several gateways made them. */
async function findCommitments({ tx, issuers }: Ground, who: string): Promise<readonly Buffer[]> {
  const written = parseParty(who) ? [who] : issuers.map((issuer) => `${issuer}|${who}`)
  const { rows } = await tx.query<{ commitment: Buffer }>(
    `SELECT p.commitment FROM unnest($1::text[]) AS written JOIN countersign.audit_personal p ON p.value = written
     WHERE p.field = 'party' LIMIT 1000`,
    [written],
  )
  return rows.map(({ commitment }) => commitment)
}

/** The first entry from a moment on, as far as the log's times are in its order; after the last one if there is none. */
async function findMoment(tx: Tx, ms: number, last: number): Promise<number> {
  let low = 1
  let high = last + 1
  while (low < high) {
    const count = Math.min(PROBES, high - low)
    const probes = Array.from({ length: count }, (_, nth) => low + Math.floor(((high - low) * nth) / count))
    const { rows } = await tx.query<{ seq: number; at: Date }>(
      'SELECT seq, at FROM countersign.audit_entry WHERE seq = ANY ($1::bigint[]) ORDER BY seq',
      [probes],
    )
    // Entries that are missing have no time: what is left of a damaged log is shown from where it begins.
    if (rows.length === 0) return low
    const later = rows.findIndex(({ at }) => at.getTime() >= ms)
    const earlier = rows.at(later === -1 ? rows.length - 1 : later - 1)
    if (later !== -1) high = rows[later]?.seq ?? high
    if (later !== 0 && earlier) low = earlier.seq + 1
    if (later === 0) return high
  }
  return low
}
