import { isTree, listOf, type NodeTag, ofKind, stringsOf, type Tree, textOf } from '../tree.ts'
import { mentionGlobal, type Place, type Visit } from '../walk.ts'
import { all, define, globals, mentionFunction, opaque } from './define.ts'

/** What is the server's own: its databases and where they lie, and the other servers it deals with. */
export const SERVER = {
  CreateTableSpaceStmt: define('CreateTableSpaceStmt', (place, node) => {
    mentionGlobal(place, node['tablespacename'])
    const path = textOf(node['location'])
    if (path !== null) place.found.files.add(path)
  }),
  DropTableSpaceStmt: define('DropTableSpaceStmt', globals('tablespacename')),
  AlterTableSpaceOptionsStmt: define('AlterTableSpaceOptionsStmt', globals('tablespacename')),
  AlterTableMoveAllStmt: define('AlterTableMoveAllStmt', globals('orig_tablespacename', 'new_tablespacename')),

  CreatedbStmt: define('CreatedbStmt', globals('dbname')),
  AlterDatabaseStmt: define('AlterDatabaseStmt', globals('dbname')),
  AlterDatabaseRefreshCollStmt: define('AlterDatabaseRefreshCollStmt', globals('dbname')),
  AlterDatabaseSetStmt: define('AlterDatabaseSetStmt', globals('dbname')),
  DropdbStmt: define('DropdbStmt', globals('dbname')),
  AlterSystemStmt: define('AlterSystemStmt', (place, node) => {
    if (isTree(node['setstmt'])) mentionGlobal(place, node['setstmt']['name'])
  }),

  CreateFdwStmt: define('CreateFdwStmt', all(globals('fdwname'), handlers)),
  AlterFdwStmt: define('AlterFdwStmt', all(globals('fdwname'), handlers)),
  CreateForeignServerStmt: define('CreateForeignServerStmt', globals('servername', 'fdwname')),
  AlterForeignServerStmt: define('AlterForeignServerStmt', globals('servername')),
  CreateUserMappingStmt: define('CreateUserMappingStmt', globals('servername')),
  AlterUserMappingStmt: define('AlterUserMappingStmt', globals('servername')),
  DropUserMappingStmt: define('DropUserMappingStmt', globals('servername')),
  // It makes what it finds on the other server: names that are written nowhere here.
  ImportForeignSchemaStmt: define('ImportForeignSchemaStmt', all(globals('server_name', 'local_schema'), opaque), [
    'table_list',
  ]),

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

function handlers(place: Place, node: Tree): void {
  for (const item of listOf(node['func_options'])) mentionFunction(place, ofKind('DefElem', item)?.['arg'])
}
