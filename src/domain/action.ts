/** What a call would do, in the protocol's own terms. */
export interface Action {
  readonly upstream: string
  readonly protocol: string
  readonly verb: string
  readonly resource: string
  readonly facts: Facts
}

/** The one or more actions of a call: one per SQL statement, one per GraphQL root field, one for a plain HTTP request. */
export type Actions = readonly [Action, ...Action[]]

export type Facts = Readonly<Record<string, unknown>>

/**
 * The type of a fact, in CEL's words. `dyn` is data whose shape only the agent knows (a JSON body): expressions
 * on it are checked when they run, and one that throws is a deny.
 */
export type FactType = 'string' | 'int' | 'double' | 'bool' | 'list<string>' | 'map<string, list<string>>' | 'dyn'

/** One typed attribute of an action that policy may read. */
export interface FactDeclaration {
  readonly type: FactType
  /** What must be fetched before the fact is known; absent if the head of the call tells it. */
  readonly need?: Need
  /** One sentence for the documentation and for editors. */
  readonly doc: string
}

export type FactSchema = Readonly<Record<string, FactDeclaration>>

/** What a protocol can be asked to fetch before it describes a call: its body, the number of rows it would touch, … */
export type Need = string
export type Needs = ReadonlySet<Need>
export const NOTHING_NEEDED: Needs = new Set()
