import type { Action } from '../../domain/action.ts'
import type { Doing } from './plan.ts'
import type { Act, Named } from './statement.ts'

/** More things than that in one batch are not judged. */
export const MAX_ACTIONS = 1_000

/**
 * The actions of a batch: everything each statement that runs does to anything; and for one that is only made ready, that
 * it is: `prepare`.
 */
export function describeDoings(doings: readonly Doing[], upstream: string): readonly Action[] {
  const actions = new Map<string, Action>()
  const add = ({ verb, resource }: Pick<Act, 'verb' | 'resource'>, { facts }: Named) => {
    const action: Action = { upstream, protocol: 'postgres', verb, resource, facts: { ...facts } }
    // The same statement many times in one batch is one thing to judge; its facts hold its text.
    actions.set(JSON.stringify([verb, resource, facts.statement, facts.in_transaction]), action)
  }
  for (const { how, named } of doings) {
    for (const one of named) {
      if (how === 'prepare') add({ verb: 'prepare', resource: one.resource }, one)
      else for (const act of one.acts) add(act, one)
    }
  }
  return [...actions.values()]
}
