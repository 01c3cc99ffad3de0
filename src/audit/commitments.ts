import { commitmentOf } from './chain.ts'

/** A value behind a commitment, as it is stored beside the chain until it is erased. */
export interface PersonalValue {
  /** `party`, `reason`, `model` or `claimed.<name>`. */
  readonly field: string
  readonly value: string
  readonly salt: Uint8Array
}

export interface Commitment extends PersonalValue {
  /** SHA-256(salt ‖ value) in base64, as bodies carry it. */
  readonly text: string
  /** Whether a committed transaction has stored the value, so that further entries need not bring it along. */
  isStored: boolean
}

const MAX_REMEMBERED = 10_000
// Longer ones (prompts, long reasons) hardly come twice, and would fill memory.
const MAX_REMEMBERED_LENGTH = 256

/**
 * Makes commitments, one per value as long as it is remembered: an agent known to this process costs no further row,
 * and can be followed through the log even after its name was erased. Remembers the most recently used values.
 */
export function createCommitments(random: (bytes: number) => Uint8Array) {
  const remembered = new Map<string, Commitment>()

  function remember(key: string, commitment: Commitment): void {
    remembered.delete(key)
    remembered.set(key, commitment)
    if (remembered.size <= MAX_REMEMBERED) return
    const oldest = remembered.keys().next()
    if (!oldest.done) remembered.delete(oldest.value)
  }

  return {
    commit(field: string, value: string): Commitment {
      const key = `${field}\0${value}`
      const known = remembered.get(key)
      if (known) {
        // Only what is full has to know what was used last.
        if (remembered.size > MAX_REMEMBERED / 2) remember(key, known)
        return known
      }
      const salt = random(32)
      const made = { field, value, salt, text: commitmentOf(salt, value).toString('base64'), isStored: false }
      if (value.length <= MAX_REMEMBERED_LENGTH) remember(key, made)
      return made
    },

    /** Takes up what the store holds already, at the start of a process. */
    recall(values: Iterable<PersonalValue>): void {
      for (const { field, value, salt } of values) {
        const text = commitmentOf(salt, value).toString('base64')
        remember(`${field}\0${value}`, { field, value, salt, text, isStored: true })
      }
    },

    /** After an erasure: what is named again gets another commitment. */
    forget(): void {
      remembered.clear()
    },
  }
}

export type Commitments = ReturnType<typeof createCommitments>
