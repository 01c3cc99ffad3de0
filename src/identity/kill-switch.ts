import type { SeenAgent, SwitchRefusal, SwitchRequest, SwitchResult } from '../domain/agent.ts'
import type { Appended, Entry, Kind } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import { formatParty, type Party, type Person, type Role } from '../domain/principal.ts'
import type { Database, Tx } from '../platform/database.ts'
import type { Logger } from '../platform/logger.ts'
import { createSchemaCheck } from '../platform/schema.ts'
import { BREAKER_SCHEMA } from './suspensions.ts'

/** Stops agents, and lets them go on. Every change is an entry of the same transaction. */
export interface KillSwitch {
  /** Those this person may look at: all of them, or those that are theirs. Those that are stopped or held come first. */
  list(person: Person): Promise<readonly SeenAgent[]>
  /** At most so many as a person can choose from: those of this subject, whatever its case, or `issuer|subject`. */
  find(name: string): Promise<readonly Party[]>
  suspend(request: SwitchRequest): Promise<SwitchResult>
  resume(request: SwitchRequest): Promise<SwitchResult>
}

interface Parts {
  readonly database: Database
  /** Chains entries in a transaction; called last in it. */
  within(tx: Tx, entries: readonly Entry[]): Promise<Appended>
  /** Writes down which agents this process has seen, so that nobody it knows to be on their side resumes them. */
  noteSeen(): Promise<void>
  /** Ends what waits for people on behalf of those who are stopped. */
  withdrawHeld(): Promise<unknown>
  /** Of whom callers, and those they act for, can be: as configured. */
  readonly issuers: readonly string[]
  /** Ends what waits for people only because breakers held those who go on. */
  withdrawLifted(): Promise<unknown>
  readonly log: Logger
}

/** Stopping is always allowed; it is recorded, and undone in a second. Resuming lets something dangerous go on. */
const MAY_SUSPEND: readonly Role[] = ['reviewer', 'owner', 'operator', 'admin']
const MAY_RESUME: readonly Role[] = ['operator', 'admin']
const SEES_ALL: readonly Role[] = ['auditor', 'operator', 'admin']
const MOST_LISTED = 500
const MOST_FOUND = 10
/**
 * Of those stopped that never called, by one person and by all of them: every replica holds in memory who is stopped, and
 * lists show them first. Anybody can make up a name; an agent that has called is not made up.
 */
const MOST_UNSEEN = { person: 100, everybody: 300 } as const

