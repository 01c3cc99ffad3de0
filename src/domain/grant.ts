import type { Covers } from './permit.ts'
import type { Party, Person, Principal } from './principal.ts'
import { formatParty } from './principal.ts'
import { formatRule, type RuleRef } from './verdict.ts'

/** A reviewer's bounded "yes, and the same again". Times are milliseconds since the epoch. */
export interface Grant {
  readonly id: string
  /** On which it was given. */
  readonly approval: string
  readonly by: Person
  readonly reason: string | null
  readonly agent: Principal
  readonly upstream: string
  readonly verb: string
  readonly resource: string
  readonly covers: Covers
  readonly rules: readonly RuleRef[]
  readonly uses: number
  readonly mostUses: number
  readonly givenAt: number
  readonly until: number
  readonly revokedAt: number | null
}

export type RevokeResult =
  /** `isChanged` is false if it was over already: then nothing is recorded. */
  | { readonly done: true; readonly isChanged: boolean; readonly grant: Grant }
  | { readonly done: false; readonly fault: 'not_found' | 'not_allowed' }

export interface RevokeRequest {
  readonly grant: string
  readonly by: Person
  readonly reason: string | null
  /** The surface it came through: `api`, `console`. */
  readonly via: string
}

/** The same words on every screen: what a grant lets happen, without its end. */
export function describeGranted(what: {
  readonly agent: { readonly subject: string; readonly onBehalfOf: Party | null }
  readonly upstream: string
  readonly verb: string
  readonly resource: string
  readonly covers: Covers
  readonly rules: readonly RuleRef[]
}): string {
  const { agent, upstream, verb, resource, covers, rules } = what
  const who = agent.onBehalfOf ? `${agent.subject} for ${formatParty(agent.onBehalfOf)}` : agent.subject
  const held = `that ${rules.map(formatRule).join(' and ')} ${rules.length > 1 ? 'hold' : 'holds'}`
  switch (covers) {
    case 'call':
      return `${who} may send exactly this call again: ${verb} ${resource} on ${upstream}, with the same content`
    case 'resource':
      return `${who} may send any ${verb} ${resource} on ${upstream} ${held}, whatever its content`
    case 'rule':
      return `${who} may send any ${verb} on ${upstream} ${held}, whatever its resource and its content`
  }
}
