import type { ASTNode } from '@marcbachmann/cel-js'

/** Comprehensions: their first argument names a variable that only the others see. */
const MACROS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'map', 'filter'])

export interface Comprehension {
  readonly name: string
  readonly range: ASTNode
  readonly variable: ASTNode
  readonly body: readonly ASTNode[]
}

export function asComprehension(node: ASTNode): Comprehension | null {
  if (node.op !== 'rcall') return null
  const [name, range, args] = node.args
  const [variable, ...body] = args
  if (!MACROS.has(name) || variable?.op !== 'id' || body.length === 0) return null
  return { name, range, variable, body }
}

/** The parts of an expression, as they were written. */
export function childrenOf(node: ASTNode): readonly ASTNode[] {
  if (node.op === 'value' || node.op === 'id') return []
  if (node.op === '.' || node.op === '.?') return [node.args[0]]
  if (node.op === 'call') return node.args[1]
  if (node.op === 'rcall') return [node.args[1], ...node.args[2]]
  if (node.op === 'map') return node.args.flat()
  if (node.op === '!_' || node.op === '-_') return [node.args]
  // A list, or an operator with two operands or three.
  return node.args
}

/** A path that an expression reads, from one of the variables it is given. */
export interface Read {
  readonly root: string
  /** The fields, as far as they are literal. */
  readonly fields: readonly string[]
  /** Whether an index that is computed follows: then any field below may be meant. */
  readonly isOpen: boolean
  readonly node: ASTNode
}

/** Every path that is read, each as long as it is written. */
export function readsOf(root: ASTNode): readonly Read[] {
  const reads: Read[] = []

  function visit(node: ASTNode, bound: ReadonlySet<string>): void {
    const comprehension = asComprehension(node)
    if (comprehension) {
      visit(comprehension.range, bound)
      const inner = new Set(bound).add(variableOf(comprehension))
      for (const part of comprehension.body) visit(part, inner)
      return
    }
    const access = follow(node)
    if (!access) {
      for (const child of childrenOf(node)) visit(child, bound)
      return
    }
    for (const index of access.computed) visit(index, bound)
    if (!access.root) visit(access.base, bound)
    else if (!bound.has(access.root)) reads.push({ ...access, root: access.root, node })
  }

  visit(root, new Set())
  return reads
}

export function variableOf(comprehension: Comprehension): string {
  return comprehension.variable.op === 'id' ? comprehension.variable.args : ''
}

interface Access {
  /** The variable at the left end; null if there stands another expression, `base`. */
  readonly root: string | null
  readonly base: ASTNode
  readonly fields: readonly string[]
  readonly isOpen: boolean
  readonly computed: readonly ASTNode[]
}

/** Follows `a.b["c"][i]` to its left end; null if the node is no such chain. */
export function follow(node: ASTNode): Access | null {
  const steps: (string | null)[] = []
  const computed: ASTNode[] = []
  let at = node
  for (;;) {
    if (at.op === '.' || at.op === '.?') {
      steps.unshift(at.args[1])
      at = at.args[0]
    } else if (at.op === '[]' || at.op === '[?]') {
      const [left, index] = at.args
      const isField = index.op === 'value' && typeof index.args === 'string'
      steps.unshift(isField ? String(index.args) : null)
      if (!isField) computed.push(index)
      at = left
    } else break
  }
  if (at === node && at.op !== 'id') return null
  const open = steps.indexOf(null)
  const fields = steps.slice(0, open === -1 ? steps.length : open).filter((step) => step !== null)
  return { root: at.op === 'id' ? at.args : null, base: at, fields, isOpen: open !== -1, computed }
}
