import type { Queue } from '../approvals/queue.ts'
import type { AuditLog } from '../audit/log.ts'
import type { Approval } from '../domain/approval.ts'
import type { Exchange, Outcome } from '../domain/call.ts'
import { GatewayError } from '../domain/error.ts'
import type { Judged } from '../domain/judged.ts'
import { type Code, isRefusal, type Refusal, refuse } from '../domain/refusal.ts'
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
  /** Told how a call ended: what could not be read, which was found only after it was judged, is a denial. */
  onEnded(call: Exchange, judged: Judged, outcome: Outcome): Promise<unknown>
  onDenied(approval: Approval): Promise<unknown>
}

/** What a call is refused with that two servers could read differently, or that rules cannot read. */
const UNREAD: ReadonlySet<Code> = new Set(['malformed', 'too_large', 'unreadable'])

/** What had happened and could not be counted, of all agents together; more than this may be forgotten. */
const MOST_OWED = 1000

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
  let owed: readonly Deed[] = []

  /** A call can be refused if it cannot be counted; what has happened by then is counted as soon as it can be. */
  async function countDone(deed: Deed): Promise<boolean> {
    try {
      return await breakers.count(deed)
    } catch (error) {
      if (error instanceof GatewayError) owe(deed)
      throw error
    }
  }

  /** What failed because the store was away may count once too often, if only the answer was lost: rather than never. */
  function owe(deed: Deed): void {
    const actions = deed.actions.map(({ verb, resource }) => ({ verb, resource }))
    owed = [...owed, { ...deed, actions }].slice(-MOST_OWED)
  }

  async function settleOwed(): Promise<void> {
    const due = owed
    owed = []
    await Promise.all(due.map(countDone))
  }

  const tryCount = orUnavailable(log, async (deed: Deed) => {
    if (owed.length > 0) await settleOwed()
    return breakers.count(deed)
  })

  return {
    async count(call, judged) {
      const deed = deedOf(call, judged, suspensions)
      const hasTripped = deed !== null && (await tryCount(deed))
      if (isRefusal(hasTripped)) return { ...judged, effect: 'deny', refusal: hasTripped }
      return hasTripped ? judge(call) : judged
    },

    async hold(call, held, sealed) {
      const approval = await queue().hold(call, held, sealed)
      // One that it attached to was counted before, and where a grant stood in nobody is asked.
      if (isRefusal(approval) || approval.callId !== call.id || approval.state !== 'pending') return approval
      const hasTripped = await countDone({ ...aboutOf(approval), actions: held.actions, counts: ['holds'] })
      return hasTripped && suspensions.isSuspended(call.principal) ? refuseSuspended(approval.id) : approval
    },

    async onEnded(call, { effect, actions }, { name, refusal }) {
      const isDenial = effect !== 'deny' && name === 'refused' && refusal !== undefined && UNREAD.has(refusal.code)
      if (!isDenial || call.upstream.mode === 'observe') return
      const { id: callId, principal, upstream } = call
      await countDone({ callId, principal, upstream: upstream.name, actions: actions ?? [], counts: ['denials'] })
    },

    async onDenied(approval) {
      // The card has every action, and all of it; what the approval itself says is cut where an agent made it long.
      const shown = await queue().find(approval.id)
      const { verb, resource } = approval
      const actions = shown?.card.derived.actions ?? [{ verb, resource }]
      return countDone({ ...aboutOf(approval), actions, counts: ['denials'] })
    },
  }
}

/** Null for what counts for nothing: where the gateway only watches, and while the agent is stopped. */
function deedOf(call: Exchange, judged: Judged, suspensions: Pick<Suspensions, 'isSuspended'>): Deed | null {
  const { id: callId, principal, upstream } = call
  const { effect, verdict, actions, refusal } = judged
  // What cannot be named is refused before anybody asks who sent it.
  const isStopped = verdict ? verdict.basis === 'suspended' : suspensions.isSuspended(principal)
  if (upstream.mode === 'observe' || isStopped) return null
  const isDenied = effect === 'deny' && (verdict?.effect === 'deny' || UNREAD.has(refusal.code))
  return {
    counts: isDenied ? ['calls', 'denials'] : ['calls'],
    principal,
    upstream: upstream.name,
    actions: actions ?? [],
    callId,
  }
}

function aboutOf({ callId, requester, upstream }: Approval): Omit<Deed, 'actions' | 'counts'> {
  return { callId, principal: requester, upstream }
}

function refuseSuspended(approval: string): Refusal {
  return refuse('suspended', 'Not executed. This agent is suspended; a person has to resume it.', { approval })
}
