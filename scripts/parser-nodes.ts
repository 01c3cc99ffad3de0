import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/*
 * The grammar of parse trees that naming walks by, made of the types that come with the parser. What the parser alone
 * never makes (it takes analysis or planning) is left out, so that a tree which holds it is refused.
 * `node scripts/parser-nodes.ts` prints the file, `--write` writes it; `biome check --write` folds its lines.
 */

// A dependency of the parser's package, not of ours.
const TYPES = join(import.meta.dirname, '..', 'node_modules', '@pgsql', 'types', 'types.d.ts')
const FILE = fileURLToPath(new URL('../src/protocols/postgres/naming/nodes.ts', import.meta.url))

const HEAD = `/**
 * Every node the parser makes, with its fields: \`*\` holds nodes of any kind, a name holds nodes of that kind without
 * their tag, nothing a plain value. Made by scripts/parser-nodes.ts of the types of libpg-query 18.
 */
`

/** Made by analysis or planning, by PL/pgSQL's own parsing, or parts of other results of the library. */
const NEVER_PARSED = new Set(
  `ParseResult ScanResult OidList IntList TableFunc Var Param Aggref WindowFunc WindowFuncRunCondition SubscriptingRef
  FuncExpr OpExpr DistinctExpr NullIfExpr ScalarArrayOpExpr SubPlan AlternativeSubPlan FieldSelect FieldStore
  RelabelType CoerceViaIO ArrayCoerceExpr ConvertRowtypeExpr CollateExpr CaseTestExpr ArrayExpr RowCompareExpr
  JsonConstructorExpr JsonExpr JsonTablePath JsonTablePathScan JsonTableSiblingJoin MergeAction CoerceToDomain
  CoerceToDomainValue NextValueExpr InferenceElem ReturningExpr TargetEntry RangeTblRef FromExpr OnConflictExpr Query
  RangeTblEntry RTEPermissionInfo RangeTblFunction TableSampleClause WithCheckOption SortGroupClause WindowClause
  RowMarkClause SetOperationStmt PLAssignStmt InlineCodeBlock CallContext PartitionRangeDatum ScanToken SummaryResult
  Table Function FilterColumn`.split(/\s+/),
)

/** Every node with its fields, as `NODES` has them. */
export function readNodes(): Record<string, string> {
  const source = readFileSync(TYPES, 'utf8')
  const shapes = [...source.matchAll(/export interface (\w+) \{\n([^}]*)\}/g)].map(([, name = '', body = '']) => ({
    name,
    fields: [...body.matchAll(/^\s+(\w+)\?: (\w+)(?:\[\])?;/gm)].map(([, field = '', type = '']) => ({ field, type })),
  }))
  const names = new Set(shapes.map(({ name }) => name))
  const kind = (type: string) => (type === 'Node' ? '*' : names.has(type) ? type : '')
  const parsed = shapes.filter(({ name }) => !NEVER_PARSED.has(name))
  return Object.fromEntries(
    parsed.map(({ name, fields }) => [name, fields.map(({ field, type }) => `${field}:${kind(type)}`).join(' ')]),
  )
}

if (import.meta.main) {
  const lines = Object.entries(readNodes()).map(([name, fields]) => `  ${name}: '${fields}',`)
  const file = `${HEAD}export const NODES = {\n${lines.join('\n')}\n} as const\n`
  if (process.argv.includes('--write')) writeFileSync(FILE, file)
  else process.stdout.write(file)
}
