import { mentionNew, mentionObject } from './objects.ts'
import { mentionFunction, optionOf } from './session-statements.ts'
import { renamedType } from './tags.ts'
import {
  isTree,
  listOf,
  markWrite,
  mention,
  mentionGlobal,
  mentionRelation,
  type NodeTag,
  nameOf,
  ofKind,
  type Place,
  stringsOf,
  type Tree,
  textOf,
  type Visit,
  visit,
  visitAny,
  within,
} from './walk.ts'

/** Named well enough by the relations, types, roles and functions they hold. */
const PLAIN = [
  'AlterTableStmt',
  'ATAlterConstraint',
  'ReplicaIdentityStmt',
  'TruncateStmt',
  'CreatePolicyStmt',
  'AlterPolicyStmt',
  'AlterSeqStmt',
  'IndexStmt',
  'ClusterStmt',
  'RefreshMatViewStmt',
  'RuleStmt',
] as const satisfies readonly NodeTag[]

type Note = (place: Place, node: Tree) => void

/** A definition: what its fields name as text, then what it holds. */
function define(tag: NodeTag, note: Note, except: readonly string[] = []): Visit {
  const inner = within(tag, except)
  return (node, place) => {
    markWrite(place)
    note(place, node)
    inner(node, place)
  }
}

const globals =
  (...fields: readonly string[]): Note =>
  (place, node) => {
    for (const field of fields) mentionGlobal(place, node[field])
  }

const object =
  (typeField: string, field = 'object'): Note =>
  (place, node) => {
    if (node[field] !== undefined) mentionObject(place, String(node[typeField]), node[field])
  }

const called =
  (...fields: readonly string[]): Note =>
  (place, node) => {
    for (const field of fields) mentionFunction(place, node[field])
  }

const created =
  (kind: 'function' | 'operator' | 'type' | 'other', field: string): Note =>
  (place, node) => {
    mentionNew(place, kind, node[field])
  }

const existing =
  (kind: 'type' | 'other', field: string): Note =>
  (place, node) => {
    const names = stringsOf(node[field])
    if (names.length > 0) mention(place, kind, nameOf(names))
  }

const all =
  (...notes: readonly Note[]): Note =>
  (place, node) => {
    for (const note of notes) note(place, node)
  }

const opaque: Note = (place) => {
  place.found.isOpaque = true
}

const language: Note = (place, node) => {
  const name = textOf(node['plname']) ?? textOf(node['lang'])
  if (name !== null) place.found.languages.add(name)
}

/** Every role of a field, also as what the statement acts on. */
const rolesOf =
  (...fields: readonly string[]): Note =>
  (place, node) => {
    for (const field of fields) {
      const value = node[field]
      for (const item of Array.isArray(value) ? value : [value]) {
        const spec = ofKind('RoleSpec', item) ?? item
        if (isTree(spec)) mentionGlobal(place, roleName(spec))
      }
    }
  }

