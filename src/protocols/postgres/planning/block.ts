import type { Named } from '../naming/statement.ts'

const ENDS: ReadonlySet<string> = new Set(['commit', 'rollback', 'rollback_to'])

/** Those of the statements that stand behind the first one which ends a transaction block, or goes back in it. */
export function behindEnd(statements: readonly Named[]): readonly Named[] {
  const end = statements.findIndex(({ effects }) => effects.some(({ does }) => ENDS.has(does)))
  return end === -1 ? [] : statements.slice(end + 1)
}
