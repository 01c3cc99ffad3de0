import { isTree, type NodeTag, type Tree, textOf } from '../tree.ts'
import { markWrite, mentionGlobal, mentionRelation, type Place, type Visit, visit, visitAny, within } from '../walk.ts'
import { define, existing, globals, mentionNew } from './define.ts'
import { roleName } from './rights.ts'

/** Tables, views, sequences and what is tied to one, and the schemas they stand in. */
export const RELATIONS = {
  AlterTableStmt: define('AlterTableStmt'),
  ATAlterConstraint: define('ATAlterConstraint'),
  ReplicaIdentityStmt: define('ReplicaIdentityStmt'),
  TruncateStmt: define('TruncateStmt'),
  CreatePolicyStmt: define('CreatePolicyStmt'),
  AlterPolicyStmt: define('AlterPolicyStmt'),
  AlterSeqStmt: define('AlterSeqStmt'),
  IndexStmt: define('IndexStmt'),
  ClusterStmt: define('ClusterStmt'),
  RefreshMatViewStmt: define('RefreshMatViewStmt'),
  RuleStmt: define('RuleStmt'),
  ReindexStmt: define('ReindexStmt', globals('name')),
  CreateStmt(node, place) {
    markWrite(place)
    createTable(node, place)
  },
  CreateForeignTableStmt(node, place) {
    markWrite(place)
    if (isTree(node['base'])) createTable(node['base'], place)
    mentionGlobal(place, node['servername'])
    visitAny(node['options'], place)
  },
  CreateSchemaStmt(node, place) {
    markWrite(place)
    const owner = node['authrole']
    const name = textOf(node['schemaname']) ?? (isTree(owner) ? roleName(owner) : null)
    mentionGlobal(place, name)
    if (isTree(owner)) visit('RoleSpec', owner, place)
    visitAny(node['schemaElts'], { ...place, schema: name })
  },
  ViewStmt: define('ViewStmt', (place, node) => mentionRelation(place, node['view'], { isMade: true }), ['view']),
  CreateSeqStmt: define('CreateSeqStmt', (place, node) => mentionRelation(place, node['sequence'], { isMade: true }), [
    'sequence',
  ]),
  CreateStatsStmt: define('CreateStatsStmt', (place, node) => {
    if (node['defnames'] !== undefined) mentionNew(place, 'other', node['defnames'])
  }),
  AlterStatsStmt: define('AlterStatsStmt', existing('other', 'defnames')),
} satisfies Partial<Record<NodeTag, Visit>>

const table = within('CreateStmt', ['relation', 'inhRelations'])

function createTable(node: Tree, place: Place): void {
  mentionRelation(place, node['relation'], { isMade: true })
  visitAny(node['inhRelations'], { ...place, verb: 'references' })
  table(node, place)
}
