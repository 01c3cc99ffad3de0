import { constantOf } from './expressions.ts'
import { listOf, ofKind, required, type Tree, textOf } from './tree.ts'
import { Unnameable, unknownNode } from './unnameable.ts'
import { markWrite, mentionGlobal, type Place } from './walk.ts'

/** What SET, RESET and the statements of transactions do to the session: only where they stand by themselves. */
export function noteEffects(kind: string, node: Tree, place: Place): void {
  if (kind === 'VariableSetStmt') noteSetting(node, place)
  if (kind === 'TransactionStmt') noteTransaction(node, place)
}

function noteSetting(node: Tree, place: Place): void {
  const { effects, roles } = place.found
  const isLocal = node['is_local'] === true
  if (node['kind'] === 'VAR_RESET_ALL') {
    effects.push({ does: 'reset_all' })
    return
  }
  const name = required(node, 'name').toLowerCase()
  mentionGlobal(place, name)
  if (node['kind'] === 'VAR_SET_MULTI') {
    for (const option of listOf(node['args'])) {
      const setting = textOf(ofKind('DefElem', option)?.['defname'])
      if (setting !== null) effects.push({ does: 'set', name: setting, value: null, isLocal })
    }
    return
  }
  const values = listOf(node['args']).map(constantOf)
  const value = node['kind'] === 'VAR_SET_VALUE' ? values.filter((one) => one !== null) : null
  if ((name === 'role' || name === 'session_authorization') && value?.[0] !== undefined) roles.add(value[0])
  effects.push({ does: 'set', name, value: value && value.length === values.length ? value : null, isLocal })
}

function noteTransaction(node: Tree, place: Place): void {
  const { effects } = place.found
  const name = textOf(node['savepoint_name'])
  mentionGlobal(place, name ?? textOf(node['gid']))
  const chained = node['chain'] === true
  switch (node['kind']) {
    case 'TRANS_STMT_BEGIN':
    case 'TRANS_STMT_START':
      effects.push({ does: 'begin' })
      return
    case 'TRANS_STMT_COMMIT':
    case 'TRANS_STMT_PREPARE':
      effects.push({ does: 'commit' })
      break
    case 'TRANS_STMT_ROLLBACK':
      effects.push({ does: 'rollback' })
      break
    case 'TRANS_STMT_SAVEPOINT':
      effects.push({ does: 'savepoint', name: name ?? '' })
      return
    case 'TRANS_STMT_RELEASE':
      effects.push({ does: 'release', name: name ?? '' })
      return
    case 'TRANS_STMT_ROLLBACK_TO':
      effects.push({ does: 'rollback_to', name: name ?? '' })
      return
    case 'TRANS_STMT_COMMIT_PREPARED':
    case 'TRANS_STMT_ROLLBACK_PREPARED':
      markWrite(place)
      return
    default:
      throw unknownNode('TransactionStmt.kind')
  }
  if (chained) effects.push({ does: 'begin' })
}

/** Refuses what changes how the next bytes are read: the upstream would see other statements than the gateway judged. */
export function refuseParseChanges(effects: readonly { readonly does: string }[]): void {
  for (const effect of effects) {
    if (effect.does !== 'set' || !('name' in effect) || !('value' in effect)) continue
    const allowed = typeof effect.name === 'string' ? PARSE_SETTINGS[effect.name] : undefined
    if (!allowed || effect.value === null) continue
    const [value] = Array.isArray(effect.value) ? effect.value : []
    if (typeof value === 'string' && allowed.has(value.toLowerCase())) continue
    throw new Unnameable(
      '0A000',
      `Not executed. ${effect.name} cannot be changed through the gateway.`,
      "Statements are read as UTF8 with standard_conforming_strings on; write E'…' where a backslash is meant.",
    )
  }
}

const PARSE_SETTINGS: Readonly<Record<string, ReadonlySet<string>>> = {
  standard_conforming_strings: new Set(['on', 'true', 'yes', '1', 't', 'y', 'tr', 'tru', 'ye']),
  client_encoding: new Set(['utf8', 'utf-8', 'unicode', "'utf8'"]),
  names: new Set(['utf8', 'utf-8', 'unicode']),
}
