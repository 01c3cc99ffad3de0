import type { Arrival, Exchange } from '../domain/call.ts'
import type { Principal } from '../domain/principal.ts'
import type { Gate } from '../gate.ts'

/** The calls under way, each from its arrival to the record of its outcome. */
export interface UnderWay {
  /** The gate's, with the call among those of its principal for as long as it takes, however it ends. */
  pass: Gate['pass']
  /** The id of the oldest one; null if there is none. */
  oldestCallId(): string | null
}

interface Parts {
  readonly pass: Gate['pass']
  /** Counts a call of this principal, until what is returned is called. */
  begin(principal: Principal): () => void
}

export function createUnderWay({ pass, begin }: Parts): UnderWay {
  // Calls arrive in the order of their ids, so that the first key is the oldest. The value ends the principal's count.
  const calls = new Map<string, (() => void) | null>()

  return {
    async pass(arrival: Arrival): Promise<void> {
      const { id } = arrival
      // The gate opens a call in the moment in which it is admitted: nothing comes between the limit and the count.
      const open = (principal: Principal): Exchange => {
        calls.set(id, begin(principal))
        return arrival.open(principal)
      }
      calls.set(id, null)
      try {
        await pass({ ...arrival, open })
      } finally {
        calls.get(id)?.()
        calls.delete(id)
      }
    },
    oldestCallId: () => calls.keys().next().value ?? null,
  }
}
