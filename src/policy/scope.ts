import type { Action, FactSchema } from '../domain/action.ts'
import type { Party, Principal } from '../domain/principal.ts'
import { toCel } from './values.ts'

/** The variables of one action's conditions. Facts are converted once, and only those that some condition reads. */
export interface Scope {
  readonly variables: Record<string, unknown>
  /** Makes these facts known to the variables; their size together. Throws if one is not what its schema says. */
  load(names: readonly string[], schema: FactSchema): number
}

export interface ScopeParts {
  readonly principal: Principal
  readonly upstream: { readonly name: string; readonly labels: Readonly<Record<string, string>> }
  readonly callId: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

export function createScope(parts: ScopeParts, action: Action): Scope {
  const { principal, upstream, callId, now } = parts
  const facts = new Map<string, unknown>()
  const sizes = new Map<string, number>()
  const variables = {
    principal: describePrincipal(principal),
    action: new Map<string, unknown>([
      ['upstream', action.upstream],
      ['protocol', action.protocol],
      ['verb', action.verb],
      ['resource', action.resource],
      ['facts', facts],
    ]),
    upstream: new Map<string, unknown>([
      ['name', upstream.name],
      ['labels', new Map(Object.entries(upstream.labels))],
    ]),
    call: new Map([['id', callId]]),
    now: new Date(now),
  }

  return {
    variables,
    load(names, schema) {
      let total = 1 + Math.floor(action.resource.length / 64)
      for (const name of names) {
        const declared = schema[name]
        const fact = Object.hasOwn(action.facts, name) ? action.facts[name] : undefined
        if (!declared || fact === undefined) continue
        let size = sizes.get(name)
        if (size === undefined) {
          const cel = convert(name, () => toCel(declared.type, fact))
          facts.set(name, cel.value)
          size = cel.size
          sizes.set(name, size)
        }
        total += size
      }
      return total
    },
  }
}

function convert<T>(name: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new TypeError(`the fact "${name}" ${error instanceof Error ? error.message : 'cannot be read'}`, {
      cause: error,
    })
  }
}

/** A party that is not there is a field that is not there: `has()` tells. */
function describePrincipal(principal: Principal): Map<string, unknown> {
  const { issuer, subject, onBehalfOf, owner, client } = principal
  const fields = new Map<string, unknown>([
    ['issuer', issuer],
    ['subject', subject],
    ['actors', principal.actors.map(describeParty)],
    ['groups', principal.groups.map((group) => `${group.issuerName}/${group.name}`)],
  ])
  if (onBehalfOf) fields.set('on_behalf_of', describeParty(onBehalfOf))
  if (owner) fields.set('owner', describeParty(owner))
  if (client !== null) fields.set('client', client)
  return fields
}

function describeParty({ issuer, subject }: Party): Map<string, string> {
  return new Map([
    ['issuer', issuer],
    ['subject', subject],
  ])
}
