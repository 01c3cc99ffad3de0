import { isTree, ofKind, type Tree, textOf } from './tree.ts'

/** What the server calls each type of object in its command tags (PostgreSQL source, commands/…, tcop/cmdtaglist.h). */
export const OBJECTS: Readonly<Record<string, string>> = {
  OBJECT_ACCESS_METHOD: 'access method',
  OBJECT_AGGREGATE: 'aggregate',
  OBJECT_ATTRIBUTE: 'type',
  OBJECT_CAST: 'cast',
  OBJECT_COLUMN: 'table',
  OBJECT_COLLATION: 'collation',
  OBJECT_CONVERSION: 'conversion',
  OBJECT_DATABASE: 'database',
  OBJECT_DOMAIN: 'domain',
  OBJECT_DOMCONSTRAINT: 'domain',
  OBJECT_EVENT_TRIGGER: 'event trigger',
  OBJECT_EXTENSION: 'extension',
  OBJECT_FDW: 'foreign data wrapper',
  OBJECT_FOREIGN_SERVER: 'server',
  OBJECT_FOREIGN_TABLE: 'foreign table',
  OBJECT_FUNCTION: 'function',
  OBJECT_INDEX: 'index',
  OBJECT_LANGUAGE: 'language',
  OBJECT_LARGEOBJECT: 'large object',
  OBJECT_MATVIEW: 'materialized view',
  OBJECT_OPCLASS: 'operator class',
  OBJECT_OPERATOR: 'operator',
  OBJECT_OPFAMILY: 'operator family',
  OBJECT_PARAMETER_ACL: 'parameter',
  OBJECT_POLICY: 'policy',
  OBJECT_PROCEDURE: 'procedure',
  OBJECT_PUBLICATION: 'publication',
  OBJECT_ROLE: 'role',
  OBJECT_ROUTINE: 'routine',
  OBJECT_RULE: 'rule',
  OBJECT_SCHEMA: 'schema',
  OBJECT_SEQUENCE: 'sequence',
  OBJECT_SUBSCRIPTION: 'subscription',
  OBJECT_STATISTIC_EXT: 'statistics',
  OBJECT_TABCONSTRAINT: 'table',
  OBJECT_TABLE: 'table',
  OBJECT_TABLESPACE: 'tablespace',
  OBJECT_TRANSFORM: 'transform',
  OBJECT_TRIGGER: 'trigger',
  OBJECT_TSCONFIGURATION: 'text search configuration',
  OBJECT_TSDICTIONARY: 'text search dictionary',
  OBJECT_TSPARSER: 'text search parser',
  OBJECT_TSTEMPLATE: 'text search template',
  OBJECT_TYPE: 'type',
  OBJECT_USER_MAPPING: 'user mapping',
  OBJECT_VIEW: 'view',
}

type Tag = string | ((node: Tree) => string | null)

const alter = (field: string): Tag => verbOn('alter', field)

