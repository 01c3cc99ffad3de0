import { counted } from '../../../domain/counted.ts'
import { mostRows, type Tolerance } from '../../../domain/impact.ts'
import type { Batch } from '../planning/batch.ts'
import type { Plan } from '../planning/plan.ts'
import { forwardSyncLast, sendingOf } from '../planning/stages.ts'
import type { Relay } from '../relay/relay.ts'
import { SessionOver } from '../relay/session-over.ts'
import type { Filter, Slot } from '../relay/slots.ts'
import { noTraffic, type Terms, type Traffic } from '../relay/traffic.ts'
import { encodeBackend } from '../wire/backend.ts'
import { encodeFrontend } from '../wire/frontend.ts'
import type { Fault } from '../wire/report.ts'
import type { Foreseen } from './foreseen.ts'
import { runningOf } from './touched.ts'

/** How many rows a statement may touch. */
export interface Bound {
  readonly foreseen: number
  readonly most: number
}

export interface BoundedRun {
  readonly traffic: Traffic
  /** Of the statements that are bounded. */
  readonly rows: { readonly touched: number; readonly foreseen: number }
  /** A statement that would have touched more. The client has not been told; outside of a block nothing of it stays. */
  readonly excess: { readonly bound: Bound; readonly rows: number } | null
}

interface Parts {
  readonly relay: Pick<Relay, 'status' | 'forward' | 'put' | 'end'>
  readonly client: { write(bytes: Uint8Array): void }
  readonly batch: Batch
  /** Of a batch that is forwarded at once. */
  readonly plan: Plan
  readonly isMasked: boolean
  /** For each statement that runs, in their order; null: as many as it likes. */
  readonly bounds: readonly (Bound | null)[]
  readonly terms: Terms
}

/**
 * What each statement is held to: what was counted when it was approved, or else when rules saw it; by what rules say now
 * as well as by what they said then. Null where nothing was counted.
 */
export function boundsOf({
  approved,
  judged,
  now,
}: {
  readonly approved: Foreseen | null
  readonly judged: readonly (number | null)[]
  readonly now: readonly Tolerance[]
}): readonly (Bound | null)[] | null {
  const rows = (approved?.rows ?? judged).map((count, index) => count ?? judged[index] ?? null)
  if (rows.every((count) => count === null)) return null
  const before = approved?.tolerances ?? now
  return rows.map((count) =>
    count === null ? null : { foreseen: count, most: Math.min(mostRows(count, now), mostRows(count, before)) },
  )
}

/**
 * Forwards a batch, and lets it end only if no statement of it touched more rows than it may. Messages of the extended
 * protocol are not committed before their Sync, so that is sent last; a simple query outside of a transaction is put into
 * one of the gateway's own.
 *
 * @throws SessionOver
 */
export async function forwardBounded(parts: Parts): Promise<BoundedRun> {
  const { batch, plan, isMasked, relay, terms } = parts
  const { kind } = batch
  const watch = createWatch(parts)
  const sending = sendingOf(batch, plan.slots, isMasked)
  const { messages } = sending
  const slots = sending.slots.map(watch.over)
  if (kind === 'query') return forwardQuery(parts, { watch, messages, slots })
  const traffic = noTraffic()
  if (kind === 'flush') {
    await relay.forward(messages, slots, terms, traffic)
    return { traffic, ...watch.result() }
  }
  const mayEnd = () => watch.result().excess === null
  await forwardSyncLast({ messages, slots }, { relay, terms, traffic, mayEnd })
  return { traffic, ...watch.result() }
}

async function forwardQuery(
  { relay, client, plan, terms }: Parts,
  { watch, messages, slots }: { watch: Watch; messages: readonly Buffer[]; slots: readonly Slot[] },
): Promise<BoundedRun> {
  const begins = runningOf(plan.doings).some(({ named }) => named.effects.some(({ does }) => does === 'begin'))
  const isOwn = relay.status === 'I' && !begins
  if (isOwn) await must(relay, 'BEGIN')
  watch.withholdEnd(isOwn)
  const traffic = noTraffic()
  const { error } = await relay.forward(messages, slots, terms, traffic)
  const result = { traffic, ...watch.result() }
  if (!isOwn) return result

  if (result.excess || error) {
    await must(relay, 'ROLLBACK')
    if (!result.excess) client.write(encodeBackend({ type: 'ready', status: relay.status }))
  } else {
    const commit = encodeFrontend({ type: 'query', sql: 'COMMIT' })
    await relay.forward([commit], [{ kind: 'query', isSilent: false, filter: watch.commit() }], terms)
  }
  return result
}

