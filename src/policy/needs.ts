import type { FactSchema, Need, Needs } from '../domain/action.ts'
import type { Read } from './syntax.ts'

/** Which facts an expression reads; `all` if that cannot be told from its text. */
export type FactNames = ReadonlySet<string> | 'all'

/** The facts that these reads ask for: `action.facts.body.amount` is the fact `body`. */
export function factsRead(reads: readonly Read[]): FactNames {
  const names = new Set<string>()
  for (const { root, fields } of reads) {
    if (root !== 'action') continue
    const [first, fact] = fields
    // `action` or `action.facts` passed on whole, or indexed by something computed: any fact may be meant.
    if (first === undefined || (first === 'facts' && fact === undefined)) return 'all'
    if (first === 'facts' && fact !== undefined) names.add(fact)
  }
  return names
}

/** What a protocol has to fetch for those facts to be known. */
export function needsOf(names: FactNames, facts: FactSchema): Needs {
  const needs = new Set<Need>()
  for (const [name, declaration] of Object.entries(facts)) {
    if (declaration.need !== undefined && (names === 'all' || names.has(name))) needs.add(declaration.need)
  }
  return needs
}