export const DEFINITIONS = {
  ...(Object.fromEntries(PLAIN.map((tag) => [tag, define(tag, () => {})])) as Record<(typeof PLAIN)[number], Visit>),

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
  CompositeTypeStmt: define(
    'CompositeTypeStmt',
    (place, node) => mentionRelation(place, node['typevar'], { isMade: true }),
    ['typevar'],
  ),
  CreateFunctionStmt: define('CreateFunctionStmt', createFunction),
  CreateTrigStmt: define('CreateTrigStmt', called('funcname')),
  CreateEventTrigStmt: define('CreateEventTrigStmt', all(globals('trigname'), called('funcname'))),
  AlterEventTrigStmt: define('AlterEventTrigStmt', globals('trigname')),
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
  CreateOpClassStmt: define('CreateOpClassStmt', created('other', 'opclassname')),
  CreateOpClassItem: define('CreateOpClassItem', (place, node) => {
    const name = isTree(node['name']) ? stringsOf(node['name']['objname']) : []
    // 1 is an operator, 2 a function (parsenodes.h, OPCLASS_ITEM_…).
    if (name.length > 0)
      mention(place, node['itemtype'] === 1 ? 'operator' : 'function', nameOf(name), { verb: 'call' })
  }),
  CreateOpFamilyStmt: define('CreateOpFamilyStmt', created('other', 'opfamilyname')),
  AlterOpFamilyStmt: define('AlterOpFamilyStmt', existing('other', 'opfamilyname')),
  CreateConversionStmt: define('CreateConversionStmt', all(created('other', 'conversion_name'), called('func_name'))),
  CreateCastStmt: define('CreateCastStmt', (place, node) => {
    for (const side of ['sourcetype', 'targettype']) {
      if (isTree(node[side])) mention(place, 'type', nameOf(stringsOf(node[side]['names'])))
    }
    if (isTree(node['func'])) mentionFunction(place, node['func']['objname'])
  }),
  CreateTransformStmt: define('CreateTransformStmt', (place, node) => {
    if (isTree(node['type_name'])) mention(place, 'type', nameOf(stringsOf(node['type_name']['names'])))
    language(place, node)
    for (const side of ['fromsql', 'tosql']) {
      if (isTree(node[side])) mentionFunction(place, node[side]['objname'])
    }
  }),
  CreateStatsStmt: define('CreateStatsStmt', (place, node) => {
    if (node['defnames'] !== undefined) mentionNew(place, 'other', node['defnames'])
  }),
  AlterStatsStmt: define('AlterStatsStmt', existing('other', 'defnames')),
  AlterCollationStmt: define('AlterCollationStmt', existing('other', 'collname')),
  AlterTSDictionaryStmt: define('AlterTSDictionaryStmt', existing('other', 'dictname')),
  AlterTSConfigurationStmt: define('AlterTSConfigurationStmt', existing('other', 'cfgname')),

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
    (place, node) => {
      if (node['relation'] === undefined) object('objectType')(place, node)
      if (isTree(node['extname'])) mentionGlobal(place, node['extname']['sval'])
    },
    ['object'],
  ),
  AlterObjectSchemaStmt: define(
    'AlterObjectSchemaStmt',
    all((place, node) => {
      if (node['relation'] === undefined) object('objectType')(place, node)
      // With an extension goes everything it made.
      if (node['objectType'] === 'OBJECT_EXTENSION') opaque(place, node)
    }, globals('newschema')),
    ['object'],
  ),
  AlterOwnerStmt: define(
    'AlterOwnerStmt',
    (place, node) => {
      if (node['relation'] === undefined) object('objectType')(place, node)
    },
    ['object'],
  ),
  AlterFunctionStmt: define('AlterFunctionStmt', object('objtype', 'func')),
  AlterOperatorStmt: define('AlterOperatorStmt', (place, node) => {
    mentionObject(place, 'OBJECT_OPERATOR', node['opername'])
    callOptions(place, node['options'])
  }),
  AlterExtensionContentsStmt: define('AlterExtensionContentsStmt', all(globals('extname'), object('objtype')), [
    'object',
  ]),
  // Extensions and imports run scripts and make names that are written nowhere here.
  CreateExtensionStmt: define('CreateExtensionStmt', all(globals('extname'), opaque)),
  AlterExtensionStmt: define('AlterExtensionStmt', all(globals('extname'), opaque)),
  ImportForeignSchemaStmt: define('ImportForeignSchemaStmt', all(globals('server_name', 'local_schema'), opaque), [
    'table_list',
  ]),

  GrantStmt: define('GrantStmt', grant, ['objects']),
  AccessPriv(node, place) {
    for (const column of stringsOf(node['cols'])) place.found.columns.add(column)
  },
  GrantRoleStmt: define('GrantRoleStmt', (place, node) => {
    for (const item of listOf(node['granted_roles'])) {
      const role = textOf(ofKind('AccessPriv', item)?.['priv_name'])
      if (role !== null) place.found.roles.add(role)
      mentionGlobal(place, role)
    }
  }),
  AlterDefaultPrivilegesStmt: define('AlterDefaultPrivilegesStmt', (place, node) => {
    for (const schema of stringsOf(optionOf(node['options'], 'schemas'))) mentionGlobal(place, schema)
  }),
  CreateRoleStmt: define('CreateRoleStmt', (place, node) => {
    mentionGlobal(place, node['role'])
    const name = textOf(node['role'])
    if (name !== null) place.found.roles.add(name)
  }),
  AlterRoleStmt: define('AlterRoleStmt', rolesOf('role')),
  AlterRoleSetStmt: define('AlterRoleSetStmt', all(rolesOf('role'), globals('database'))),
  DropRoleStmt: define('DropRoleStmt', rolesOf('roles')),
  DropOwnedStmt: define('DropOwnedStmt', rolesOf('roles')),
  ReassignOwnedStmt: define('ReassignOwnedStmt', rolesOf('roles', 'newrole')),
  RoleSpec(node, place) {
    place.found.roles.add(roleName(node))
  },

  CreateTableSpaceStmt: define('CreateTableSpaceStmt', (place, node) => {
    mentionGlobal(place, node['tablespacename'])
    const path = textOf(node['location'])
    if (path !== null) place.found.files.add(path)
  }),
  DropTableSpaceStmt: define('DropTableSpaceStmt', globals('tablespacename')),
  AlterTableSpaceOptionsStmt: define('AlterTableSpaceOptionsStmt', globals('tablespacename')),
  AlterTableMoveAllStmt: define('AlterTableMoveAllStmt', globals('orig_tablespacename', 'new_tablespacename')),
  CreateFdwStmt: define('CreateFdwStmt', all(globals('fdwname'), handlers)),
  AlterFdwStmt: define('AlterFdwStmt', all(globals('fdwname'), handlers)),
  CreateForeignServerStmt: define('CreateForeignServerStmt', globals('servername', 'fdwname')),
  AlterForeignServerStmt: define('AlterForeignServerStmt', globals('servername')),
  CreateUserMappingStmt: define('CreateUserMappingStmt', globals('servername')),
  AlterUserMappingStmt: define('AlterUserMappingStmt', globals('servername')),
  DropUserMappingStmt: define('DropUserMappingStmt', globals('servername')),
  CreateAmStmt: define('CreateAmStmt', all(globals('amname'), called('handler_name'))),
  CreatePLangStmt: define(
    'CreatePLangStmt',
    all(globals('plname'), language, called('plhandler', 'plinline', 'plvalidator')),
  ),
  CreatedbStmt: define('CreatedbStmt', globals('dbname')),
  AlterDatabaseStmt: define('AlterDatabaseStmt', globals('dbname')),
  AlterDatabaseRefreshCollStmt: define('AlterDatabaseRefreshCollStmt', globals('dbname')),
  AlterDatabaseSetStmt: define('AlterDatabaseSetStmt', globals('dbname')),
  DropdbStmt: define('DropdbStmt', globals('dbname')),
  AlterSystemStmt: define('AlterSystemStmt', (place, node) => {
    if (isTree(node['setstmt'])) mentionGlobal(place, node['setstmt']['name'])
  }),
  ReindexStmt: define('ReindexStmt', globals('name')),
  CreatePublicationStmt: define('CreatePublicationStmt', globals('pubname')),
  AlterPublicationStmt: define('AlterPublicationStmt', globals('pubname')),
  PublicationObjSpec: define('PublicationObjSpec', globals('name')),
  PublicationTable: define('PublicationTable', (place, node) => {
    for (const column of stringsOf(node['columns'])) place.found.columns.add(column)
  }),
  CreateSubscriptionStmt: define('CreateSubscriptionStmt', globals('subname')),
  AlterSubscriptionStmt: define('AlterSubscriptionStmt', globals('subname')),
  DropSubscriptionStmt: define('DropSubscriptionStmt', globals('subname')),
} satisfies Partial<Record<NodeTag, Visit>>

