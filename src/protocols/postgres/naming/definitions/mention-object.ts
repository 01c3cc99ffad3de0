import { OBJECTS } from '../tags.ts'
import { isTree, listOf, nameOf, ofKind, stringsOf } from '../tree.ts'
import { unknownNode } from '../unnameable.ts'
import { mention, mentionGlobal, mentionRelation, type Place } from '../walk.ts'

const RELATIONS = new Set([
  'OBJECT_TABLE',
  'OBJECT_SEQUENCE',
  'OBJECT_VIEW',
  'OBJECT_MATVIEW',
  'OBJECT_INDEX',
  'OBJECT_FOREIGN_TABLE',
])
/** Named by a relation and a name of its own. */
const PARTS = new Set([
  'OBJECT_COLUMN',
  'OBJECT_TABCONSTRAINT',
  'OBJECT_TRIGGER',
  'OBJECT_RULE',
  'OBJECT_POLICY',
  'OBJECT_ATTRIBUTE',
])
const FUNCTIONS = new Set(['OBJECT_FUNCTION', 'OBJECT_PROCEDURE', 'OBJECT_ROUTINE', 'OBJECT_AGGREGATE'])
const TYPES = new Set(['OBJECT_TYPE', 'OBJECT_DOMAIN', 'OBJECT_DOMCONSTRAINT'])
const IN_SCHEMA = new Set([
  'OBJECT_COLLATION',
  'OBJECT_CONVERSION',
  'OBJECT_STATISTIC_EXT',
  'OBJECT_TSCONFIGURATION',
  'OBJECT_TSDICTIONARY',
  'OBJECT_TSPARSER',
  'OBJECT_TSTEMPLATE',
])
/** Named by an index method, then by a name in a schema. */
const OF_METHOD = new Set(['OBJECT_OPCLASS', 'OBJECT_OPFAMILY'])

/** Notes the object that a definition names, whatever form the parser gives a name of its type. */
export function mentionObject(place: Place, type: string, object: unknown): void {
  if (!Object.hasOwn(OBJECTS, type)) throw unknownNode(type)
  const withArgs = ofKind('ObjectWithArgs', object) ?? (isTree(object) && 'objname' in object ? object : null)
  const names = withArgs ? stringsOf(withArgs['objname']) : stringsOf(object)

  const relation = ofKind('RangeVar', object)
  if (relation) mentionRelation(place, relation)
  else if (type === 'OBJECT_LARGEOBJECT') mentionGlobal(place, 'large object')
  else if (type === 'OBJECT_CAST' || type === 'OBJECT_TRANSFORM') mentionPair(place, object)
  else if (TYPES.has(type)) mention(place, 'type', nameOf(typeNames(object)))
  else if (RELATIONS.has(type)) mention(place, 'relation', nameOf(names))
  else if (PARTS.has(type)) mentionPart(place, type, names)
  else if (FUNCTIONS.has(type)) mention(place, 'function', nameOf(names))
  else if (type === 'OBJECT_OPERATOR') mention(place, 'operator', nameOf(names))
  else if (IN_SCHEMA.has(type)) mention(place, 'other', nameOf(names))
  else if (OF_METHOD.has(type)) mention(place, 'other', nameOf(names.slice(1)))
  else mentionByName(place, type, names)
}

function mentionPart(place: Place, type: string, names: readonly string[]): void {
  mention(place, 'relation', nameOf(names.slice(0, -1)))
  if (type === 'OBJECT_COLUMN' || type === 'OBJECT_ATTRIBUTE') place.found.columns.add(names.at(-1) ?? '')
}

/** A cast is named by its two types, a transform by a type and a language. */
function mentionPair(place: Place, object: unknown): void {
  for (const part of listOf(ofKind('List', object)?.['items'])) {
    const names = typeNames(part)
    if (ofKind('TypeName', part)) mention(place, 'type', nameOf(names))
    else for (const language of names) place.found.languages.add(language)
  }
}

function typeNames(object: unknown): readonly string[] {
  const type = ofKind('TypeName', object)
  if (type) return stringsOf(type['names'])
  const [first] = listOf(ofKind('List', object)?.['items'])
  const inner = ofKind('TypeName', first)
  return inner ? stringsOf(inner['names']) : stringsOf(object)
}

function mentionByName(place: Place, type: string, names: readonly string[]): void {
  if (names.length === 0) throw unknownNode(type)
  for (const name of names) {
    mentionGlobal(place, name)
    if (type === 'OBJECT_LANGUAGE') place.found.languages.add(name)
    if (type === 'OBJECT_ROLE') place.found.roles.add(name)
  }
}
