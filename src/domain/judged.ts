import type { Actions } from './action.ts'
import type { Refusal } from './refusal.ts'
import type { Verdict } from './verdict.ts'

/**
 * What the gate does with a call, and what the audit log says of it. In `observe` mode the effect is `allow`, whatever
 * the verdict.
 */
export type Judged = Allowed | Held | Denied

/** Let through at once. */
export interface Allowed extends Named {
  readonly effect: 'allow'
}

/** Let through once people have agreed. */
export interface Held extends Named {
  readonly effect: 'hold'
}

/**
 * The verdict is null where the call could not be named, so that no policy was asked; the actions are null only if not
 * even its head could be read.
 */
export interface Denied {
  readonly effect: 'deny'
  readonly verdict: Verdict | null
  readonly actions: Actions | null
  readonly refusal: Refusal
}

/** It could be named, so that policy was asked. */
interface Named {
  readonly verdict: Verdict
  readonly actions: Actions
  readonly refusal: null
}
