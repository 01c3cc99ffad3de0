import { createHash } from 'node:crypto'
import type { Action, Actions } from '../domain/action.ts'
import type { Approval } from '../domain/approval.ts'
import { lengthPrefixed } from '../domain/bytes.ts'
import type { Exchange, Presentation, Sealed, Stored } from '../domain/call.ts'
import { counted } from '../domain/counted.ts'
import { GatewayError } from '../domain/error.ts'
import type { Held } from '../domain/judged.ts'
import { formatParty, principalKey } from '../domain/principal.ts'
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts'
import { formatSelector } from '../domain/selector.ts'
import type { Verdict } from '../domain/verdict.ts'
import type { Clock } from '../platform/clock.ts'
import type { Tx } from '../platform/database.ts'
import { newApprovalId } from '../platform/id.ts'
import type { Keys } from '../platform/keys.ts'
import { takeReply } from './ask.ts'
import { attach, findEarlier, type HoldRequest, noteKey } from './attach.ts'
import { type Backing, findBacking, standIn } from './backing.ts'
import { buildCard, encodeCard } from './card.ts'
import { expireOverdue, withdraw } from './end.ts'
import { heldEntry } from './entries.ts'
import type { Ground } from './ground.ts'
import type { HoldOptions } from './options.ts'
import { nextReminder } from './remind.ts'
import {
  APPROVAL_COLUMNS,
  type ApprovalFacts,
  type ApprovalRow,
  isGenuine,
  outcomeOf,
  signApproval,
  toApproval,
} from './row.ts'
import { encodeStored, newEnvelope } from './seal.ts'
import type { Standing } from './standing.ts'
import { notify, oweCard, readNow } from './store.ts'
import { toVote } from './votes.ts'

/** Characters of a verb or a resource in the columns; the card has all of it. */
const MOST_TEXT = 2000

/**
 * How long the sum over everybody is believed; what this process adds meanwhile is counted. To sum for each hold made
 * ten thousand of them take quadratic time; what other replicas add in that time is all that may exceed the budget.
 */
const TOTAL_FOR_MS = 250

/** Earlier calls that are looked at: as many as somebody may have put in front of a real one. */
const MOST_BEFORE = 20

/** Rounds of looking and opening. Each one that fails means that another process was faster, or that one expired. */
const ATTEMPTS = 5

/**
 * Opens an approval for a call, or attaches to the one that waits for the same call. `present` is asked only if one is
 * opened, and never inside a transaction.
 */
