import type { Action } from '../../../domain/action.ts'
import { runningOf } from '../impact/touched.ts'
import type { Act, Named } from '../naming/statement.ts'
import type { Doing } from '../planning/plan.ts'

/** More things than that in one batch are not judged. */
export const MAX_ACTIONS = 1_000

/**
 * The actions of a batch: everything each statement that runs does to anything; and for one that is only made ready, that
 * it is: `prepare`.
 *
 * @param rows how many each statement that runs would touch, in their order, where that is known
 */
export function describeDoings(
  doings: readonly Doing[],
  upstream: string,
  rows: readonly (number | null)[] = [],
): readonly Action[] {
  const actions = new Map<string, Action>()
  const add = ({ verb, resource }: Pick<Act, 'verb' | 'resource'>, { facts }: Named, touched: number | null) => {
    const counted = touched === null ? {} : { rows: touched }
    const action: Action = { upstream, protocol: 'postgres', verb, resource, facts: { ...facts, ...counted } }
    // The same statement many times in one batch is one thing to judge; its facts hold its text.
    actions.set(JSON.stringify([verb, resource, facts.statement, facts.in_transaction, touched]), action)
  }
  for (const [index, { named }] of runningOf(doings).entries()) {
    for (const act of named.acts) add(act, named, rows[index] ?? null)
  }
  for (const { how, named } of doings) {
    if (how === 'prepare') for (const one of named) add({ verb: 'prepare', resource: one.resource }, one, null)
  }
  return [...actions.values()]
}
