import type { Approval } from '../domain/approval.ts'
import type { Exchange } from '../domain/call.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import { withdraw } from './end.ts'
import type { Ground } from './ground.ts'
import { tellQuestion } from './questions.ts'
import { refuseFor, refusePending } from './refusals.ts'
import { approvalOf, readHeld } from './store.ts'
import { createListener, type Waiter } from './waiter.ts'

/**
 * Waits until people decided or ask something, the client's patience ends, or it leaves: the approved approval, or what
 * to tell the client. A client of a protocol that has a cancel withdraws by it, and so does one that cannot return for
 * the approval; otherwise it stays for its return.
 */
export function createSettling(
  ground: Ground,
  { waiter, draining }: { waiter: Waiter; draining: AbortSignal },
): (approval: Approval, call: Pick<Exchange, 'waitMs' | 'gone' | 'whenGone'>) => Promise<Approval | Refusal> {
  return async function settle(approval, call) {
    const { id } = approval
    // A retry that will not wait comes for what was decided before: that is not a wait.
    if (approval.state !== 'pending') return reread(id)
    const listener = createListener()
    const waited = await waiter.wait(id, {
      waitMs: call.waitMs,
      gone: call.gone,
      draining,
      isReached: (glimpse) => glimpse.state !== 'pending' || listener.hears(glimpse),
    })
    switch (waited) {
      case 'timed_out':
        // Nobody could come back for it.
        if (call.whenGone() === 'withdraw') return leave(approval, 'withdraw')
        return listener.mayBeOpen() ? reread(id) : refusePending(approval)
      case 'draining':
        return refuse(
          'draining',
          `Not executed. The gateway restarts; approval ${id} stays. Repeat the call unchanged.`,
          {
            approval: id,
            retryAfterS: 1,
          },
        )
      case 'gone':
        return leave(approval, call.whenGone())
      case 'reached':
        return reread(id)
    }
  }

  async function leave(approval: Approval, how: ReturnType<Exchange['whenGone']>): Promise<Refusal> {
    const { id } = approval
    if (how === 'leave') return refusePending(approval)
    const withdrawn = await withdraw(ground, id, 'client_cancelled')
    if (withdrawn) return refuseFor(withdrawn)
    const now = await reread(id)
    return 'refused' in now ? now : refusePending(approval)
  }

  async function reread(id: string): Promise<Approval | Refusal> {
    const held = await readHeld(ground.database, ground.keys, { id })
    if (!held) return refuse('withdrawn', `Not executed. There is no approval ${id}.`)
    const approval = approvalOf(held)
    if (approval.state === 'pending') return refusePending(approval, await tellQuestion(ground, held.row))
    return approval.state === 'approved' ? approval : refuseFor(approval)
  }
}
