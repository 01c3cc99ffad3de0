import { plain } from '../expressions.ts'
import { listOf, type NodeTag, nameOf, ofKind, stringsOf, textOf } from '../tree.ts'
import { mention, mentionRelation, type Visit, within } from '../walk.ts'

/** Parts of definitions. */
export const DEFINITION_PARTS = {
  ...plain([
    'TableLikeClause',
    'DefElem',
    'PartitionElem',
    'PartitionSpec',
    'PartitionBoundSpec',
    'PartitionCmd',
    'TriggerTransition',
    'FunctionParameter',
    'ObjectWithArgs',
  ]),
  AlterTableCmd(node, place) {
    const name = textOf(node['name'])
    if (name !== null && String(node['subtype']).includes('Column')) place.found.columns.add(name)
    alterCommand(node, place)
  },
  ColumnDef(node, place) {
    const name = textOf(node['colname'])
    if (name !== null) place.found.columns.add(name)
    column(node, place)
  },
  IndexElem(node, place) {
    const name = textOf(node['name'])
    if (name !== null) place.found.columns.add(name)
    const opclass = stringsOf(node['opclass'])
    if (opclass.length > 1) mention(place, 'other', nameOf(opclass), { verb: 'use type' })
    indexElement(node, place)
  },
  StatsElem(node, place) {
    const name = textOf(node['name'])
    if (name !== null) place.found.columns.add(name)
    statsElement(node, place)
  },
  Constraint(node, place) {
    for (const item of listOf(node['exclusions'])) {
      const [, sign] = listOf(ofKind('List', item)?.['items'])
      const parts = stringsOf(sign)
      if (parts.length > 0) mention(place, 'operator', nameOf(parts), { verb: 'call' })
    }
    if (node['pktable'] !== undefined) mentionRelation(place, node['pktable'], { verb: 'references' })
    constraint(node, place)
  },
} satisfies Partial<Record<NodeTag, Visit>>

const alterCommand = within('AlterTableCmd')
const column = within('ColumnDef')
const indexElement = within('IndexElem')
const statsElement = within('StatsElem')
const constraint = within('Constraint', ['pktable'])
