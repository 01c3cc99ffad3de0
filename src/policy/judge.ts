import { type Actions, type Needs, NOTHING_NEEDED } from '../domain/action.ts'
import type { Exchange } from '../domain/call.ts'
import type { Judged } from '../domain/judged.ts'
import type { Principal } from '../domain/principal.ts'
import { type Code, isRefusal, type Refusal, refuse } from '../domain/refusal.ts'
import { formatRule, type Mask, type Unsure, type Verdict } from '../domain/verdict.ts'
import { NOTHING } from './decide.ts'
import { type ManagerOf, nameManager } from './manager.ts'

interface Parts {
  /** The decision by the active policy, or why there is none to decide by. */
  decide(
    call: Exchange,
    known: { actions: Actions; have: Needs; isSuspended: boolean; heldBy: readonly string[] },
  ): Verdict | Unsure | Refusal
  isSuspended(principal: Principal): boolean
  /** The circuit breakers that hold its every call, as `policy/name`. */
  heldBy(principal: Principal): readonly string[]
  /** Turns an allow whose limits are known to be exceeded into a hold. */
  applyLimits(call: Exchange, verdict: Verdict): Promise<Verdict | Refusal>
  readonly managerOf: ManagerOf
}

/**
 * Describe ⇄ decide: asks the protocol for no more of the call than the rules that match it read, until they settle it.
 * Each round needs something that the one before did not have, so it ends.
 */
export function createJudge({
  decide,
  isSuspended,
  heldBy,
  applyLimits,
  managerOf,
}: Parts): (call: Exchange) => Promise<Judged> {
  return async function judge(call) {
    let have: Needs = NOTHING_NEEDED
    let actions: Actions | null = null
    let policyVersion = 0
    let masks: readonly Mask[] = []
    for (;;) {
      const described = await call.describe(have, masks)
      if (isRefusal(described)) return failToRead(call, described, { actions, policyVersion })
      actions = described

      const { principal } = call
      const known = { actions, have, isSuspended: isSuspended(principal), heldBy: heldBy(principal) }
      const decided = decide(call, known)
      if (isRefusal(decided)) return { effect: 'deny', verdict: null, actions, refusal: decided }
      if (decided.effect === 'unsure') {
        have = have.union(decided.needs)
        policyVersion = decided.policyVersion
        masks = decided.masks
        continue
      }
      const limited = decided.effect === 'allow' ? await applyLimits(call, decided) : decided
      if (isRefusal(limited)) return { effect: 'deny', verdict: decided, actions, refusal: limited }
      return carryOut(call, nameManager(limited, call.principal, managerOf), actions)
    }
  }
}

const UNREADABLE: ReadonlySet<Code> = new Set(['too_large', 'unreadable'])

/** A call that rules cannot read need not be a bad one: where the gateway only watches, it passes. */
function failToRead(
  call: Exchange,
  refusal: Refusal,
  { actions, policyVersion }: { actions: Actions | null; policyVersion: number },
): Judged {
  const isWatched = call.upstream.mode === 'observe' && UNREADABLE.has(refusal.code)
  if (!isWatched || actions === null) return { effect: 'deny', verdict: null, actions, refusal }
  const verdict: Verdict = { ...NOTHING, effect: 'deny', basis: 'unreadable', policyVersion }
  return { effect: 'allow', verdict, actions, refusal: null }
}

function carryOut(call: Exchange, verdict: Verdict, actions: Actions): Judged {
  // A suspended agent is stopped even where the gateway only watches: a kill switch that observes is none.
  if (call.upstream.mode === 'observe' && verdict.basis !== 'suspended') {
    return { effect: 'allow', verdict, actions, refusal: null }
  }
  if (verdict.effect === 'deny') return { effect: 'deny', verdict, actions, refusal: explainDenial(verdict, actions) }
  return { effect: verdict.effect, verdict, actions, refusal: null }
}

function explainDenial(verdict: Verdict, actions: Actions): Refusal {
  const { verb, resource } = actions[verdict.decidingAction] ?? actions[0]
  const rule = verdict.rules[0]
  switch (verdict.basis) {
    case 'suspended':
      return refuse('suspended', 'Not executed. This agent is suspended; a person has to resume it.')
    case 'no_rule':
      return refuse('denied', `Not executed. No rule allows ${verb} ${resource}, and what no rule allows is denied.`)
    case 'condition_failed':
    case 'unreadable':
    case 'no_manager':
    case 'breaker':
    case 'rule': {
      const why = verdict.message ?? defaultMessage(verdict)
      const name = rule ? ` (rule ${formatRule(rule)})` : ''
      return refuse('denied', `Not executed. ${why}${name}`, rule ? { rule } : {})
    }
  }
}

function defaultMessage({ basis }: Verdict): string {
  if (basis === 'condition_failed') return 'A rule could not be evaluated for this call, which counts as a denial.'
  if (basis === 'no_manager') return "A rule asks the manager of this agent's owner, and it is not known who that is."
  return 'Denied by policy.'
}
