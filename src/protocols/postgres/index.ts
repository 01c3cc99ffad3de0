import type { Protocol, RunningProtocol } from '../../transports/protocol.ts'
import { statementFacts } from './naming/facts.ts'
import { VERBS } from './naming/tags.ts'
import { type PostgresOptions, postgresOptions } from './options.ts'
import type { PostgresParts } from './serve.ts'

/** PostgreSQL, on its own wire. */
export const postgres = {
  name: 'postgres',
  options: postgresOptions,
  facts: statementFacts,
  verbs: VERBS,
  takesMinted: true,
  hasRows: true,
  start,
} as const satisfies Protocol<PostgresOptions, PostgresParts>

/** Loaded by whoever serves, as HTTP is. */
async function start(parts: PostgresParts): Promise<RunningProtocol> {
  const { startPostgres } = await import('./serve.ts')
  return startPostgres(parts)
}
