import type { Approval } from '../domain/approval.ts'
import type { OutcomeName } from '../domain/entry.ts'
import { type Principal, principalKey } from '../domain/principal.ts'
import type { OpenQuestion } from '../domain/question.ts'
import { findResponse, type KeptResponse } from './finish.ts'
import type { Ground } from './ground.ts'
import { tellQuestion } from './questions.ts'
import { isOver } from './refusals.ts'
import { outcomeOf } from './row.ts'
import { approvalOf, readHeld } from './store.ts'
import { createListener, type Glimpse, type Waiter } from './waiter.ts'

/** A held call as the agent that made it may know it. */
export interface OwnCall {
  readonly approval: Approval
  /** How the call that used the approval ended; null if none has. */
  readonly outcome: OutcomeName | null
  /** The response of a detached call, while it is kept. */
  readonly response: KeptResponse | null
  /** What a reviewer asks about it, and it has not replied to. */
  readonly question: OpenQuestion | null
}

interface Patience {
  readonly waitMs: number
  readonly gone: AbortSignal
  readonly draining: AbortSignal
}

/**
 * Finds a call by the id of the call that opened its approval, or by the approval's. Null if there is none, or none of
 * this principal. Waits for news, if asked to: for a decision or a question, and of a detached call for its response.
 */
export async function findOwnCall(
  { ground, waiter }: { ground: Ground; waiter: Waiter },
  { principal, id }: { principal: Principal; id: string },
  patience: Patience | null,
): Promise<OwnCall | null> {
  const { rows } = await ground.database.query<{ id: string }>(
    'SELECT id FROM approval WHERE principal_key = $1 AND (id = $2 OR call_id = $2) ORDER BY created_at DESC LIMIT 1',
    [principalKey(principal), id],
  )
  const approvalId = rows[0]?.id
  if (approvalId === undefined) return null
  const now = await read(ground, approvalId)
  if (now && patience && patience.waitMs > 0) {
    const { isDetached } = now.approval
    const listener = createListener()
    const isReached = (glimpse: Glimpse) => isNews(glimpse, isDetached) || listener.hears(glimpse)
    await waiter.wait(approvalId, { ...patience, isReached })
    return tell(ground, await read(ground, approvalId))
  }
  return tell(ground, now)
}

/** With the question that is open: from then on the agent knows of it. */
async function tell(ground: Ground, found: Omit<OwnCall, 'question'> | null): Promise<OwnCall | null> {
  if (!found) return null
  const { id, digest, state } = found.approval
  const of = { id, digest: Buffer.from(digest, 'hex') }
  return { ...found, question: state === 'pending' ? await tellQuestion(ground, of) : null }
}

function isNews(glimpse: Glimpse, isDetached: boolean): boolean {
  if (!isDetached) return glimpse.state !== 'pending'
  return isOver(glimpse.state) && (glimpse.state !== 'spent' || glimpse.hasOutcome)
}

async function read(ground: Ground, id: string): Promise<Omit<OwnCall, 'question'> | null> {
  const held = await readHeld(ground.database, ground.keys, { id })
  if (!held?.isGenuine) return null
  const outcome = outcomeOf(held.row)
  const response = held.row.outcome === null ? null : await findResponse(ground, id)
  return { approval: approvalOf(held), outcome, response }
}
