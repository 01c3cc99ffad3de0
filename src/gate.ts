import type { Approval, Spent } from './domain/approval.ts'
import type { Arrival, Credential, Exchange, Intent, Outcome, Sealed, Stored, Watch } from './domain/call.ts'
import type { Denied, Held, Judged } from './domain/judged.ts'
import type { Principal } from './domain/principal.ts'
import { isRefusal, type Refusal } from './domain/refusal.ts'
import type { Verdict } from './domain/verdict.ts'

/** What the path is made of. `main.ts` puts it together. */
export interface Parts {
  identify(credential: Credential, source: string): Promise<Principal | Refusal>
  /** Says no to everyone (draining, the store in doubt) or to this principal (over its rate) before a call is read. */
  admit(principal: Principal): Refusal | null
  /** Describe ⇄ decide, with the policy of this moment. */
  judge(call: Exchange): Promise<Judged>
  /** Counts the call for circuit breakers. What was judged; judged anew, if the call has tripped one. */
  count(call: Exchange, judged: Judged): Promise<Judged>
  recorder: {
    /** Commits and chains the intent entry; a refusal if it cannot. */
    intent(call: Exchange, judged: Judged): Promise<Intent | Refusal>
    outcome(call: Exchange, approval: Approval | null, outcome: Outcome): Promise<void>
  }
  approvals: {
    /** Opens an approval, or attaches to the one that waits for the same call. */
    hold(call: Exchange, held: Held, sealed: Sealed): Promise<Approval | Refusal>
    /** Waits until people decided, the client's patience ends, or it leaves. */
    settle(approval: Approval, call: Exchange): Promise<Approval | Refusal>
    /** The bytes that were approved. */
    recall(approval: Approval): Promise<Stored | Refusal>
    /** Uses the approval up, if it still meets the verdict of this moment and is bound to this digest. */
    spend(approval: Approval, call: Exchange, terms: { verdict: Verdict; digest: Buffer }): Promise<Spent | Refusal>
    withdraw(approval: Approval, denied: Denied): Promise<Refusal>
  }
  /** Begins the work if the principal may go on, before `startBy`, and aborts its signal when it may not any more. */
  underWatch(
    call: Exchange,
    terms: { intent: Intent; verdict: Verdict; startBy: number | null },
    work: (watch: Watch) => Promise<Outcome>,
  ): Promise<Outcome | Refusal>
}

export interface Gate {
  /** Takes a call from its arrival to the record of its outcome. */
  pass(arrival: Arrival): Promise<void>
  /** Takes a detached call, revived from the store, from its approval to the record of its outcome. */
  resume(call: Exchange, approval: Approval): Promise<Outcome>
}

/** The path of every call. */
export function createGate({ identify, admit, judge, count, recorder, approvals, underWatch }: Parts): Gate {
  async function pass(arrival: Arrival): Promise<void> {
    const principal = await identify(arrival.credential, arrival.source)
    if (isRefusal(principal)) return arrival.refuse(principal)
    const barred = admit(principal)
    if (barred) return arrival.refuse(barred)

    const call = arrival.open(principal)
    const judged = await count(call, await judge(call))
    const intent = await recorder.intent(call, judged)
    if (isRefusal(intent)) return arrival.refuse(intent)

    const { outcome, approval } = await carryOut(call, judged, intent)
    await recorder.outcome(call, approval, outcome)
  }

  async function carryOut(call: Exchange, judged: Judged, intent: Intent): Promise<Carried> {
    switch (judged.effect) {
      case 'deny':
        return done(await call.refuse(judged.refusal))
      case 'allow':
        return done(await release(call, judged.verdict, intent, null))
      case 'hold':
        return countersign(call, judged, intent)
    }
  }

  async function countersign(call: Exchange, held: Held, intent: Intent): Promise<Carried> {
    const sealed = await call.seal(held.verdict)
    if (isRefusal(sealed)) return done(await call.refuse(sealed))
    const approval = await approvals.hold(call, held, sealed)
    if (isRefusal(approval)) return done(await call.refuse(approval))

    await call.held(approval)
    if (call.isDetached) return done({ name: 'pending' }, approval)
    const settled = await approvals.settle(approval, call)
    if (isRefusal(settled)) return done(await call.refuse(settled), approval)
    return done(await redeem(call, settled, intent), approval)
  }

  async function redeem(call: Exchange, approval: Approval, intent: Intent): Promise<Outcome> {
    const stored = await approvals.recall(approval)
    if (isRefusal(stored)) return call.refuse(stored)
    const digest = await call.adopt(stored)
    if (isRefusal(digest)) return call.refuse(digest)

    const again = await judge(call)
    if (again.effect === 'deny') return call.refuse(await approvals.withdraw(approval, again))
    const spent = await approvals.spend(approval, call, { verdict: again.verdict, digest })
    if (isRefusal(spent)) return call.refuse(spent)
    return release(call, again.verdict, intent, spent)
  }

  async function release(call: Exchange, verdict: Verdict, intent: Intent, spent: Spent | null): Promise<Outcome> {
    const outcome = await underWatch(call, { intent, verdict, startBy: spent?.startBy ?? null }, (watch) =>
      call.forward({ intent, verdict, approval: spent, ...watch }),
    )
    return isRefusal(outcome) ? call.refuse(outcome) : outcome
  }

  async function resume(call: Exchange, approval: Approval): Promise<Outcome> {
    const judged = await judge(call)
    const intent = await recorder.intent(call, judged)
    const outcome = isRefusal(intent) ? await call.refuse(intent) : await redeem(call, approval, intent)
    await recorder.outcome(call, approval, outcome)
    return outcome
  }

  return { pass, resume }
}

interface Carried {
  readonly outcome: Outcome
  readonly approval: Approval | null
}

function done(outcome: Outcome, approval: Approval | null = null): Carried {
  return { outcome, approval }
}
