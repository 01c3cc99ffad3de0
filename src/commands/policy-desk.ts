import type { CallCase, PolicyDesk } from '../control/desk.ts'
import { runDescribed } from '../policy/cases.ts'
import type { CompileContext } from '../policy/compile.ts'
import { isProblems } from '../policy/problem.ts'
import type { PolicyStore } from '../policy/publish.ts'

/** The rules that decide, for the console. */
export function openPolicyDesk(
  context: CompileContext,
  policies: Pick<PolicyStore, 'active' | 'whyNone' | 'inForce'>,
): PolicyDesk {
  return {
    inForce: policies.inForce,
    whyNone: policies.whyNone,
    upstreams: context.upstreams.map(({ name }) => name),
    explain(described) {
      const set = policies.active()
      if (!set) return { faults: ['no policy decides'] }
      // JSON is YAML.
      const text = JSON.stringify({ ...described, have: fetched(described, context) })
      const found = runDescribed({ file: 'the form', text, set, context })
      return isProblems(found) ? { faults: found.map(({ message }) => message) } : found
    },
  }
}

/** What would have been fetched of a call, to know these facts of it. */
function fetched({ upstream, facts }: CallCase, context: CompileContext): readonly string[] {
  const protocol = context.upstreams.find(({ name }) => name === upstream)?.protocol ?? ''
  const declared = new Map(Object.entries(context.facts[protocol] ?? {}))
  return Object.keys(facts).flatMap((name) => declared.get(name)?.need ?? [])
}