export function createKillSwitch(parts: Parts): KillSwitch {
  const { database, within, noteSeen, withdrawHeld, withdrawLifted, issuers, log } = parts
  const hasSchema = createSchemaCheck()

  return {
    async list(person) {
      return readAgents({ ofParty: seesAllAgents(person) ? null : person, only: null })
    },

    async find(name) {
      const { rows } = await database.query<Party>(
        `SELECT issuer, subject FROM countersign.agent
         WHERE lower(subject) = lower($1) OR issuer || '|' || subject = $1
         ORDER BY issuer || '|' || subject = $1 DESC, subject = $1 DESC, seen_at DESC LIMIT $2`,
        [name, MOST_FOUND],
      )
      // The whole name means that one, whatever others are called.
      const [first] = rows
      return first && formatParty(first) === name ? [first] : rows
    },

    async suspend(request) {
      if (!hasRole(request.by, MAY_SUSPEND)) return refuse('not_allowed')
      const { agent, by, reason } = request
      // Ahead of its first call anybody can be stopped, but a mistyped issuer would never have effect. One that another
      // replica knows, with a newer configuration, is known here once it has called.
      const isSeen = await hasBeenSeen(database, agent)
      if (!isSeen && !issuers.includes(agent.issuer)) {
        return { done: false, fault: 'unknown_issuer', known: issuers }
      }
      const result = await change(request, {
        kind: 'agent_suspended',
        // It raises the epoch under the lock of the chain's head, so that every intent is before or after.
        text: 'SELECT is_changed FROM countersign.suspend_agent($1, $2, $3, $4, $5)',
        params: [agent.issuer, agent.subject, by.issuer, by.subject, reason],
        // Under that lock, so that of any number at once none is too many.
        ...(!isSeen && { findExcess: (tx) => findExcess(tx, by) }),
      })
      if (!result.done) return result
      // None of them can be used any more. If this fails, the sweeper of any replica does it.
      await withdrawHeld().catch((error: unknown) => {
        log.warn({ err: error }, 'held calls of a suspended agent could not be withdrawn yet')
      })
      return result
    },

    async resume(request) {
      const { agent, by } = request
      if (!hasRole(by, MAY_RESUME)) return refuse('not_allowed')
      await noteSeen()
      if (await isOnSameSide(database, agent, by)) return refuse('own_side')
      const result = await change(request, {
        kind: 'agent_resumed',
        text: 'SELECT is_changed FROM countersign.resume_agent($1, $2)',
        params: [agent.issuer, agent.subject],
      })
      // Nobody has to decide them any more. If this fails, the sweeper of any replica does it.
      await withdrawLifted().catch((error: unknown) => {
        log.warn({ err: error }, 'calls that a circuit breaker had held could not be withdrawn yet')
      })
      return result
    },
  }

  async function change(
    { agent, by, reason, via }: SwitchRequest,
    how: {
      readonly kind: Extract<Kind, 'agent_suspended' | 'agent_resumed'>
      readonly text: string
      readonly params: readonly unknown[]
      /** Why it has to be taken back, once it is done. */
      findExcess?(tx: Tx): Promise<readonly SwitchRefusal[]>
    },
  ): Promise<SwitchResult> {
    const excess: SwitchRefusal[] = []
    try {
      const isChanged = await database.transaction(async (tx) => {
        const { rows } = await tx.query<{ is_changed: boolean }>(how.text, how.params)
        if (rows[0]?.is_changed !== true) return false
        excess.push(...((await how.findExcess?.(tx)) ?? []))
        if (excess.length > 0) throw new GatewayError('internal', 'too many are suspended: this one is taken back')
        await within(tx, [entryOf(how.kind, { agent, by, reason, via })])
        return true
      })
      const [seen] = await readAgents({ ofParty: null, only: agent })
      return { done: true, isChanged, agent: seen ?? unseen(agent) }
    } catch (error) {
      const [first] = excess
      if (first) return first
      throw error
    }
  }

  async function readAgents({
    ofParty,
    only,
  }: {
    ofParty: Party | null
    only: Party | null
  }): Promise<readonly SeenAgent[]> {
    const knowsBreakers = await hasSchema(database, BREAKER_SCHEMA)
    const { rows } = await database.query<Row>(knowsBreakers ? READ : READ_BEFORE, [
      MOST_LISTED,
      ofParty && formatParty(ofParty),
      only?.issuer ?? null,
      only?.subject ?? null,
    ])
    return rows.map(toAgent)
  }
}

function entryOf(kind: Kind, { agent, by, reason, via }: SwitchRequest): Entry {
  const nobody = { onBehalfOf: null, actors: [], owner: null, groups: [], client: null, expiresAt: 0 }
  return {
    kind,
    principal: { issuer: agent.issuer, subject: agent.subject, ...nobody },
    reviewer: by,
    reason,
    detail: { assurance: by.assurance, via },
  }
}

/** Whether they are one, or were seen on the requesting side of the same calls: the owner, a person acted for. */
async function isOnSameSide(tx: Tx, agent: Party, person: Party): Promise<boolean> {
  const pair = [formatParty(agent), formatParty(person)]
  if (pair[0] === pair[1]) return true
  const { rows } = await tx.query<{ is_own: boolean }>(
    'SELECT EXISTS (SELECT FROM countersign.agent_closure WHERE parties @> $1::text[]) AS is_own',
    [pair],
  )
  const [row] = rows
  if (!row) throw new GatewayError('internal', 'a question was not answered')
  return row.is_own
}

/** The bounds that are exceeded by now. */
async function findExcess(tx: Tx, by: Party): Promise<readonly SwitchRefusal[]> {
  const { rows } = await tx.query<{ person: number; everybody: number }>(
    `SELECT count(*) FILTER (WHERE by_issuer = $1 AND by_subject = $2) AS person, count(*) AS everybody
     FROM countersign.suspension s
     WHERE NOT EXISTS (SELECT FROM countersign.agent a WHERE a.issuer = s.issuer AND a.subject = s.subject)
       AND NOT EXISTS (SELECT FROM countersign.agent_closure c WHERE c.parties @> ARRAY[s.issuer || '|' || s.subject])`,
    [by.issuer, by.subject],
  )
  return (['person', 'everybody'] as const).flatMap((of) => {
    const most = MOST_UNSEEN[of]
    return (rows[0]?.[of] ?? 0) > most ? [{ done: false, fault: 'too_many_suspended', most, of }] : []
  })
}

/** Whether it called, or was on the requesting side of a call. */
async function hasBeenSeen(tx: Tx, agent: Party): Promise<boolean> {
  const { rows } = await tx.query(
    `SELECT FROM countersign.agent WHERE issuer = $1 AND subject = $2
     UNION ALL SELECT FROM countersign.agent_closure WHERE parties @> ARRAY[$3] LIMIT 1`,
    [agent.issuer, agent.subject, formatParty(agent)],
  )
  return rows.length > 0
}

