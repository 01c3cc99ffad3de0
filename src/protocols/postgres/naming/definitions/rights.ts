import { isTree, listOf, type NodeTag, ofKind, optionOf, stringsOf, type Tree, textOf } from '../tree.ts'
import { mentionGlobal, type Place, type Visit } from '../walk.ts'
import { all, define, globals, type Note } from './define.ts'
import { mentionObject } from './mention-object.ts'

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

/** Roles, and what they may do. */
export const RIGHTS = {
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
} satisfies Partial<Record<NodeTag, Visit>>

function grant(place: Place, node: Tree): void {
  const isAllInSchema = node['targtype'] === 'ACL_TARGET_ALL_IN_SCHEMA'
  for (const item of listOf(node['objects'])) {
    mentionObject(place, isAllInSchema ? 'OBJECT_SCHEMA' : String(node['objtype']), item)
  }
}

export function roleName(spec: Tree): string {
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
