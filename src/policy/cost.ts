import type { ASTNode } from '@marcbachmann/cel-js'
import { asComprehension, type Comprehension, childrenOf, follow, variableOf } from './syntax.ts'

/** The largest exponent that an expression may have. */
export const STEEPEST = 3
/** Steps that one evaluation may take: measured, a quarter of a second at the very worst, and mostly a tenth of that. */
const MOST_STEPS = 250_000

/** Operators that look at their operands no deeper than a comparison of two of them does. */
const FLAT: ReadonlySet<string> = new Set([
  '<',
  '<=',
  '>',
  '>=',
  '&&',
  '||',
  '!_',
  '-_',
  '?:',
  '.',
  '[]',
  'id',
  'value',
])

/**
 * How the time to evaluate an expression grows with the size of what the agent sent: 1 if in proportion, 2 if with its
 * square (a loop in a loop, or a search in a loop), and so on. Never too low; loops over lists written in the policy and
 * over the principal's own groups do not count.
 */
export function exponentOf(root: ASTNode): number {
  return Math.max(1, measure(root, { tainted: new Set(['action']), innermost: null }))
}

/** Whether data of this size can be evaluated in time. */
export function isAffordable(size: number, exponent: number): boolean {
  return size ** exponent <= MOST_STEPS
}

interface Around {
  /** Variables that hold what the agent sent. */
  readonly tainted: ReadonlySet<string>
  /** The variable of the innermost loop over such. */
  readonly innermost: string | null
}

function measure(node: ASTNode, around: Around): number {
  const comprehension = asComprehension(node)
  if (comprehension) return measureLoop(comprehension, around)
  return Math.max(0, ...childrenOf(node).map((child) => measure(child, around)))
}

function measureLoop(loop: Comprehension, around: Around): number {
  const variable = variableOf(loop)
  const range = measure(loop.range, around)
  if (!isTainted(loop.range, around.tainted)) {
    const tainted = new Set(around.tainted)
    tainted.delete(variable)
    return Math.max(range, ...loop.body.map((part) => measure(part, { ...around, tainted })))
  }
  // A loop over a part of the element at hand: all its rounds together walk the data once more, not once more each.
  const access = follow(loop.range)
  const isPart = access !== null && access.root !== null && access.root === around.innermost
  const inner = { tainted: new Set(around.tainted).add(variable), innermost: variable }
  const body = Math.max(0, ...loop.body.map((part) => measure(part, inner)))
  const others = new Set([...inner.tainted].filter((name) => name !== variable))
  const searches =
    loop.body.some((part) => searchesIn(part, others)) ||
    (loop.name === 'map' && loop.body.some((part) => isTainted(part, others)))
  return Math.max(range, (isPart ? 0 : 1) + body + (searches ? 1 : 0))
}

/** Whether something that may be large, and is not the element at hand, is walked in each round. */
function searchesIn(node: ASTNode, others: ReadonlySet<string>): boolean {
  const children = childrenOf(node)
  if (!FLAT.has(node.op) && asComprehension(node) === null) {
    const large = children.filter((child) => isTainted(child, others)).length
    // Two things are compared only as far as the smaller one goes.
    const isEquality = node.op === '==' || node.op === '!='
    if (large > (isEquality ? 1 : 0)) return true
  }
  return children.some((child) => searchesIn(child, others))
}

function isTainted(node: ASTNode, tainted: ReadonlySet<string>): boolean {
  if (node.op === 'id') return tainted.has(node.args)
  return childrenOf(node).some((child) => isTainted(child, tainted))
}
