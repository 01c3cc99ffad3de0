import type { PersonalRow } from './rows.ts'

/** The members of a body that the promises are about. Whatever else it holds is not looked at. */
export interface BodyFields {
  readonly kind?: unknown
  readonly call_id?: unknown
  readonly approval_id?: unknown
  readonly effect?: unknown
  readonly outcome?: unknown
  readonly subject?: unknown
  readonly on_behalf_of?: unknown
  readonly owner?: unknown
  readonly actors?: unknown
  readonly reviewer?: unknown
  readonly detail?: unknown
}

interface Call {
  readonly effect: unknown
  readonly requester: readonly string[]
  spends: number
}

interface OpenApproval {
  readonly callId: string | null
  readonly requester: readonly string[]
  /** The last decision of each person, by commitment. */
  readonly votes: Map<string, unknown>
}

/** Outcomes for which something was sent upstream. `unknown` is left out: it says that nobody knows. */
const SENT: ReadonlySet<unknown> = new Set(['forwarded', 'upstream_failed', 'upstream_timeout', 'cut', 'rolled_back'])
const REMEMBERED_CALLS = 50_000
const REMEMBERED_VALUES = 100_000

/**
 * Follows the calls of a log and says where it contradicts what the gateway promises: nothing is forwarded before its
 * intent; a held call only after one spend; a spend only with the votes it needed, none of them by a requester; a grant
 * used no more often than it says, and not after it was revoked.
 * Memory grows with what is open at one time and with grants, not with the log.
 * @param isWhole whether the log is followed from its first entry; if not, what began before is not missed
 */
export function createPromiseCheck(isWhole: boolean) {
  const openCalls = new Map<string, Call>()
  const endedCalls = createRecent<Call>(REMEMBERED_CALLS)
  const approvals = new Map<string, OpenApproval>()
  const grants = createGrantCheck(isWhole)
  const values = createRecent<string>(REMEMBERED_VALUES)

  /** What is known of a call that began earlier; ended calls count, because an outcome may be written again. */
  function findCall(id: string | null): Call | undefined {
    return id === null ? undefined : (openCalls.get(id) ?? endedCalls.get(id))
  }

  /** Two processes may have made two commitments of one name: they are one party as long as the name was not erased. */
  function partyKey(commitment: string): string {
    const value = values.get(commitment)
    return value === undefined ? commitment : `value ${value}`
  }

  function follow(body: BodyFields): string | null {
    const callId = text(body.call_id)
    const approvalId = text(body.approval_id)
    switch (body.kind) {
      case 'intent':
        if (callId !== null) openCalls.set(callId, { effect: body.effect, requester: partiesOf(body), spends: 0 })
        return null
      case 'held': {
        const named = partiesOf(body)
        const requester = named.length > 0 ? named : (findCall(callId)?.requester ?? [])
        if (approvalId !== null) approvals.set(approvalId, { callId, requester, votes: new Map() })
        return null
      }
      case 'vote':
        return noteVote(body, approvalId)
      case 'decided':
        if (approvalId !== null && member(body.detail, 'state') !== 'approved') approvals.delete(approvalId)
        return null
      case 'granted':
      case 'grant_used':
      case 'grant_revoked':
        return grants.follow(body.kind, body.detail)
      case 'spent':
        return checkSpend(body, { callId, approvalId })
      case 'outcome':
        return checkOutcome(body, callId)
      default:
        return null
    }
  }

  function noteVote(body: BodyFields, approvalId: string | null): string | null {
    const approval = approvalId === null ? undefined : approvals.get(approvalId)
    if (!approval) return isWhole ? 'a vote on an approval that is not open' : null
    const reviewer = text(body.reviewer)
    if (reviewer !== null) approval.votes.set(reviewer, member(body.detail, 'decision'))
    return null
  }

  function checkSpend(body: BodyFields, ids: { callId: string | null; approvalId: string | null }): string | null {
    const approval = ids.approvalId === null ? undefined : approvals.get(ids.approvalId)
    const call = findCall(ids.callId ?? approval?.callId ?? null)
    if (call) call.spends++
    if (!approval || ids.approvalId === null) return isWhole ? 'a spend of an approval that is not open' : null
    approvals.delete(ids.approvalId)

    const approvers = new Set(
      [...approval.votes].filter(([, decision]) => decision === 'approve').map(([who]) => partyKey(who)),
    )
    const requesting = new Set([...approval.requester, ...(call?.requester ?? []), ...partiesOf(body)].map(partyKey))
    if (!approvers.isDisjointFrom(requesting)) return 'a spend that somebody on the requesting side approved'
    const quorum = member(body.detail, 'quorum')
    const needed = typeof quorum === 'number' ? quorum : 1
    return approvers.size < needed ? `a spend with ${approvers.size} of the ${needed} approvals it needed` : null
  }

  function checkOutcome(body: BodyFields, callId: string | null): string | null {
    const call = findCall(callId)
    if (call && callId !== null && body.outcome !== 'pending') {
      openCalls.delete(callId)
      endedCalls.set(callId, call)
    }
    if (!SENT.has(body.outcome)) return null
    if (!call) return isWhole ? 'a call was forwarded without an intent' : null
    if (call.effect === 'deny') return 'a denied call was forwarded'
    if (call.effect === 'hold' && call.spends !== 1) return `a held call was forwarded after ${call.spends} spends`
    return null
  }

  return {
    /** Takes up values that were not erased; to be told before the entries that use them. */
    learn(personal: readonly PersonalRow[]): void {
      for (const { commitment, field, value } of personal) {
        if (field === 'party') values.set(Buffer.from(commitment).toString('base64'), value)
      }
    },
    /** Takes the next entry; null, or what it contradicts. */
    follow,
  }
}

/** Counts the uses of each grant by the log alone: whoever sets back what the store counted does not reach this. */
function createGrantCheck(isWhole: boolean) {
  const left = new Map<string, number>()

  return {
    follow(kind: 'granted' | 'grant_used' | 'grant_revoked', detail: unknown): string | null {
      const id = text(member(detail, 'grant'))
      if (id === null) return `an entry ${kind} that names no grant`
      if (kind === 'granted') {
        const most = member(detail, 'most_uses')
        left.set(id, typeof most === 'number' ? most : 0)
        return null
      }
      const uses = left.get(id)
      if (kind === 'grant_revoked') {
        left.set(id, 0)
        return null
      }
      if (uses !== undefined) left.set(id, uses - 1)
      if (uses === undefined) return isWhole ? 'a use of a grant that nobody gave' : null
      return uses > 0 ? null : 'a use of a grant that was used up or revoked'
    },
  }
}

/** A map that forgets what was set longest ago. */
function createRecent<Value>(max: number) {
  const entries = new Map<string, Value>()
  return {
    get: (key: string) => entries.get(key),
    set(key: string, value: Value): void {
      entries.delete(key)
      entries.set(key, value)
      const oldest = entries.size > max ? entries.keys().next() : null
      if (oldest && !oldest.done) entries.delete(oldest.value)
    },
  }
}

function partiesOf({ subject, on_behalf_of: onBehalfOf, owner, actors }: BodyFields): readonly string[] {
  return [subject, onBehalfOf, owner, ...(Array.isArray(actors) ? actors : [])].filter((p) => typeof p === 'string')
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}
