import { isBounded } from './bounds.ts'
import { CODE } from './definitions/code.ts'
import { OBJECT_STATEMENTS } from './definitions/objects.ts'
import { DEFINITION_PARTS } from './definitions/parts.ts'
import { RELATIONS } from './definitions/relations.ts'
import { RIGHTS } from './definitions/rights.ts'
import { SERVER } from './definitions/server.ts'
import { TYPES } from './definitions/types.ts'
import { EXPRESSIONS } from './expressions.ts'
import { emptyFound, summaryOf } from './found.ts'
import { QUERIES } from './queries.ts'
import { returnedBy } from './returned.ts'
import { noteEffects, refuseParseChanges } from './session-effects.ts'
import { SESSION_STATEMENTS } from './session-statements.ts'
import type { Summary } from './summary.ts'
import { isDefinition, tagOf } from './tags.ts'
import { check, isTree, type NodeTag, untag } from './tree.ts'
import { unknownNode } from './unnameable.ts'
import { type Place, type Visits, visit } from './walk.ts'

/** Every node there is has its visit: the compiler checks that none is left out. */
const ALL: Visits = {
  ...EXPRESSIONS,
  ...QUERIES,
  ...SESSION_STATEMENTS,
  ...RELATIONS,
  ...TYPES,
  ...CODE,
  ...RIGHTS,
  ...SERVER,
  ...OBJECT_STATEMENTS,
  ...DEFINITION_PARTS,
}

/** Inside of a statement each one that stands in it goes by its own tag. */
const VISITS: Visits = Object.fromEntries(
  Object.entries(ALL).map(([kind, visitIt]) => [
    kind,
    (node, place) => visitIt(node, { ...place, verb: tagOf(kind, node) ?? place.verb }),
  ]),
  // The keys are those of `ALL`: what `fromEntries` cannot tell.
) as Record<NodeTag, Visits[NodeTag]>

/**
 * What one statement does, as far as its own words tell. What the parser knows and this does not is refused.
 *
 * @throws {Unnameable}
 */
export function summarise(statement: unknown): Summary {
  const tagged = untag(statement)
  if (!tagged) throw unknownNode('statement')
  const { tag: kind, node } = tagged
  check(kind, node)
  const tag = tagOf(kind, node)
  if (tag === null) throw unknownNode(kind)

  const found = emptyFound()
  const returned = returnedBy(kind, node)
  const place: Place = { found, visits: VISITS, verb: tag, as: null, locks: [], ctes: null, schema: null, returned }
  visit(kind, node, place)
  noteEffects(kind, node, place)
  refuseParseChanges(found.effects)
  for (const effect of found.effects) if (effect.does === 'prepare') refuseParseChanges(effect.summary.effects)

  const hasWhere = found.isBounded ?? (isTree(node) && isBounded(node['whereClause']))
  return summaryOf(found, { tag, isDdl: isDefinition(kind, tag), hasWhere })
}
