/** Which patterns match is found by walking the resource once: no backtracking, whatever the agent sends. */

interface Branch {
  readonly literals: Map<string, Branch>
  /** Where `*` leads. */
  one: Branch | null
  /** Where `**` leads; such a branch keeps itself alive over any segment. */
  any: Branch | null
  readonly isAny: boolean
  /** What ends here. */
  readonly values: number[]
}

/** Patterns of resources, each with a number. */
export interface PatternTree {
  add(pattern: string, value: number): void
  /** Tells the number of every pattern that matches; one that was added under several patterns perhaps more than once. */
  match(resource: string, found: (value: number) => void): void
}

/** Why no call has such a resource, or none that such a pattern matches; null if there may be one. */
export function slashFault(text: string): string | null {
  if (text === '/' || !text.endsWith('/')) return null
  const bare = text.replace(/\/+$/, '') || '/'
  const below = bare.endsWith('*')
    ? ''
    : `, which is the path with and without one, or "${bare}/**" for what is below it too`
  return `"${text}": no resource ends in a slash; write "${bare}"${below}`
}

/** Why a text is no pattern; null if it is one. */
export function patternFault(pattern: string): string | null {
  if (pattern === '') return 'must not be empty'
  const slash = slashFault(pattern)
  if (slash) return slash
  for (const segment of pattern.split('/')) {
    if (segment.includes('*') && segment !== '*' && segment !== '**') {
      return `"${segment}": "*" and "**" stand for whole segments between slashes; use "when" for parts of one`
    }
  }
  return null
}

/**
 * `*` matches one segment that is not empty, `**` any number of segments, also none; everything else matches itself,
 * exactly. The time to match is bounded by segments times patterns.
 */
export function createPatternTree(): PatternTree {
  const root = createBranch(false)

  return {
    add(pattern, value) {
      let branch = root
      for (const segment of pattern.split('/')) branch = descend(branch, segment)
      branch.values.push(value)
    },
    match(resource, found) {
      let alive = new Set<Branch>()
      enter(alive, root)
      for (const segment of resource.split('/')) {
        const next = new Set<Branch>()
        for (const branch of alive) {
          if (branch.isAny) enter(next, branch)
          const literal = branch.literals.get(segment)
          if (literal) enter(next, literal)
          if (branch.one && segment !== '') enter(next, branch.one)
        }
        if (next.size === 0) return
        alive = next
      }
      for (const branch of alive) for (const value of branch.values) found(value)
    },
  }
}

/** Whether one pattern matches. */
export function isMatch(pattern: string, resource: string): boolean {
  const tree = createPatternTree()
  tree.add(pattern, 0)
  let matched = false
  tree.match(resource, () => {
    matched = true
  })
  return matched
}

/** A branch that is alive also makes its `**` alive, which may stand for no segment at all. */
function enter(alive: Set<Branch>, branch: Branch): void {
  alive.add(branch)
  if (branch.any) enter(alive, branch.any)
}

function descend(branch: Branch, segment: string): Branch {
  if (segment === '*') {
    branch.one ??= createBranch(false)
    return branch.one
  }
  if (segment === '**') {
    // `**/**` means the same as `**`.
    if (branch.isAny) return branch
    branch.any ??= createBranch(true)
    return branch.any
  }
  const known = branch.literals.get(segment)
  if (known) return known
  const created = createBranch(false)
  branch.literals.set(segment, created)
  return created
}

function createBranch(isAny: boolean): Branch {
  return { literals: new Map(), one: null, any: null, isAny, values: [] }
}
