import type { Queue } from '../approvals/queue.ts'
import type { AuditLog } from '../audit/log.ts'
import type { Approval } from '../domain/approval.ts'
import type { Exchange } from '../domain/call.ts'
import type { Judged } from '../domain/judged.ts'
import { isRefusal, type Refusal, refuse } from '../domain/refusal.ts'
import type { Suspensions } from '../identity/suspensions.ts'
import { createBreakers, type Deed } from '../policy/breakers.ts'
import type { PolicyStore } from '../policy/publish.ts'
import type { Ground } from './ground.ts'
import { orUnavailable } from './unavailable.ts'

/** Circuit breakers, where calls and people's decisions pass by. */
export interface Brakes {
  count(call: Exchange, judged: Judged): Promise<Judged>
  /** As the queue's own; an approval that it opened, and that people are asked for, is counted. */
  readonly hold: Queue['hold']
  onDenied(approval: Approval): Promise<unknown>
}

export function startBrakes(
  ground: Ground,
  parts: {
    readonly audit: Pick<AuditLog, 'within'>
    readonly suspensions: Suspensions
    readonly policies: Pick<PolicyStore, 'active'>
    judge(call: Exchange): Promise<Judged>
    /** Asked for when it is needed: the queue tells of denials, and is made of that. */
    queue(): Pick<Queue, 'hold' | 'find' | 'oweNotice' | 'withdrawSuspended'>
  },
): Brakes {
  const { log, undo } = ground
  const { audit, suspensions, policies, judge, queue } = parts
  const breakers = createBreakers({
    ...ground,
    active: policies.active,
    suspensions,
    within: audit.within,
    oweNotice: (tx, notice) => queue().oweNotice(tx, notice),
    withdrawHeld: () => queue().withdrawSuspended(),
  })
  breakers.start()
  undo.defer(() => breakers.stop())
  const tryCount = orUnavailable(log, breakers.count)

  return {
    async count(call, judged) {
      const deed = deedOf(call, judged)
      const hasTripped = deed !== null && (await tryCount(deed))
      if (isRefusal(hasTripped)) return { ...judged, effect: 'deny', refusal: hasTripped }
      return hasTripped ? judge(call) : judged
    },

    async hold(call, judged, sealed) {
      const approval = await queue().hold(call, judged, sealed)
      // One that it attached to was counted before, and where a grant stood in nobody is asked.
      if (isRefusal(approval) || approval.callId !== call.id || approval.state !== 'pending') return approval
      const hasTripped = await breakers.count({
        ...aboutOf(approval),
        actions: judged.actions ?? [],
        counts: ['holds'],
      })
      return hasTripped && suspensions.isSuspended(call.principal) ? refuseSuspended(approval.id) : approval
    },

    async onDenied(approval) {
      // The card has every action, and all of it; what the approval itself says is cut where an agent made it long.
      const shown = await queue().find(approval.id)
      const { verb, resource } = approval
      const actions = shown?.card.derived.actions ?? [{ verb, resource }]
      return breakers.count({ ...aboutOf(approval), actions, counts: ['denials'] })
    },
  }
}

/** Null for what counts for nothing: where the gateway only watches, and while the agent is stopped. */
function deedOf(call: Exchange, { effect, verdict, actions }: Judged): Deed | null {
  const { id: callId, principal, upstream } = call
  if (upstream.mode === 'observe' || actions === null || verdict?.basis === 'suspended') return null
  const isDenied = effect === 'deny' && verdict?.effect === 'deny'
  return { counts: isDenied ? ['calls', 'denials'] : ['calls'], principal, upstream: upstream.name, actions, callId }
}

function aboutOf({ callId, requester, upstream }: Approval): Omit<Deed, 'actions' | 'counts'> {
  return { callId, principal: requester, upstream }
}

function refuseSuspended(approval: string): Refusal {
  return refuse('suspended', 'Not executed. This agent is suspended; a person has to resume it.', { approval })
}
