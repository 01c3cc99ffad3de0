import type { Relay } from '../relay/relay.ts'
import { encodeFrontend } from '../wire/frontend.ts'

/**
 * The relay, but that a batch is told to commit only when all that it returns is here: what cannot be given to the agent
 * has not happened. Messages of the extended protocol are not committed before their Sync.
 *
 * @param told of the moment before, and of the moment after
 */
export function commitLast(
  relay: Relay,
  told: { readonly committing: () => void; readonly committed: () => Promise<void> },
): Relay {
  const forward: Relay['forward'] = async (messages, slots, ...terms) => {
    const [sync] = messages.slice(-1)
    const [last] = slots.slice(-1)
    if (!sync || last?.kind !== 'sync') return relay.forward(messages, slots, ...terms)
    const begins = [...messages.slice(0, -1), encodeFrontend({ type: 'flush' })]
    const early = slots.length === 1 ? null : await relay.forward(begins, slots.slice(0, -1), ...terms)
    told.committing()
    const late = await relay.forward([sync], [last], ...terms)
    await told.committed()
    return { error: early?.error ?? late.error }
  }
  // Not a copy: most of a relay says how things stand at the moment. `Object.create` gives no type.
  return Object.create(relay, { forward: { value: forward } }) as Relay
}
