import { formatMask, formatRule, type Mask } from '../../../domain/verdict.ts'
import type { Batch } from '../batch.ts'
import type { Plan } from '../plan.ts'
import type { Fault } from '../report.ts'
import type { Slot } from '../slots.ts'
import type { Named } from '../statement.ts'
import { encodeFrontend } from '../wire/frontend.ts'
import { findGiveaway } from './allowed.ts'
import type { AskHidden } from './catalog.ts'
import { type Concealer, createConcealer } from './concealer.ts'

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
  const end = named.findIndex(({ effects }) => effects.some(({ does }) => ENDS.has(does)))
  return end !== -1 && named.slice(end + 1).some(({ facts }) => facts.tables.length > 0)
}

const ENDS: ReadonlySet<string> = new Set(['commit', 'rollback', 'rollback_to'])

/** The batch with a question before each Execute: which columns its rows have, whoever was told that before. */
export function describeAhead(
  { sent }: Pick<Batch, 'sent'>,
  slots: readonly Slot[],
): { messages: Buffer[]; slots: Slot[] } {
  const messages: Buffer[] = []
  const ahead: Slot[] = []
  const rest = [...slots]
  for (const { message, bytes } of sent) {
    if (message.type === 'execute') {
      messages.push(encodeFrontend({ type: 'describe', what: 'portal', name: message.portal }))
      ahead.push({ kind: 'describe_portal', isSilent: 'unless_it_fails' })
    }
    messages.push(bytes)
    // Nothing answers a Flush.
    if (message.type !== 'flush') ahead.push(...rest.splice(0, 1))
  }
  return { messages, slots: ahead }
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
