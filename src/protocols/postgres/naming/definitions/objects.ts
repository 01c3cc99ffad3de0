import { renamedType } from '../tags.ts'
import { isTree, listOf, type NodeTag, type Tree, textOf } from '../tree.ts'
import { markWrite, mention, mentionGlobal, mentionRelation, type Place, type Visit } from '../walk.ts'
import { all, define, globals, type Note, object, opaque } from './define.ts'
import { mentionObject } from './mention-object.ts'

/** The object itself, unless it belongs to a relation or is one, which is visited as such. */
const unlessOfRelation: Note = (place, node) => {
  if (node['relation'] === undefined) object('objectType')(place, node)
}

/** What is done to objects of every type in the same words. */
export const OBJECT_STATEMENTS = {
  DropStmt: define(
    'DropStmt',
    (place, node) => {
      for (const item of listOf(node['objects'])) mentionObject(place, String(node['removeType']), item)
    },
    ['objects'],
  ),
  CommentStmt: define('CommentStmt', object('objtype'), ['object']),
  SecLabelStmt: define('SecLabelStmt', object('objtype'), ['object']),
  RenameStmt(node, place) {
    markWrite(place)
    if (node['relation'] !== undefined) mentionRelation(place, node['relation'])
    rename(place, node)
  },
  AlterObjectDependsStmt: define(
    'AlterObjectDependsStmt',
    all(unlessOfRelation, (place, node) => {
      if (isTree(node['extname'])) mentionGlobal(place, node['extname']['sval'])
    }),
    ['object'],
  ),
  AlterObjectSchemaStmt: define(
    'AlterObjectSchemaStmt',
    all(unlessOfRelation, globals('newschema'), (place, node) => {
      // With an extension goes everything it made.
      if (node['objectType'] === 'OBJECT_EXTENSION') opaque(place, node)
    }),
    ['object'],
  ),
  AlterOwnerStmt: define('AlterOwnerStmt', unlessOfRelation, ['object']),
} satisfies Partial<Record<NodeTag, Visit>>

function rename(place: Place, node: Tree): void {
  const type = String(node['renameType'])
  const relation = node['relation']
  if (relation === undefined && node['object'] !== undefined) mentionObject(place, type, node['object'])
  if (relation === undefined && node['object'] === undefined) mentionGlobal(place, node['subname'])
  const renamed = textOf(node['newname'])
  if (renamed === null) return
  if (type === 'OBJECT_ROLE') place.found.roles.add(renamed)
  // What it will be called is a name that a later statement may use.
  const isWhole = renamedType(node) === type && !PART_TYPES.has(type)
  const before = [...place.found.mentions.values()].at(-1)
  if (isWhole && before) mention(place, before.kind, { schema: before.schema, name: renamed })
}

/** Renamed within a relation or a domain. */
const PART_TYPES: ReadonlySet<string> = new Set([
  'OBJECT_DOMCONSTRAINT',
  'OBJECT_ATTRIBUTE',
  'OBJECT_POLICY',
  'OBJECT_TRIGGER',
  'OBJECT_RULE',
])
