import { formatMask, formatRule, type Mask } from '../../../domain/verdict.ts'
import type { AskHidden } from '../catalog/hidden.ts'
import type { Named } from '../naming/statement.ts'
import { behindEnd } from '../planning/block.ts'
import type { Plan } from '../planning/plan.ts'
import type { Concealer } from '../relay/traffic.ts'
import type { Fault } from '../wire/report.ts'
import { findGiveaway } from './allowed.ts'
import { createConcealer } from './concealer.ts'

/** How a batch is forwarded so that what is masked stays here. */
export interface Masked {
  readonly concealer: Concealer
  /** What its answers lack, as rules write it; nothing if what it runs touches none of that. */
  readonly columns: readonly string[]
}

/**
 * Finds out what is to be taken out of a batch's answers; null if there is nothing. A batch that could give it away in
 * any other way than as a column of a result is a fault.
 *
 * @throws SessionOver
 */
export async function maskBatch(
  { doings }: Plan,
  masks: readonly Mask[],
  askHidden: AskHidden,
): Promise<Masked | Fault | null> {
  if (masks.length === 0) return null
  const named = doings.flatMap((doing) => doing.named)
  const tables = [...new Set(named.flatMap(({ facts }) => facts.tables))]
  const isBlind = named.some(({ isOpaque, facts }) => isOpaque || facts.is_ddl)
  if (tables.length === 0 && !isBlind) return null

  const hidden = readsBeyond(named) ? null : await askHidden(masks, tables)
  if (hidden === null) return UNKNOWN
  const missing = masks.filter((mask) => hidden.missing.includes(formatMask(mask)))
  if (missing.length > 0) return refuseFor(missing, 'A column that is masked is not in this database')
  const why = findGiveaway(doings, hidden)
  if (why !== null) return refuseFor(masks, why)
  const run = doings.flatMap(({ how, named: some }) => (how === 'run' ? some : []))
  const isTouched = run.some(({ facts }) => facts.tables.some((table) => hidden.relations.has(table)))
  return { concealer: createConcealer(hidden), columns: isTouched ? [...new Set(masks.map(formatMask))] : [] }
}

/** Whether it reads once it has left the transaction in which it begins: another catalog than can be asked now. */
function readsBeyond(named: readonly Named[]): boolean {
  if (!named[0]?.facts.in_transaction) return false
  return behindEnd(named).some(({ facts }) => facts.tables.length > 0)
}

const MAX_TOLD = 10
const HINT =
  'Select the column itself, or leave it out: no condition, order, function or copy of it. Ask for a view that holds what you may see.'

function refuseFor(masks: readonly Mask[], why: string): Fault {
  const masked = masks.slice(0, MAX_TOLD).map((mask) => `${formatMask(mask)} (rule ${formatRule(mask.rule)})`)
  const detail = `Masked: ${masked.join(', ')}${masks.length > MAX_TOLD ? ', and more' : ''}.`
  return { code: '42501', message: `Not executed. ${why}.`, detail, hint: HINT }
}

const UNKNOWN: Fault = {
  code: '42501',
  message: 'Not executed. Columns are masked here, and where they are cannot be asked of the upstream now.',
  hint: 'End the transaction in a message of its own, and repeat the statement.',
}