interface Row {
  readonly issuer: string
  readonly subject: string
  readonly seen_at: Date | null
  readonly calls: number
  readonly held: number
  readonly denials: number
  readonly since: Date | null
  readonly by_issuer: string
  readonly by_subject: string
  readonly by_name: string | null
  readonly reason: string | null
  readonly breaker: string | null
  readonly holds: readonly { breaker: string; since_ms: number; reason: string }[]
}

const READ = agentsQuery({
  stopped: `SELECT issuer, subject FROM countersign.suspension UNION SELECT issuer, subject FROM countersign.breaker_hold`,
  breaker: 's.breaker',
  held: `SELECT max(since) AS since, coalesce(json_agg(json_build_object('breaker', breaker, 'reason', reason,
      'since_ms', floor(extract(epoch FROM since) * 1000)) ORDER BY breaker), '[]') AS holds
    FROM countersign.breaker_hold b WHERE b.issuer = k.issuer AND b.subject = k.subject`,
})
const READ_BEFORE = agentsQuery({
  stopped: 'SELECT issuer, subject FROM countersign.suspension',
  breaker: 'NULL AS breaker',
  held: `SELECT NULL::timestamptz AS since, '[]'::json AS holds`,
})

function agentsQuery({ stopped, breaker, held }: { stopped: string; breaker: string; held: string }): string {
  return `WITH known AS (
       (SELECT issuer, subject, seen_at FROM countersign.agent WHERE $2::text IS NULL AND $3::text IS NULL
        ORDER BY seen_at DESC LIMIT $1)
       UNION SELECT issuer, subject, seen_at FROM countersign.agent WHERE issuer = $3 AND subject = $4
       UNION SELECT issuer, subject, seen_at FROM countersign.agent JOIN (
           SELECT DISTINCT issuer, subject FROM countersign.agent_closure WHERE $3 IS NULL AND parties @> ARRAY[$2]
         ) own USING (issuer, subject)
       UNION SELECT issuer, subject, a.seen_at FROM (${stopped}) s LEFT JOIN countersign.agent a USING (issuer, subject)
         WHERE (issuer = $3 AND subject = $4) OR ($3 IS NULL AND ($2 IS NULL OR issuer || '|' || subject = $2)))
     SELECT k.issuer, k.subject, k.seen_at, h.calls, h.held, h.denials,
       s.since, s.by_issuer, s.by_subject, s.reason,
       (SELECT v.name FROM countersign.vote v WHERE v.issuer = s.by_issuer AND v.subject = s.by_subject
        ORDER BY v.at DESC LIMIT 1) AS by_name, ${breaker}, b.holds
     FROM known k LEFT JOIN countersign.suspension s USING (issuer, subject),
       LATERAL (SELECT coalesce(sum(calls), 0)::bigint AS calls, coalesce(sum(holds), 0)::bigint AS held,
           coalesce(sum(denials), 0)::bigint AS denials
         FROM countersign.agent_hour h
         WHERE h.issuer = k.issuer AND h.subject = k.subject AND h.hour > now() - interval '24 hours') h,
       LATERAL (${held}) b
     ORDER BY s.since DESC NULLS LAST, b.since DESC NULLS LAST, k.seen_at DESC NULLS LAST, k.issuer, k.subject
     LIMIT $1`
}

function toAgent(row: Row): SeenAgent {
  const { issuer, subject, seen_at: seenAt, calls, held, denials, since, reason, breaker } = row
  const by = { issuer: row.by_issuer, subject: row.by_subject, name: row.by_name }
  const suspension = since && { since: since.getTime(), by, reason, breaker }
  const heldBy = row.holds.map((hold) => ({ breaker: hold.breaker, since: hold.since_ms, reason: hold.reason }))
  return { issuer, subject, seenAt: seenAt?.getTime() ?? null, calls, holds: held, denials, suspension, heldBy }
}

function unseen({ issuer, subject }: Party): SeenAgent {
  return { issuer, subject, seenAt: null, calls: 0, holds: 0, denials: 0, suspension: null, heldBy: [] }
}

/** Whether the list is of every agent, and not only of those that are this person's. */
export function seesAllAgents(person: Person): boolean {
  return hasRole(person, SEES_ALL)
}

function hasRole({ roles }: Person, wanted: readonly Role[]): boolean {
  return roles.some((role) => wanted.includes(role))
}

function refuse(fault: 'not_allowed' | 'own_side'): SwitchRefusal {
  return { done: false, fault }
}
