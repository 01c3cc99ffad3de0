/** The lines of one plan that a reviewer is shown at most. */
const MAX_NODES = 6

/**
 * What EXPLAIN (FORMAT JSON) says, for somebody who has to judge a statement: what is read how, and about how many rows
 * that is. Null if it does not say what a plan says.
 */
export function readPlan(json: string): readonly string[] | null {
  const root = rootOf(json)
  if (!root) return null
  const lines: string[] = []
  const visit = (node: Node): void => {
    if (lines.length < MAX_NODES) lines.push(lineOf(node))
    for (const inner of node.Plans ?? []) visit(inner)
  }
  visit(root)
  return lines
}

/** As far as it is read here. */
interface Node {
  readonly 'Node Type'?: string
  readonly Operation?: string
  readonly 'Relation Name'?: string
  readonly Schema?: string
  readonly 'Index Name'?: string
  readonly 'Plan Rows'?: number
  readonly Plans?: readonly Node[]
}

function rootOf(json: string): Node | null {
  try {
    // The upstream's own words; every member is optional.
    const [first] = JSON.parse(json) as readonly { readonly Plan?: Node }[]
    return first?.Plan ?? null
  } catch {
    return null
  }
}

function lineOf(node: Node): string {
  const { Operation: operation, Plans: plans = [] } = node
  const what = operation === undefined ? (node['Node Type'] ?? 'a step') : operation
  const on = node['Relation Name'] === undefined ? '' : ` on ${node['Relation Name']}`
  const by = node['Index Name'] === undefined ? '' : ` by ${node['Index Name']}`
  // What changes rows yields none: those that it is fed with are what it touches.
  const rows = operation === undefined ? node['Plan Rows'] : plans[0]?.['Plan Rows']
  return `${what}${on}${by}${rows === undefined ? '' : `, about ${rows} rows`}`
}
