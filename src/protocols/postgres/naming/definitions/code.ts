import { isTree, type NodeTag, nameOf, optionOf, stringsOf, type Tree, textOf } from '../tree.ts'
import { mention, mentionGlobal, type Place, type Visit } from '../walk.ts'
import { all, called, define, globals, mentionFunction, mentionNew, type Note, object, opaque } from './define.ts'

const language: Note = (place, node) => {
  const name = textOf(node['plname']) ?? textOf(node['lang'])
  if (name !== null) place.found.languages.add(name)
}

/** What the server runs, what it is written in, and what brings it. */
export const CODE = {
  CreateFunctionStmt: define('CreateFunctionStmt', createFunction),
  AlterFunctionStmt: define('AlterFunctionStmt', object('objtype', 'func')),
  CreateTrigStmt: define('CreateTrigStmt', called('funcname')),
  CreateEventTrigStmt: define('CreateEventTrigStmt', all(globals('trigname'), called('funcname'))),
  AlterEventTrigStmt: define('AlterEventTrigStmt', globals('trigname')),
  CreatePLangStmt: define(
    'CreatePLangStmt',
    all(globals('plname'), language, called('plhandler', 'plinline', 'plvalidator')),
  ),
  CreateTransformStmt: define('CreateTransformStmt', (place, node) => {
    if (isTree(node['type_name'])) mention(place, 'type', nameOf(stringsOf(node['type_name']['names'])))
    language(place, node)
    for (const side of ['fromsql', 'tosql']) {
      if (isTree(node[side])) mentionFunction(place, node[side]['objname'])
    }
  }),
  CreateAmStmt: define('CreateAmStmt', all(globals('amname'), called('handler_name'))),
  // Extensions run scripts and make names that are written nowhere here.
  CreateExtensionStmt: define('CreateExtensionStmt', all(globals('extname'), opaque)),
  AlterExtensionStmt: define('AlterExtensionStmt', all(globals('extname'), opaque)),
  AlterExtensionContentsStmt: define('AlterExtensionContentsStmt', all(globals('extname'), object('objtype')), [
    'object',
  ]),
} satisfies Partial<Record<NodeTag, Visit>>

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
