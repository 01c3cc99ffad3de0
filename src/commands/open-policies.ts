import { resolve } from 'node:path'
import { openAudit } from '../audit/open.ts'
import type { Config } from '../config.ts'
import { systemClock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import { createMetrics } from '../platform/metrics.ts'
import { compile } from '../policy/compile.ts'
import { loadPolicies } from '../policy/load.ts'
import { createPolicyStore, type PolicyStore } from '../policy/publish.ts'
import { openStoreBeside } from './open-store.ts'
import type { Kinds } from './parts.ts'
import { compileContext } from './policy-context.ts'

/** Works on the store's policies from a command, beside gateways that may be running. */
export async function withPolicies<Result>(
  { config, kinds, log }: { config: Config; kinds: Kinds; log: Logger },
  work: (policies: PolicyStore) => Promise<Result>,
): Promise<Result> {
  await using undo = new AsyncDisposableStack()
  const metrics = createMetrics()
  const { database, keys, dataDir, close } = await openStoreBeside(config, log)
  undo.defer(close)
  const { audit, close: closeAudit } = await openAudit({
    database,
    keys,
    dataDir,
    clock: systemClock,
    log,
    metrics,
    // A command releases no call; the gateways withdraw what is in doubt.
    withdrawOlder: async () => undefined,
  })
  undo.defer(closeAudit)
  const policies = createPolicyStore({
    database,
    keys: keys.mac,
    audit,
    load: () => loadPolicies(resolve(config.directory, config.policies)),
    compile: (source) => compile(source, compileContext(config, kinds)),
    clock: systemClock,
    log,
    metrics,
  })
  undo.defer(() => policies.stop())
  return await work(policies)
}
