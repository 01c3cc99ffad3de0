import type { Named } from '../naming/statement.ts'
import { behindEnd } from '../planning/block.ts'
import type { Doing } from '../planning/plan.ts'

/**
 * Whether what a batch does depends on what a call cannot be bound to. What is decided of it is for this call: the same
 * words are no sign that another one does the same. That is so of
 * - what is temporary: another session, or this one later, has something else of the name;
 * - the row that a cursor stands at;
 * - what stands behind the end of an open transaction, or a return to a savepoint: what was set before that is in force
 *   again, and cannot be asked for by then;
 * - everything, once code that cannot be seen may have set something, or where the upstream did not say what is set: a
 *   client's own statement_timeout ends the question.
 */
export function isOnlyItself(
  doings: readonly Doing[],
  session: { readonly isInBlock: boolean; readonly hasUnseenSettings: boolean; readonly isAsked: boolean },
): boolean {
  if (session.hasUnseenSettings || !session.isAsked) return true
  const named = doings.flatMap((doing) => doing.named)
  if (named.some((one) => usesTemporary(one) || takesCurrent(one))) return true
  const run = doings.flatMap((doing) => (doing.how === 'run' ? doing.named : []))
  return session.isInBlock && behindEnd(run).length > 0
}

/** To make something temporary is the same wherever it is done. */
function usesTemporary({ acts }: Named): boolean {
  return acts.some(({ verb, resource }) => !verb.startsWith('create ') && /^pg_temp(_\d+)?\./.test(resource))
}

function takesCurrent({ effects }: Named): boolean {
  return effects.some(({ does }) => does === 'take_current')
}
