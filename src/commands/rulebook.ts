import { resolve } from 'node:path'
import type { AuditLog } from '../audit/log.ts'
import type { Config } from '../config.ts'
import type { Exchange } from '../domain/call.ts'
import { GatewayError } from '../domain/error.ts'
import type { Judged } from '../domain/judged.ts'
import { principalKey } from '../domain/principal.ts'
import { refuse } from '../domain/refusal.ts'
import { createManagers } from '../identity/managers.ts'
import type { Suspensions } from '../identity/suspensions.ts'
import { formatProblem } from '../platform/yaml.ts'
import { compile } from '../policy/compile.ts'
import { decide } from '../policy/decide.ts'
import { createJudge } from '../policy/judge.ts'
import { loadPolicies } from '../policy/load.ts'
import { openPolicyMark } from '../policy/mark.ts'
import { createPolicyStore, type PolicyStore } from '../policy/publish.ts'
import { createUsage, type Usage } from '../policy/usage.ts'
import type { Ground } from './ground.ts'
import type { Kinds } from './parts.ts'
import { compileContext } from './policy-context.ts'
import { orUnavailable } from './unavailable.ts'

/** The store's policies, as this configuration compiles them. Nothing is looked at yet. */
export function openPolicies(
  config: Config,
  { database, keys, dataDir, clock, log, metrics }: Omit<Ground, 'undo'>,
  { kinds, audit }: { kinds: Kinds; audit: Pick<AuditLog, 'append' | 'within'> },
): PolicyStore {
  return createPolicyStore({
    database,
    keys: keys.mac,
    mark: openPolicyMark(dataDir, keys.mac),
    audit,
    load: () => loadPolicies(resolve(config.directory, config.policies)),
    compile: (source) => compile(source, compileContext(config, kinds)),
    clock,
    log,
    metrics,
  })
}

/** What policy says of calls, and how much of its limits they use. */
export interface Rulebook {
  readonly policies: PolicyStore
  readonly usage: Usage
  judge(call: Exchange): Promise<Judged>
}

/** @throws GatewayError `config` if this machine's policies cannot be used, and no others are active. */
export async function startRulebook(
  config: Config,
  ground: Ground,
  parts: {
    kinds: Kinds
    audit: Pick<AuditLog, 'append' | 'within'>
    by: string
    readonly suspensions: Pick<Suspensions, 'isSuspended' | 'heldBy'>
  },
): Promise<Rulebook> {
  const { database, clock, log, undo } = ground
  const policies = openPolicies(config, ground, parts)
  undo.defer(() => policies.stop())
  const published = await policies.publishAtStart(parts.by)
  if (published.result === 'refused' && !policies.active()) {
    throw new GatewayError('config', published.problems.map(formatProblem).join('\n'))
  }
  await policies.follow()
  const usage = createUsage({ database, clock, log })
  usage.start()
  undo.defer(() => usage.stop())

  const judge = createJudge({
    decide(call, known) {
      const set = policies.active()
      if (!set) return NO_POLICY
      const { principal, upstream, id } = call
      return decide(set, { ...known, principal, upstream, callId: id, now: clock.now() })
    },
    ...parts.suspensions,
    managerOf: createManagers(config.people),
    applyLimits: orUnavailable(log, async (call: Exchange, verdict) =>
      verdict.limits.length === 0 ? verdict : usage.apply(principalKey(call.principal), verdict),
    ),
  })
  return { policies, usage, judge }
}

const NO_POLICY = refuse('unavailable', 'Not executed. The gateway has no policy to decide by; try again.', {
  retryAfterS: 5,
})