async function must(relay: Pick<Relay, 'put' | 'end'>, sql: string): Promise<void> {
  const { error } = await relay.put([{ sql }])
  if (!error) return
  const over = new SessionOver('upstream', `the upstream refused to ${sql}`)
  relay.end(over, { code: '08006', message: `The upstream refused to ${sql}.` })
  throw over
}

/** What the client is told. */
export function explainExcess({ bound: { foreseen, most }, rows }: NonNullable<BoundedRun['excess']>): Fault {
  return {
    code: '42501',
    message: 'Not executed. It touched more rows than were foreseen when it was decided.',
    detail: `Foreseen: ${counted(foreseen, 'row')}; at most ${most} may be touched. Touched: ${rows}. All of it was rolled back.`,
    hint: 'Repeat the statement to have it counted, and decided, anew.',
  }
}

interface Watch {
  /** The slot, with what goes on of its answers. */
  over(slot: Slot): Slot
  /** Keeps back how the last statement ended, and that the upstream is ready, until it is known that it stays. */
  withholdEnd(isWithheld: boolean): void
  /** What is checked at the end only may still be wrong: the client hears of that, or that all stays. */
  commit(): Filter
  result(): Pick<BoundedRun, 'rows' | 'excess'>
}

/** Counts what the upstream says that it touched. From the first excess on, nothing more goes on to the client. */
function createWatch({ plan, bounds, client }: Pick<Parts, 'plan' | 'bounds' | 'client'>): Watch {
  const running = runningOf(plan.doings)
  const foreseen = bounds.reduce((sum, bound) => sum + (bound?.foreseen ?? 0), 0)
  let touched = 0
  let excess: BoundedRun['excess'] = null
  let isWithheld = false
  let last: Buffer | null = null

  function filterOf(mine: readonly (Bound | null)[]): Filter {
    let nth = 0
    let seen = 0
    const look = (rows: number) => {
      const bound = mine[nth]
      if (bound && rows > bound.most && (excess === null || excess.bound === bound)) excess = { bound, rows }
    }
    return {
      // Rows that come back are those that were touched: more of them than may be are not shown either.
      row() {
        seen += 1
        look(seen)
        return excess === null
      },
      answer(message, bytes) {
        if (last && message.type !== 'ready') release()
        if (message.type === 'command_complete') {
          const rows = rowsOf(message.tag)
          if (mine[nth]) touched += rows
          look(rows)
          nth += 1
          seen = 0
        }
        if (excess) return false
        if (!isWithheld || (message.type !== 'command_complete' && message.type !== 'ready')) return true
        if (message.type === 'command_complete') last = bytes
        return false
      },
    }
  }

  function release(): void {
    if (last) client.write(last)
    last = null
  }

  return {
    over(slot) {
      const mine = running.flatMap(({ doing }, index) => (doing.slot === slot ? [bounds[index] ?? null] : []))
      return { ...slot, filter: filterOf(mine) }
    },
    withholdEnd(now) {
      isWithheld = now
    },
    commit() {
      let isRefused = false
      return {
        row: () => true,
        answer({ type }) {
          isRefused ||= type === 'error'
          if (type === 'ready' && !isRefused) release()
          return type !== 'command_complete'
        },
      }
    },
    result: () => ({
      rows: { touched: excess?.rows ?? touched, foreseen: excess?.bound.foreseen ?? foreseen },
      excess,
    }),
  }
}

/** Of a command tag (PostgreSQL, 54.7, "CommandComplete"): `DELETE 5`, `INSERT 0 5`. */
function rowsOf(tag: string): number {
  const rows = /^(?:INSERT 0|UPDATE|DELETE) (\d+)$/.exec(tag)?.[1]
  return rows === undefined ? 0 : Number(rows)
}
