import { isTree, listOf, type NodeTag, nameOf, ofKind, stringsOf } from '../tree.ts'
import { mention, mentionRelation, type Place, type Visit } from '../walk.ts'
import { all, called, created, define, existing, mentionFunction, mentionNew } from './define.ts'
import { mentionObject } from './mention-object.ts'

/** Types, and what values of one are compared, converted and searched with. */
export const TYPES = {
  CompositeTypeStmt: define(
    'CompositeTypeStmt',
    (place, node) => mentionRelation(place, node['typevar'], { isMade: true }),
    ['typevar'],
  ),
  CreateDomainStmt: define('CreateDomainStmt', created('type', 'domainname')),
  AlterDomainStmt: define('AlterDomainStmt', existing('type', 'typeName')),
  CreateEnumStmt: define('CreateEnumStmt', created('type', 'typeName')),
  AlterEnumStmt: define('AlterEnumStmt', existing('type', 'typeName')),
  CreateRangeStmt: define('CreateRangeStmt', (place, node) => {
    mentionNew(place, 'type', node['typeName'])
    callOptions(place, node['params'])
  }),
  AlterTypeStmt: define('AlterTypeStmt', (place, node) => {
    mention(place, 'type', nameOf(stringsOf(node['typeName'])))
    callOptions(place, node['options'])
  }),
  DefineStmt: define('DefineStmt', (place, node) => {
    const kind = DEFINED[String(node['kind'])] ?? 'other'
    mentionNew(place, kind, node['defnames'])
    callOptions(place, node['definition'])
  }),
  AlterOperatorStmt: define('AlterOperatorStmt', (place, node) => {
    mentionObject(place, 'OBJECT_OPERATOR', node['opername'])
    callOptions(place, node['options'])
  }),
  CreateOpClassStmt: define('CreateOpClassStmt', created('other', 'opclassname')),
  CreateOpClassItem: define('CreateOpClassItem', (place, node) => {
    const name = isTree(node['name']) ? stringsOf(node['name']['objname']) : []
    // 1 is an operator, 2 a function (parsenodes.h, OPCLASS_ITEM_…).
    if (name.length > 0)
      mention(place, node['itemtype'] === 1 ? 'operator' : 'function', nameOf(name), { verb: 'call' })
  }),
  CreateOpFamilyStmt: define('CreateOpFamilyStmt', created('other', 'opfamilyname')),
  AlterOpFamilyStmt: define('AlterOpFamilyStmt', existing('other', 'opfamilyname')),
  CreateCastStmt: define('CreateCastStmt', (place, node) => {
    for (const side of ['sourcetype', 'targettype']) {
      if (isTree(node[side])) mention(place, 'type', nameOf(stringsOf(node[side]['names'])))
    }
    if (isTree(node['func'])) mentionFunction(place, node['func']['objname'])
  }),
  CreateConversionStmt: define('CreateConversionStmt', all(created('other', 'conversion_name'), called('func_name'))),
  AlterCollationStmt: define('AlterCollationStmt', existing('other', 'collname')),
  AlterTSDictionaryStmt: define('AlterTSDictionaryStmt', existing('other', 'dictname')),
  AlterTSConfigurationStmt: define('AlterTSConfigurationStmt', existing('other', 'cfgname')),
} satisfies Partial<Record<NodeTag, Visit>>

const DEFINED: Readonly<Record<string, 'function' | 'operator' | 'type'>> = {
  OBJECT_AGGREGATE: 'function',
  OBJECT_OPERATOR: 'operator',
  OBJECT_TYPE: 'type',
}

/** Options of definitions whose value is a function's name, which the parser reads as that of a type. */
const CALLED_OPTIONS: ReadonlySet<string> = new Set(
  `sfunc sfunc1 finalfunc combinefunc serialfunc deserialfunc msfunc minvfunc mfinalfunc procedure function restrict join
  input output receive send typmod_in typmod_out analyze subscript start gettoken end headline lextypes init lexize
  canonical subtype_diff`.split(/\s+/),
)

function callOptions(place: Place, options: unknown): void {
  for (const item of listOf(options)) {
    const option = ofKind('DefElem', item)
    if (!CALLED_OPTIONS.has(String(option?.['defname']).toLowerCase())) continue
    const type = ofKind('TypeName', option?.['arg'])
    mentionFunction(place, type ? type['names'] : option?.['arg'])
  }
}