/** The command tag of every statement, in lower case. */
const TAGS: Readonly<Record<string, Tag>> = {
  SelectStmt: selectTag,
  InsertStmt: 'insert',
  UpdateStmt: 'update',
  DeleteStmt: 'delete',
  MergeStmt: 'merge',
  CreateSchemaStmt: 'create schema',
  AlterTableStmt: alter('objtype'),
  AlterTableMoveAllStmt: alter('objtype'),
  AlterCollationStmt: 'alter collation',
  AlterDomainStmt: 'alter domain',
  GrantStmt: (node) => (node['is_grant'] === true ? 'grant' : 'revoke'),
  GrantRoleStmt: (node) => (node['is_grant'] === true ? 'grant role' : 'revoke role'),
  AlterDefaultPrivilegesStmt: 'alter default privileges',
  CopyStmt: 'copy',
  VariableSetStmt: (node) => (String(node['kind']).startsWith('VAR_RESET') ? 'reset' : 'set'),
  VariableShowStmt: 'show',
  CreateStmt: 'create table',
  CreateTableSpaceStmt: 'create tablespace',
  DropTableSpaceStmt: 'drop tablespace',
  AlterTableSpaceOptionsStmt: 'alter tablespace',
  CreateExtensionStmt: 'create extension',
  AlterExtensionStmt: 'alter extension',
  AlterExtensionContentsStmt: 'alter extension',
  CreateFdwStmt: 'create foreign data wrapper',
  AlterFdwStmt: 'alter foreign data wrapper',
  CreateForeignServerStmt: 'create server',
  AlterForeignServerStmt: 'alter server',
  CreateForeignTableStmt: 'create foreign table',
  CreateUserMappingStmt: 'create user mapping',
  AlterUserMappingStmt: 'alter user mapping',
  DropUserMappingStmt: 'drop user mapping',
  ImportForeignSchemaStmt: 'import foreign schema',
  CreatePolicyStmt: 'create policy',
  AlterPolicyStmt: 'alter policy',
  CreateAmStmt: 'create access method',
  CreateTrigStmt: 'create trigger',
  CreateEventTrigStmt: 'create event trigger',
  AlterEventTrigStmt: 'alter event trigger',
  CreatePLangStmt: 'create language',
  CreateRoleStmt: 'create role',
  AlterRoleStmt: 'alter role',
  AlterRoleSetStmt: 'alter role',
  DropRoleStmt: 'drop role',
  CreateSeqStmt: 'create sequence',
  AlterSeqStmt: 'alter sequence',
  DefineStmt: verbOn('create', 'kind'),
  CreateDomainStmt: 'create domain',
  CreateOpClassStmt: 'create operator class',
  CreateOpFamilyStmt: 'create operator family',
  AlterOpFamilyStmt: 'alter operator family',
  DropStmt: verbOn('drop', 'removeType'),
  TruncateStmt: 'truncate table',
  CommentStmt: 'comment',
  SecLabelStmt: 'security label',
  DeclareCursorStmt: 'declare cursor',
  ClosePortalStmt: (node) => (node['portalname'] === undefined ? 'close cursor all' : 'close cursor'),
  FetchStmt: (node) => (node['ismove'] === true ? 'move' : 'fetch'),
  IndexStmt: 'create index',
  CreateStatsStmt: 'create statistics',
  AlterStatsStmt: 'alter statistics',
  CreateFunctionStmt: (node) => (node['is_procedure'] === true ? 'create procedure' : 'create function'),
  AlterFunctionStmt: alter('objtype'),
  DoStmt: 'do',
  CallStmt: 'call',
  RenameStmt: (node) => objectTag('alter', renamedType(node)),
  AlterObjectDependsStmt: alter('objectType'),
  AlterObjectSchemaStmt: alter('objectType'),
  AlterOwnerStmt: alter('objectType'),
  AlterOperatorStmt: 'alter operator',
  AlterTypeStmt: 'alter type',
  RuleStmt: 'create rule',
  NotifyStmt: 'notify',
  ListenStmt: 'listen',
  UnlistenStmt: 'unlisten',
  TransactionStmt: (node) => TRANSACTIONS[String(node['kind'])] ?? null,
  CompositeTypeStmt: 'create type',
  CreateEnumStmt: 'create type',
  CreateRangeStmt: 'create type',
  AlterEnumStmt: 'alter type',
  ViewStmt: 'create view',
  LoadStmt: 'load',
  CreatedbStmt: 'create database',
  AlterDatabaseStmt: 'alter database',
  AlterDatabaseRefreshCollStmt: 'alter database',
  AlterDatabaseSetStmt: 'alter database',
  DropdbStmt: 'drop database',
  AlterSystemStmt: 'alter system',
  ClusterStmt: 'cluster',
  VacuumStmt: (node) => (node['is_vacuumcmd'] === true ? 'vacuum' : 'analyze'),
  ExplainStmt: 'explain',
  CreateTableAsStmt: createAsTag,
  RefreshMatViewStmt: 'refresh materialized view',
  CheckPointStmt: 'checkpoint',
  DiscardStmt: (node) => DISCARDS[String(node['target'] ?? 'DISCARD_ALL')] ?? null,
  LockStmt: 'lock table',
  ConstraintsSetStmt: 'set constraints',
  ReindexStmt: 'reindex',
  CreateConversionStmt: 'create conversion',
  CreateCastStmt: 'create cast',
  CreateTransformStmt: 'create transform',
  PrepareStmt: 'prepare',
  ExecuteStmt: 'execute',
  DeallocateStmt: (node) => (node['isall'] === true ? 'deallocate all' : 'deallocate'),
  DropOwnedStmt: 'drop owned',
  ReassignOwnedStmt: 'reassign owned',
  AlterTSDictionaryStmt: 'alter text search dictionary',
  AlterTSConfigurationStmt: 'alter text search configuration',
  CreatePublicationStmt: 'create publication',
  AlterPublicationStmt: 'alter publication',
  CreateSubscriptionStmt: 'create subscription',
  AlterSubscriptionStmt: 'alter subscription',
  DropSubscriptionStmt: 'drop subscription',
}

