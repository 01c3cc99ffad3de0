import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseAllDocuments, visit } from 'yaml'
import type { Problem } from './problem.ts'

export type Path = readonly PropertyKey[]

/** One YAML document as plain data, with the line of every part of it. */
export interface Located {
  readonly value: unknown
  /** The line (from 1) of the value at a path; of the nearest part above it, if the path leads nowhere. */
  lineOf(path: Path): number
  /** The line of a key itself. */
  lineOfKey(path: Path, key: string): number
}

const DEEPEST = 20

/**
 * Reads a file that holds exactly one YAML 1.2 document. What two readers could take differently is refused: duplicate
 * keys, anchors and aliases, merge keys, explicit tags, keys that are not text.
 */
export function readYaml(file: string, text: string): Located | readonly Problem[] {
  const lines = new LineCounter()
  const line = (offset: number) => lines.linePos(offset).line
  const problem = (offset: number, message: string): Problem => ({ file, line: line(offset), message })

  let documents: ReturnType<typeof parseAllDocuments>
  try {
    documents = parseAllDocuments(text, {
      lineCounter: lines,
      uniqueKeys: true,
      stringKeys: true,
      merge: false,
      strict: true,
      version: '1.2',
      schema: 'core',
      resolveKnownTags: false,
      prettyErrors: false,
      logLevel: 'silent',
    })
  } catch (error) {
    // The parser recurses: a file nested deep enough ends it, not us.
    if (!(error instanceof RangeError)) throw error
    return [{ file, line: 1, message: 'is nested too deeply' }]
  }
  const [document, second] = Array.isArray(documents) ? documents : []
  if (!document) return [{ file, line: 1, message: 'is empty' }]
  if (second) return [problem(second.range?.[0] ?? 0, 'holds more than one document; one file is one document')]

  const faults = [...document.errors, ...document.warnings].map((fault) =>
    problem(fault.pos[0], lowerFirst(fault.message)),
  )
  if (faults.length > 0) return faults

  const oddities: Problem[] = []
  visit(document, (_key, node, ancestors) => {
    if (!isNode(node)) return undefined
    const at = node.range?.[0] ?? 0
    if (isAlias(node)) oddities.push(problem(at, 'has an alias (*): write the value out'))
    else if (node.anchor) oddities.push(problem(at, 'has an anchor (&): write the value out where it is used'))
    else if (node.tag !== undefined) oddities.push(problem(at, `has a tag (${node.tag}): leave it out`))
    if (ancestors.length > 2 * DEEPEST) {
      oddities.push(problem(at, 'is nested too deeply'))
      return visit.BREAK
    }
    return undefined
  })
  if (oddities.length > 0) return oddities

  return {
    value: document.toJS({ maxAliasCount: 0 }),
    lineOf: (path) => line(find(document.contents, path).range?.[0] ?? 0),
    lineOfKey(path, key) {
      const parent = find(document.contents, path)
      const pair = isMap(parent) ? parent.items.find((item) => isScalar(item.key) && item.key.value === key) : undefined
      return line((isNode(pair?.key) ? pair.key.range?.[0] : undefined) ?? parent.range?.[0] ?? 0)
    },
  }
}

function find(root: unknown, path: Path): Node {
  let node = root
  for (const step of path) {
    const next = isMap(node) ? node.get(String(step), true) : isSeq(node) ? node.items[Number(step)] : undefined
    if (!isNode(next)) break
    node = next
  }
  // The document's contents are a node; the loop only ever replaces it by another.
  return node as Node
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