const table = within('CreateStmt', ['relation', 'inhRelations'])

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

function handlers(place: Place, node: Tree): void {
  for (const item of listOf(node['func_options'])) mentionFunction(place, ofKind('DefElem', item)?.['arg'])
}

function createTable(node: Tree, place: Place): void {
  mentionRelation(place, node['relation'], { isMade: true })
  visitAny(node['inhRelations'], { ...place, verb: 'references' })
  table(node, place)
}

function createFunction(place: Place, node: Tree): void {
  mentionNew(place, 'function', node['funcname'])
  const written = stringsOf(optionOf(node['options'], 'language'))[0]
  place.found.languages.add(written ?? 'sql')
  if (written !== undefined && !ORDINARY.has(written)) mentionGlobal(place, written, 'use language')
  // With two texts the first is the file that holds the code.
  const body = stringsOf(optionOf(node['options'], 'as'))
  if (body.length > 1 && body[0] !== undefined) place.found.files.add(body[0])
  const support = optionOf(node['options'], 'support')
  if (support !== undefined) mentionFunction(place, support)
}

/** Languages that run with no more than their caller's rights. */
const ORDINARY: ReadonlySet<string> = new Set(['sql', 'plpgsql'])

function grant(place: Place, node: Tree): void {
  const isAllInSchema = node['targtype'] === 'ACL_TARGET_ALL_IN_SCHEMA'
  for (const item of listOf(node['objects'])) {
    mentionObject(place, isAllInSchema ? 'OBJECT_SCHEMA' : String(node['objtype']), item)
  }
}

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

function roleName(spec: Tree): string {
  switch (spec['roletype']) {
    case 'ROLESPEC_PUBLIC':
      return 'public'
    case 'ROLESPEC_CURRENT_ROLE':
    case 'ROLESPEC_CURRENT_USER':
      return 'current_user'
    case 'ROLESPEC_SESSION_USER':
      return 'session_user'
    default:
      return textOf(spec['rolename']) ?? ''
  }
}