export function createHolding(
  ground: Ground,
  {
    options,
    channels,
    clock,
    standing,
  }: { options: HoldOptions; channels: readonly string[]; clock: Clock; standing: Standing },
): (call: Exchange, held: Held, sealed: Sealed) => Promise<Approval | Refusal> {
  const { database, keys } = ground
  let total = { readAt: Number.NEGATIVE_INFINITY, bytes: 0 }

  return async function hold(call, { verdict, actions }, sealed) {
    if (verdict.requirements.length === 0) {
      throw new GatewayError('internal', 'a call was held that no rule holds')
    }
    const request = toRequest(call, sealed, options)
    const overtaken = new GatewayError('store', 'another process was faster')
    let presentation: Presentation | null = null
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const found = await findEarlier(database, keys, request)
      if (isRefusal(found)) return found
      if (found?.fate === 'join') {
        const joined = await attach(ground, found.held, request)
        if (joined && !isRefusal(joined)) await takeReply(ground, call, joined)
        if (joined) return joined
        continue
      }
      if (found?.fate === 'overdue') await expireOverdue(ground, { ids: [found.held.row.id], most: 1 })
      if (found?.fate === 'tampered') await withdraw(ground, found.held.row.id, 'tampered')
      presentation ??= await call.present(verdict)
      const backing = await findBacking(ground, { ...seek(request, call, { verdict, actions }), standing })
      const opening: Opening = { call, verdict, actions, sealed, request, presentation, backing, overtaken }
      try {
        return await database.transaction((tx) => open(tx, opening))
      } catch (error) {
        if (error !== overtaken) throw error
      }
    }
    throw overtaken
  }

  /** Throws `overtaken`, so that nothing of it stays, if another process was faster. */
  async function open(tx: Tx, of: Opening): Promise<Approval | Refusal> {
    const { request, call, verdict, sealed } = of
    await lockHolder(tx, request.principalKey)
    if (await findEarlier(tx, keys, request)) throw of.overtaken
    const plaintext = encodeStored(withForeseen(sealed.stored, of.presentation))
    const excess = await findExcess(tx, request.principalKey, plaintext.length)
    if (excess) return excess

    const id = newApprovalId()
    const createdAt = await readNow(tx)
    const expiresAt = new Date(createdAt.getTime() + lifetimeMs(verdict, options))
    const before = await describeBefore(tx, keys, request)
    const card = encodeCard(
      buildCard({
        approval: id,
        requester: call.principal,
        upstream: call.upstream,
        actions: of.actions,
        verdict,
        digest: sealed.digest.toString('hex'),
        payload: of.presentation.payload,
        notes: [...before, ...of.presentation.notes],
        claimed: call.claimed,
        createdAt: createdAt.getTime(),
        expiresAt: expiresAt.getTime(),
      }),
    )
    const deciding: Action = of.actions[verdict.decidingAction] ?? of.actions[0]
    const facts: ApprovalFacts = {
      id,
      call_id: call.id,
      principal_key: request.principalKey,
      requester: call.principal,
      upstream: call.upstream.name,
      verb: cut(deciding.verb),
      resource: cut(deciding.resource),
      rules: verdict.rules,
      requirements: verdict.requirements,
      match_key: sealed.matchKey,
      digest: sealed.digest,
      card_hash: card.hash,
      use_within_ms: options.use_within,
      created_at: createdAt,
      expires_at: expiresAt,
    }
    const envelope = newEnvelope(keys.payload, facts)
    const row: ApprovalRow = {
      ...facts,
      ...signApproval(keys.mac, facts),
      state: 'pending',
      is_detached: call.isDetached,
      use_by: null,
      decided_at: null,
      reason: null,
      spent_at: null,
      spent_call: null,
      outcome: null,
    }
    const isNew = await insert(tx, row, {
      wrapped: envelope.wrapped,
      call: envelope.seal(call.isDetached ? 'detached' : 'call', plaintext),
      card: envelope.seal('card', card.bytes),
    })
    if (!isNew || (request.keyHash && !(await noteKey(tx, request, id)))) throw of.overtaken
    const stood = await standIn(ground, tx, { row, backing: of.backing })
    // Where nobody has to decide, nobody is asked.
    if (!stood) await oweCard(tx, id, { channels, conversation: conversationOf(request, call, id) })
    await notify(tx, [id])
    const held = heldEntry(row, { policyVersion: verdict.policyVersion })
    await ground.within(tx, [held, ...(stood?.entries ?? [])])
    total.bytes += plaintext.length
    return toApproval(stood?.row ?? row, (stood?.votes ?? []).map(toVote))
  }

  async function findExcess(tx: Tx, principal: Buffer, bytes: number): Promise<Refusal | null> {
    const { rows } = await tx.query<{ open: number; bytes: number }>(
      `SELECT count(*) FILTER (WHERE state IN ('pending', 'approved')) AS open,
         coalesce(sum(stored_bytes), 0)::bigint AS bytes
       FROM approval WHERE principal_key = $1 AND stored_bytes > 0`,
      [principal],
    )
    const held = rows[0] ?? { open: 0, bytes: 0 }
    if (held.open >= options.open_per_principal) {
      return tooMany(
        `This agent already has ${counted(held.open, 'approval')} waiting for people, and may have no more.`,
      )
    }
    if (held.bytes + bytes > options.held_bytes_per_principal) {
      return tooMany('What this agent has waiting for people takes too much room.')
    }
    if ((await readTotal(tx)) + bytes > options.held_bytes) return tooMany('Too much is waiting for people.')
    return null
  }

  async function readTotal(tx: Tx): Promise<number> {
    if (clock.monotonic() - total.readAt > TOTAL_FOR_MS) {
      const { rows } = await tx.query<{ bytes: number }>(
        'SELECT coalesce(sum(stored_bytes), 0)::bigint AS bytes FROM approval WHERE stored_bytes > 0',
      )
      total = { readAt: clock.monotonic(), bytes: rows[0]?.bytes ?? 0 }
    }
    return total.bytes
  }
}

/** What people decide on is kept with what they decide about: sealed, and opened only for this approval. */
function withForeseen({ head, body }: Stored, { foreseen }: Presentation): Stored {
  return { head: foreseen === undefined ? head : { ...head, foreseen }, body }
}

interface Opening {
  readonly call: Exchange
  readonly verdict: Verdict
  readonly actions: Actions
  readonly sealed: Sealed
  readonly request: HoldRequest
  readonly presentation: Presentation
  readonly backing: readonly Backing[]
  readonly overtaken: GatewayError
}

function toRequest(call: Exchange, sealed: Sealed, options: HoldOptions): HoldRequest {
  const { idempotencyKey } = call
  return {
    principalKey: principalKey(call.principal),
    upstream: call.upstream.name,
    matchKey: sealed.matchKey,
    digest: sealed.digest,
    keyHash: idempotencyKey === null ? null : createHash('sha256').update(idempotencyKey).digest(),
    isDetached: call.isDetached,
    repeatDenialMs: options.repeat_denial,
  }
}