const TRANSACTIONS: Readonly<Record<string, string>> = {
  TRANS_STMT_BEGIN: 'begin',
  TRANS_STMT_START: 'start transaction',
  TRANS_STMT_COMMIT: 'commit',
  TRANS_STMT_ROLLBACK: 'rollback',
  TRANS_STMT_SAVEPOINT: 'savepoint',
  TRANS_STMT_RELEASE: 'release',
  TRANS_STMT_ROLLBACK_TO: 'rollback',
  TRANS_STMT_PREPARE: 'prepare transaction',
  TRANS_STMT_COMMIT_PREPARED: 'commit prepared',
  TRANS_STMT_ROLLBACK_PREPARED: 'rollback prepared',
}

const DISCARDS: Readonly<Record<string, string>> = {
  DISCARD_ALL: 'discard all',
  DISCARD_PLANS: 'discard plans',
  DISCARD_SEQUENCES: 'discard sequences',
  DISCARD_TEMP: 'discard temp',
}

/** The verb of a locking clause is the tag the server gives such a SELECT. */
export const LOCK_VERBS: Readonly<Record<string, string>> = {
  LCS_FORKEYSHARE: 'select for key share',
  LCS_FORSHARE: 'select for share',
  LCS_FORNOKEYUPDATE: 'select for no key update',
  LCS_FORUPDATE: 'select for update',
}

/** What is done to a relation, a function or a type that is not the statement's own verb. */
const USES = [
  'call',
  'copy program',
  'copy file',
  'use language',
  'references',
  'use type',
  'create table as',
  'create materialized view',
  'select',
  'select into',
]

/** Every verb an action of this protocol can have. */
export const VERBS: readonly string[] = [
  ...new Set([
    ...Object.values(TAGS).filter((tag) => typeof tag === 'string'),
    ...Object.values(TRANSACTIONS),
    ...Object.values(DISCARDS),
    ...Object.values(LOCK_VERBS),
    ...Object.values(OBJECTS).flatMap((object) => [`alter ${object}`, `create ${object}`, `drop ${object}`]),
    ...USES,
    ...['grant', 'revoke', 'grant role', 'revoke role', 'set', 'reset', 'vacuum', 'analyze', 'fetch', 'move'],
    ...['create function', 'create procedure', 'close cursor', 'close cursor all', 'deallocate', 'deallocate all'],
  ]),
].sort()

/** The command tag of a statement in lower case, as `psql` prints it but for the rows; null if it is none that is known. */
export function tagOf(kind: string, node: Tree): string | null {
  const tag = Object.hasOwn(TAGS, kind) ? TAGS[kind] : undefined
  return (typeof tag === 'function' ? tag(node) : tag) ?? null
}

/** Statements that read, or touch the session alone: every other one is a definition. */
const NOT_DDL: ReadonlySet<string> = new Set(
  `SelectStmt InsertStmt UpdateStmt DeleteStmt MergeStmt CopyStmt VariableSetStmt VariableShowStmt DeclareCursorStmt
  ClosePortalStmt FetchStmt DoStmt CallStmt NotifyStmt ListenStmt UnlistenStmt TransactionStmt ExplainStmt DiscardStmt
  LockStmt ConstraintsSetStmt PrepareStmt ExecuteStmt DeallocateStmt VacuumStmt CheckPointStmt LoadStmt TruncateStmt
  ClusterStmt ReindexStmt RefreshMatViewStmt`.split(/\s+/),
)

export function isDefinition(kind: string, tag: string): boolean {
  return !NOT_DDL.has(kind) || tag === 'select into'
}

function verbOn(verb: string, field: string): Tag {
  return (node) => objectTag(verb, String(node[field] ?? 'OBJECT_TABLE'))
}

function objectTag(verb: string, type: string): string | null {
  const object = Object.hasOwn(OBJECTS, type) ? OBJECTS[type] : undefined
  return object === undefined ? null : `${verb} ${object}`
}

/** The type of what a RENAME changes: of a column, the relation it is in. */
export function renamedType(node: Tree): string {
  const type = String(node['renameType'])
  return type === 'OBJECT_COLUMN' || type === 'OBJECT_TABCONSTRAINT'
    ? String(node['relationType'] ?? 'OBJECT_TABLE')
    : type
}

function selectTag(node: Tree): string {
  for (let side: unknown = node; isTree(side); side = side['larg'])
    if (side['intoClause'] !== undefined) return 'select into'
  const [clause] = Array.isArray(node['lockingClause']) ? node['lockingClause'] : []
  return LOCK_VERBS[String(ofKind('LockingClause', clause)?.['strength'])] ?? 'select'
}

function createAsTag(node: Tree): string {
  if (node['is_select_into'] === true) return 'select into'
  return textOf(node['objtype']) === 'OBJECT_MATVIEW' ? 'create materialized view' : 'create table as'
}
