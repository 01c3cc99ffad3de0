import type { Config } from '../config.ts'
import type { CompileContext } from '../policy/compile.ts'
import type { Kinds } from './parts.ts'

/** What the policies of a configuration are checked against: its upstreams, and what their protocols declare. */
export function compileContext(config: Pick<Config, 'upstreams'>, { protocols }: Kinds): CompileContext {
  return {
    upstreams: config.upstreams,
    facts: Object.fromEntries(protocols.map(({ name, facts }) => [name, facts])),
    verbs: Object.fromEntries(protocols.map(({ name, verbs }) => [name, verbs])),
    withRows: new Set(protocols.flatMap(({ name, hasRows }) => (hasRows ? [name] : []))),
  }
}
