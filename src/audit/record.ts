import type { Approval } from '../domain/approval.ts'
import type { Exchange, Intent, Outcome } from '../domain/call.ts'
import type { Entry } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Judged } from '../domain/judged.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import { formatMask, formatRule } from '../domain/verdict.ts'
import type { Logger } from '../platform/logger.ts'
import type { AuditLog } from './log.ts'

/** Writes the two entries of a call: what was judged, before anything is forwarded, and what became of it. */
export function createRecorder({ audit, log }: { audit: AuditLog; log: Logger }) {
  return {
    /** Commits and chains the intent. A refusal if that could not be done: then nothing may be forwarded. */
    async intent(call: Exchange, judged: Judged): Promise<Intent | Refusal> {
      try {
        return await audit.intent(intentEntry(call, judged))
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error
        log.error({ err: error, call: call.id }, 'the intent of a call could not be recorded')
        return refuse('unavailable', 'Not executed. The audit log cannot be written; try again.', { retryAfterS: 2 })
      }
    },

    /** The call is over either way, so a failure here is logged; the sweeper then records its outcome as unknown. */
    async outcome(call: Exchange, approval: Approval | null, outcome: Outcome): Promise<void> {
      try {
        await audit.append(outcomeEntry(call, approval, outcome))
      } catch (error) {
        log.error({ err: error, call: call.id, outcome: outcome.name }, 'the outcome of a call could not be recorded')
      }
    },
  }
}

function intentEntry(call: Exchange, judged: Judged): Entry & { kind: 'intent'; callId: string } {
  const { verdict, actions } = judged
  const deciding = actions?.[verdict?.decidingAction ?? 0]
  const rule = verdict?.rules[0]
  const { reason, model, prompt, conversation, trace } = call.claimed
  const claimed = { ...(prompt && { prompt }), ...(conversation && { conversation }), ...(trace && { trace }) }
  return {
    kind: 'intent',
    callId: call.id,
    principal: call.principal,
    upstream: call.upstream.name,
    ...(deciding && { verb: deciding.verb, resource: deciding.resource }),
    effect: judged.effect,
    ...(rule && { rule: formatRule(rule) }),
    ...(verdict && { policyVersion: verdict.policyVersion }),
    ...(reason && { reason }),
    ...(model && { model }),
    ...(Object.keys(claimed).length > 0 && { claimed }),
    detail: intentDetail(call, judged),
  }
}

/** The columns show the deciding action and rule; here are all of them, where there are more. */
function intentDetail({ upstream }: Exchange, { effect, verdict, actions, refusal }: Judged): JsonObject {
  const rules = verdict?.rules ?? []
  const masked = upstream.mode === 'enforce' ? (verdict?.masks ?? []).map(formatMask) : []
  return {
    ...(actions && actions.length > 1 && { actions: actions.map(({ verb, resource }) => ({ resource, verb })) }),
    ...(verdict && verdict.basis !== 'rule' && { basis: verdict.basis }),
    ...(refusal && { code: refusal.code }),
    ...(masked.length > 0 && { masked: [...new Set(masked)] }),
    ...(verdict && verdict.effect !== effect && { observed: verdict.effect }),
    ...(rules.length > 1 && { rules: rules.map(formatRule) }),
  }
}

function outcomeEntry(call: Exchange, approval: Approval | null, outcome: Outcome): Entry {
  const { status, bytesIn, bytesOut, requestHash, responseHash, durationMs, refusal, rows } = outcome
  return {
    kind: 'outcome',
    callId: call.id,
    ...(approval && { approvalId: approval.id }),
    upstream: call.upstream.name,
    outcome: outcome.name,
    // In the order of their names: an entry that is in order is written in a third of the time.
    detail: {
      ...(bytesIn !== undefined && { bytes_in: bytesIn }),
      ...(bytesOut !== undefined && { bytes_out: bytesOut }),
      ...(refusal && { code: refusal.code }),
      ...(rows && { foreseen: rows.foreseen }),
      ...(durationMs !== undefined && { ms: Math.round(durationMs) }),
      ...(requestHash !== undefined && { request_sha256: requestHash }),
      ...(responseHash !== undefined && { response_sha256: responseHash }),
      ...(rows && { rows: rows.touched }),
      ...(status !== undefined && { status }),
    },
  }
}