/** What grants are looked for by: the same that the approval will say of the call. */
function seek(request: HoldRequest, call: Exchange, { actions, verdict }: Pick<Opening, 'actions' | 'verdict'>) {
  const deciding = actions[verdict.decidingAction] ?? actions[0]
  const [verb, resource] = [cut(deciding.verb), cut(deciding.resource)]
  return {
    call: {
      principal_key: request.principalKey,
      requester: call.principal,
      upstream: request.upstream,
      verb,
      resource,
      match_key: request.matchKey,
    },
    isPlain: actions.length === 1 && verb === deciding.verb && resource === deciding.resource,
    requirements: verdict.requirements,
  }
}

/** The shortest that any rule gives, or what the configuration says. */
function lifetimeMs(verdict: Verdict, options: HoldOptions): number {
  return Math.min(...verdict.requirements.map((requirement) => requirement.expiresMs ?? options.expires))
}

function tooMany(why: string): Refusal {
  return refuse('too_many_holds', `Not executed. ${why} Try again when some are decided.`, { retryAfterS: 30 })
}

/** One at a time for each principal, so that its limits hold on all replicas together. */
async function lockHolder(tx: Tx, principal: Buffer): Promise<void> {
  await tx.query('INSERT INTO holder (principal_key) VALUES ($1) ON CONFLICT DO NOTHING', [principal])
  await tx.query('SELECT FROM holder WHERE principal_key = $1 FOR UPDATE', [principal])
}

/**
 * That the same was done before is for the reviewer to know: it may be what the agent forgot, or what it repeats. In words
 * of the gateway alone: whoever writes to the store would speak in its name.
 */
async function describeBefore(
  tx: Tx,
  keys: Pick<Keys, 'mac'>,
  { principalKey, matchKey }: HoldRequest,
): Promise<readonly string[]> {
  const { rows } = await tx.query<ApprovalRow>(
    `SELECT ${APPROVAL_COLUMNS} FROM approval WHERE principal_key = $1 AND match_key = $2 AND state = 'spent'
     ORDER BY spent_at DESC LIMIT ${MOST_BEFORE}`,
    [principalKey, matchKey],
  )
  if (rows.length === 0) return []
  const row = rows.find((one) => isGenuine(keys.mac, one))
  if (!row?.spent_at) return ['The same call was done before, says a record that this gateway cannot vouch for.']
  const outcome = outcomeOf(row)
  const end = outcome === null || outcome === 'unknown' ? 'how it ended is not known' : `it ended as ${outcome}`
  return [`The same call was done before, at ${row.spent_at.toISOString()} (approval ${row.id}); ${end}.`]
}

async function insert(
  tx: Tx,
  row: ApprovalRow,
  sealed: { wrapped: Buffer; call: Buffer; card: Buffer },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `INSERT INTO approval (id, call_id, principal_key, requester, upstream, verb, resource, rules, requirements,
       match_key, digest, card_hash, use_within_ms, created_at, expires_at, kid, mac, audience, owner, is_detached,
       sealed_call, sealed_card, wrapped_key, stored_bytes)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
       $24)
     ON CONFLICT DO NOTHING`,
    [
      row.id,
      row.call_id,
      row.principal_key,
      JSON.stringify(row.requester),
      row.upstream,
      row.verb,
      row.resource,
      JSON.stringify(row.rules),
      JSON.stringify(row.requirements),
      row.match_key,
      row.digest,
      row.card_hash,
      row.use_within_ms,
      row.created_at,
      row.expires_at,
      row.kid,
      row.mac,
      audienceOf(row),
      row.requester.owner && formatParty(row.requester.owner),
      row.is_detached,
      sealed.call,
      sealed.card,
      sealed.wrapped,
      sealed.call.length,
    ],
  )
  const remindAt = nextReminder(row.requirements, row.created_at, row.created_at)
  // Apart, so that a store that knows no reminders yet serves whoever asks for none.
  if (rowCount === 1 && remindAt) await tx.query('UPDATE approval SET remind_at = $2 WHERE id = $1', [row.id, remindAt])
  return rowCount === 1
}

/** Every written selector that may be entitled to it, now or once it escalates. */
function audienceOf({ requirements }: ApprovalRow): readonly string[] {
  const reviewers = requirements.flatMap(({ reviewers, escalate, override = [] }) => [
    ...reviewers,
    ...(escalate?.to ?? []),
    ...override,
  ])
  return [...new Set(reviewers.map(formatSelector))]
}

/** An agent names its conversations itself: its name only counts together with who it is. */
function conversationOf({ principalKey }: HoldRequest, call: Exchange, id: string): string {
  const { conversation } = call.claimed
  if (conversation === undefined) return id
  const parts = [principalKey, conversation.toWellFormed()]
  return createHash('sha256').update(lengthPrefixed('countersign conversation v1', parts)).digest('hex')
}

function cut(text: string): string {
  const clean = text.toWellFormed().replaceAll('\0', '\u{fffd}')
  return clean.length <= MOST_TEXT ? clean : `${clean.slice(0, MOST_TEXT - 1).toWellFormed()}…`
}
