import { isTree, listOf, ofKind, stringsOf } from './tree.ts'

/**
 * Whether a condition limits what a statement touches, as far as its words tell: it reads a column (or names a cursor),
 * and is not true by its shape (`true`, `1 = 1`, `id = id`, any of these under OR). It is no promise: `id IS NOT NULL`
 * reads a column too. A rule that must know how much is touched asks for the number of rows.
 */
export function isBounded(condition: unknown): boolean {
  if (condition === undefined || condition === null) return false
  const bool = ofKind('BoolExpr', condition)
  if (bool) {
    const args = listOf(bool['args'])
    if (bool['boolop'] === 'OR_EXPR') return args.every(isBounded)
    if (bool['boolop'] === 'AND_EXPR') return args.some(isBounded)
    return readsColumn(args)
  }
  const comparison = ofKind('A_Expr', condition)
  if (comparison && isSame(comparison['lexpr'], comparison['rexpr']) && !DIFFERS.has(signOf(comparison['name']))) {
    return false
  }
  return readsColumn(condition)
}

/** What no value is to itself. */
const DIFFERS: ReadonlySet<string> = new Set(['<>', '!=', '<', '>'])

function signOf(name: unknown): string {
  return stringsOf(name).at(-1) ?? ''
}

function readsColumn(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(readsColumn)
  if (!isTree(value)) return false
  return Object.entries(value).some(
    ([tag, inner]) => tag === 'ColumnRef' || tag === 'CurrentOfExpr' || readsColumn(inner),
  )
}

function isSame(a: unknown, b: unknown): boolean {
  return a !== undefined && b !== undefined && withoutLocations(a) === withoutLocations(b)
}

function withoutLocations(value: unknown): string {
  return JSON.stringify(value, (key, inner: unknown) => (key === 'location' ? undefined : inner))
}
