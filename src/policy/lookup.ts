import type { Principal } from '../domain/principal.ts'
import type { Selector } from '../domain/selector.ts'
import { createPatternTree } from './pattern.ts'

/** Which calls a rule or a breaker is about. Null where it leaves a criterion open. */
export interface Criteria {
  readonly upstreams: ReadonlySet<string> | null
  readonly verbs: readonly string[] | null
  readonly resources: readonly string[] | null
  readonly principals: readonly Selector[] | null
}

/** Where a call points. A call that could not be named has neither verb nor resource, and matches what asks for none. */
export interface Target {
  readonly verb: string | null
  readonly resource: string | null
  readonly principal: Principal
}

/** Finds the rules (or breakers) of one upstream that match a call by verb, resource and principal, in the order given. */
export interface Lookup<Rule extends Criteria> {
  find(target: Target): readonly Rule[]
}

/**
 * Each criterion gives a set of rules as bits, and the sets are intersected 32 rules at a time: with a thousand rules
 * the cost is that of the few that match, however they are spread.
 */
export function createLookup<Rule extends Criteria>(rules: readonly Rule[]): Lookup<Rule> {
  const words = Math.ceil(rules.length / 32)
  const anyVerb = new Uint32Array(words)
  const byVerb = new Map<string, Uint32Array>()
  const anyResource = new Uint32Array(words)
  const byResource = createPatternTree()
  const anyPrincipal = new Uint32Array(words)
  const bySelector = new Map<string, Uint32Array>()
  // A principal lives as long as its token is cached, and makes many calls.
  const known = new WeakMap<Principal, Uint32Array>()

  for (const [index, rule] of rules.entries()) {
    if (rule.verbs === null) set(anyVerb, index)
    for (const verb of rule.verbs ?? []) set(obtain(byVerb, verb, words), index)
    if (rule.resources === null) set(anyResource, index)
    for (const pattern of rule.resources ?? []) byResource.add(pattern, index)
    if (rule.principals === null) set(anyPrincipal, index)
    for (const selector of rule.principals ?? []) set(obtain(bySelector, keyOf(selector), words), index)
  }
  for (const bits of byVerb.values()) unite(bits, anyVerb)

  function rulesFor(principal: Principal): Uint32Array {
    const cached = known.get(principal)
    if (cached) return cached
    const bits = anyPrincipal.slice()
    for (const name of namesOf(principal)) {
      const named = bySelector.get(name)
      if (named) unite(bits, named)
    }
    known.set(principal, bits)
    return bits
  }

  return {
    find({ verb, resource, principal }) {
      const bits = anyResource.slice()
      if (resource !== null) byResource.match(resource, (index) => set(bits, index))
      const verbBits = (verb !== null && byVerb.get(verb)) || anyVerb
      const principalBits = rulesFor(principal)
      const found: Rule[] = []
      for (let word = 0; word < words; word++) {
        let rest = (bits[word] ?? 0) & (verbBits[word] ?? 0) & (principalBits[word] ?? 0)
        while (rest !== 0) {
          const rule = rules[word * 32 + 31 - Math.clz32(rest & -rest)]
          if (rule) found.push(rule)
          rest &= rest - 1
        }
      }
      return found
    },
  }
}

/** Every selector that names this principal. */
function namesOf(principal: Principal): readonly string[] {
  const { issuer, subject, groups } = principal
  return [
    keyOf({ kind: 'any' }),
    keyOf({ kind: 'party', party: { issuer, subject } }),
    ...groups.flatMap(({ issuerName, name }) => [
      keyOf({ kind: 'group', issuerName: null, name }),
      keyOf({ kind: 'group', issuerName, name }),
    ]),
  ]
}

/** Unlike the written form, never the same for two selectors: a group may be named like another issuer's group. */
function keyOf(selector: Selector): string {
  switch (selector.kind) {
    case 'any':
      return '*'
    case 'group':
      return JSON.stringify(['group', selector.issuerName, selector.name])
    case 'party':
      return JSON.stringify(['party', selector.party.issuer, selector.party.subject])
  }
}

function obtain(map: Map<string, Uint32Array>, key: string, words: number): Uint32Array {
  const known = map.get(key)
  if (known) return known
  const created = new Uint32Array(words)
  map.set(key, created)
  return created
}

function set(bits: Uint32Array, index: number): void {
  bits[index >> 5] = (bits[index >> 5] ?? 0) | (1 << (index & 31))
}

function unite(bits: Uint32Array, others: Uint32Array): void {
  for (let word = 0; word < bits.length; word++) bits[word] = (bits[word] ?? 0) | (others[word] ?? 0)
}
