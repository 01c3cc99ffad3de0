import type { Queue } from '../approvals/queue.ts'
import type { createRecorder } from '../audit/record.ts'
import type { Exchange } from '../domain/call.ts'
import type { Judged } from '../domain/judged.ts'
import type { SeenAgents } from '../identity/seen-agents.ts'
import type { Brakes } from './brakes.ts'
import type { Ground } from './ground.ts'

/** Besides the log, the metrics, the approval and the breakers learn how a call has ended, and people which agents call. */
export function noteEnds(
  recorder: ReturnType<typeof createRecorder>,
  {
    queue,
    seen,
    brakes,
    ground,
  }: {
    queue: Pick<Queue, 'finish'>
    seen: Pick<SeenAgents, 'note'>
    brakes: Pick<Brakes, 'onEnded'>
    ground: Pick<Ground, 'metrics' | 'log'>
  },
): ReturnType<typeof createRecorder> {
  const { metrics, log } = ground
  const judgements = new WeakMap<Exchange, Judged>()
  return {
    intent(call, judged) {
      judgements.set(call, judged)
      seen.note(call.principal, judged.effect)
      return recorder.intent(call, judged)
    },
    async outcome(call, approval, outcome) {
      const judged = judgements.get(call)
      metrics.calls.inc({ upstream: call.upstream.name, effect: judged?.effect ?? 'deny', outcome: outcome.name })
      await recorder.outcome(call, approval, outcome)
      if (judged) {
        await brakes.onEnded(call, judged, outcome).catch((error: unknown) => {
          log.error({ err: error, call: call.id }, 'a call that could not be read was not counted yet')
        })
      }
      if (!approval) return
      await queue.finish(approval, { callId: call.id, outcome }).catch((error: unknown) => {
        log.error({ err: error, call: call.id }, 'the end of a held call could not be noted with its approval')
      })
    },
  }
}
