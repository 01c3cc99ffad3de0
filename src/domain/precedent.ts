import { counted } from './counted.ts'
import type { Person } from './principal.ts'

/**
 * What people decided on the same call before: of the same principal, with the same actions on the same upstream. Its
 * content may be another one, which is what `Difference` tells. Made by the gateway of approvals that it signed.
 */
export interface Precedents {
  /** Milliseconds: what was decided longer ago is not looked at. */
  readonly withinMs: number
  /** Whether there were more decisions than are looked at. */
  readonly isPartial: boolean
  /** By as many people as it took, who looked at it. */
  readonly approved: number
  /** Of these, with the very content of this call. */
  readonly identical: number
  /** In place of the reviewers. */
  readonly overridden: number
  /** By grants: nobody looked at these. */
  readonly granted: number
  readonly denied: number
  readonly approvers: readonly Approver[]
  readonly lastApproved: Precedent | null
  readonly lastDenied: Precedent | null
}

type Name = Pick<Person, 'issuer' | 'subject' | 'name'>

export interface Approver {
  readonly reviewer: Name
  readonly times: number
}

export interface Precedent {
  readonly approval: string
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly by: readonly { readonly reviewer: Name; readonly reason: string | null; readonly via: string }[]
  readonly difference: Difference
}

/** What is different in a later call. */
export interface Difference {
  /**
   * `none`: the same to the last byte. `attempt`: the same but for what clients make anew for every attempt. `content`:
   * another content.
   */
  readonly extent: 'none' | 'attempt' | 'content'
  /** Field by field, as cards show them. */
  readonly changes: readonly Change[]
  /** Changes that are not listed. */
  readonly more: number
  /** What could not be compared. */
  readonly unseen: readonly Unseen[]
}

/** What an agent wrote is in all three. */
export interface Change {
  /** Which field, as a JSON pointer (RFC 6901) into the body or in words. */
  readonly at: string
  /** Null where it was not there. */
  readonly before: string | null
  /** Null where it is not there. */
  readonly now: string | null
}

/** Reasons why two calls may differ in more than is listed, in words. */
export const UNSEEN = {
  off_card: 'Headers that cards do not show, and where the upstream is, are not compared.',
  hidden: 'What was replaced as a secret, or cut, on either card could not be compared.',
  not_text: 'A payload that is not text could not be compared.',
  order: 'What is in both stands in another order.',
} as const
export type Unseen = keyof typeof UNSEEN

/** What was decided, as parts of a sentence: the same words on every screen. Empty if nothing was. */
export function describeDecisions({
  approved,
  identical,
  overridden,
  granted,
  denied,
}: Pick<Precedents, 'approved' | 'identical' | 'overridden' | 'granted' | 'denied'>): readonly string[] {
  return [
    ...(denied > 0 ? [`denied ${times(denied)}`] : []),
    ...(approved > 0 ? [`approved ${times(approved)}, ${whichContent(approved, identical)}`] : []),
    ...(overridden > 0 ? [`overridden ${times(overridden)}`] : []),
    ...(granted > 0 ? [`let through ${times(granted)} by grants, which nobody looked at`] : []),
  ]
}

function whichContent(approved: number, identical: number): string {
  if (approved === 1) return identical === 0 ? 'not with the same content' : 'with the same content'
  return identical === 0 ? 'none of them with the same content' : `${identical} with the same content`
}

/** How much is different, in a sentence. */
export function describeExtent({ extent, changes, more }: Pick<Difference, 'extent' | 'changes' | 'more'>): string {
  const listed = changes.length + more
  if (extent === 'none') {
    return listed === 0 ? 'The same call, to the last byte.' : 'The same bytes; what stands around them is different:'
  }
  const same = 'The same but for what clients make anew for every attempt'
  if (extent === 'attempt') return listed === 0 ? `${same}, which cards do not show.` : `${same}:`
  return listed === 0 ? 'It differs, but in nothing that the cards show.' : 'What differs here:'
}

/** A duration in whole days, hours or minutes. */
export function describeSpan(ms: number): string {
  if (ms >= 2 * DAY_MS) return counted(Math.round(ms / DAY_MS), 'day')
  if (ms >= 2 * HOUR_MS) return counted(Math.round(ms / HOUR_MS), 'hour')
  return counted(Math.max(1, Math.round(ms / 60_000)), 'minute')
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

function times(count: number): string {
  if (count === 1) return 'once'
  return count === 2 ? 'twice' : `${count} times`
}
