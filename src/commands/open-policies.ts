import { openAudit } from '../audit/open.ts'
import type { Config } from '../config.ts'
import { systemClock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import type { PolicyStore } from '../policy/publish.ts'
import { openStoreBeside } from './open-store.ts'
import type { Kinds } from './parts.ts'
import { openPolicies } from './rulebook.ts'

/** Works on the store's policies from a command, beside gateways that may be running. */
export async function withPolicies<Result>(
  { config, kinds, log }: { config: Config; kinds: Kinds; log: Logger },
  work: (policies: PolicyStore) => Promise<Result>,
): Promise<Result> {
  await using undo = new AsyncDisposableStack()
  const store = await openStoreBeside(config, log)
  undo.defer(() => store.close())
  const { createMetrics } = await import('../platform/metrics.ts')
  const ground = { ...store, clock: systemClock, log, metrics: createMetrics() }
  const { audit, close } = await openAudit(ground)
  undo.defer(close)
  const policies = openPolicies(config, ground, { kinds, audit })
  undo.defer(() => policies.stop())
  return await work(policies)
}
